"""A zip in the making, handed on piece by piece. No I/O: somebody else finds and reads what is packed."""

import io
import stat
import struct
import time
import zipfile
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Iterator, List, Optional, Tuple, Type, final

from .errors import GuestError

#: How much of a file is packed at once, in bytes; also the largest piece that is handed on.
PIECE = 256 << 10
_YIELD = 64 << 10  # what is gathered before it is handed on
#: Within a fifth of level 6's size, at three times its speed.
_LEVEL = 2
_COMPRESSED = frozenset({
    "7z", "apk", "avi", "br", "bz2", "deb", "docx", "epub", "flac", "gif", "gz", "jar", "jpeg", "jpg", "lz4", "m4a",
    "mkv", "mov", "mp3", "mp4", "odt", "ogg", "pdf", "png", "pptx", "rar", "rpm", "tgz", "webm", "webp", "whl", "woff",
    "woff2", "xlsx", "xz", "zip", "zst",
})  # fmt: skip
_MSDOS_DIRECTORY = 0x10
_EXTENDED_TIMESTAMP = 0x5455
_EARLIEST, _LATEST = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)
_LEVEL_ATTRIBUTE = "compress_level" if hasattr(zipfile.ZipInfo, "compress_level") else "_compresslevel"


@final
class Packer:
    """A zip that grows. ``files`` (files and links in it), ``bytes`` (their content, uncompressed) and ``skipped``
    (paths that are not in it) count up to now; the caller adds to ``skipped`` what it cannot read.

    To be used as a context. Members are named by their path from the root. Links are stored as links; modes and
    times are kept.
    """

    def __init__(self, max_bytes: int, max_files: int) -> None:
        """``max_bytes`` limits the uncompressed content, ``max_files`` the entries, directories included."""
        self.files = 0
        self.bytes = 0
        self.skipped: List[str] = []
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._sink = _Sink()
        self._path = ""
        self._member: Optional[IO[bytes]] = None
        self._left = 0

    def add(self, path: str, mode: int, modified: int, content: bytes = b"") -> None:
        """Add a directory, or a link with its target as its ``content``. ``mode`` is an ``st_mode``, ``modified``
        seconds. Raises too_large."""
        info = self._header(path, mode, modified, len(content))
        if info is not None:
            self._archive.writestr(info, content)
            self.files += stat.S_ISLNK(mode)
            self.bytes += len(content)

    def begin(self, path: str, mode: int, modified: int, size: int) -> bool:
        """Begin a regular file of ``size`` bytes; False where another member has its name: then it is skipped.
        Raises too_large."""
        info = self._header(path, mode, modified, size)
        if info is None:
            return False
        self._member = self._archive.open(info, "w")
        self._path, self._left = path, size
        return True

    def write(self, chunk: bytes) -> None:
        """Pack the next bytes of the file. Raises conflict for more than it was said to have."""
        assert self._member is not None
        if len(chunk) > self._left:
            raise self._changed("grew")
        self._member.write(chunk)
        self._left -= len(chunk)
        self.bytes += len(chunk)

    def end(self) -> None:
        """Finish the file. Raises conflict for less than it was said to have: its header has promised it."""
        assert self._member is not None
        if self._left:
            raise self._changed("shrank")
        self._member.close()
        self._member = None
        self.files += 1

    def _changed(self, how: str) -> GuestError:
        return GuestError("conflict", self._path, "the file %s while it was packed" % how, "pack it again")

    def ready(self) -> Iterator[bytes]:
        """Yield what has gathered, unless it is little."""
        if self._sink.size >= _YIELD:
            yield self._sink.take()

    def finish(self) -> Iterator[bytes]:
        """Close the zip, and yield the rest of it."""
        self._archive.close()
        rest = self._sink.take()
        for start in range(0, len(rest), PIECE):
            yield rest[start : start + PIECE]

    def __enter__(self) -> "Packer":
        self._archive = zipfile.ZipFile(self._sink, "w")
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        """Let go of everything, finished or not."""
        # one that nobody iterates over any more may be cleared away behind its sink, which then takes no end
        with suppress(ValueError):
            if self._member is not None:
                self._member.close()
        with suppress(ValueError):
            self._archive.close()

    def _header(self, path: str, mode: int, modified: int, size: int) -> Optional[zipfile.ZipInfo]:
        """Return a new member's header, None if another member has its name."""
        if self.bytes + size > self._max_bytes:
            raise _too_large(path, "%d bytes, uncompressed" % self._max_bytes)
        if len(self._archive.infolist()) >= self._max_files:
            raise _too_large(path, "%d entries" % self._max_files)
        name = _member_name(path, mode)
        if _has(self._archive, name):
            self.skipped.append(path)
            return None
        info = zipfile.ZipInfo(name, _local_time(modified))
        info.file_size = size
        info.external_attr = mode << 16
        if stat.S_ISDIR(mode):
            info.external_attr |= _MSDOS_DIRECTORY
        if stat.S_ISREG(mode):
            # not stored, even where there is nothing to gain: only a deflated member tells a reader of the stream
            # where it ends
            info.compress_type = zipfile.ZIP_DEFLATED
            setattr(info, _LEVEL_ATTRIBUTE, 0 if _is_compressed(name) else _LEVEL)
        info.extra = _timestamp(modified)
        return info


class _Sink(io.RawIOBase):
    """Where the zip is written to: it can be emptied, but not gone back in."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0
        self._pieces: List[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        self.size += len(data)
        return len(data)

    def take(self) -> bytes:
        """Return what was written since the last time."""
        taken = b"".join(self._pieces)
        self._pieces.clear()
        self.size = 0
        return taken


def _too_large(path: str, limit: str) -> GuestError:
    return GuestError(
        "too_large", path, "from here on the zip is over the limit of %s" % limit, "pack fewer paths, or part by part"
    )


def _has(archive: zipfile.ZipFile, name: str) -> bool:
    try:
        archive.getinfo(name)
    except KeyError:
        return False
    return True


def _member_name(path: str, mode: int) -> str:
    """Return an entry's name in the zip. Names there are UTF-8; parts of other bytes are percent-encoded."""
    name = "/".join(_encoded(part) for part in path.split("/"))
    return name + "/" if stat.S_ISDIR(mode) else name


def _encoded(part: str) -> str:
    if not any("\udc80" <= character <= "\udcff" for character in part):
        return part
    return "".join(
        "%%%02X" % (ord(character) & 0xFF) if character == "%" or "\udc80" <= character <= "\udcff" else character
        for character in part
    )


def _is_compressed(name: str) -> bool:
    stem, _, suffix = name.rpartition(".")
    return bool(stem) and suffix.lower() in _COMPRESSED


def _local_time(seconds: int) -> Tuple[int, int, int, int, int, int]:
    """Return the time as the zip's main field has it: local, of the years that it can tell."""
    try:
        local = time.localtime(seconds)[:6]
    except (OverflowError, ValueError, OSError):
        local = _EARLIEST if seconds < 0 else _LATEST
    return max(_EARLIEST, min(local, _LATEST))


def _timestamp(seconds: int) -> bytes:
    """Return the extra field that tells the time in UTC, empty for times that do not fit."""
    if not -(2**31) <= seconds < 2**31:
        return b""
    return struct.pack("<HHBl", _EXTENDED_TIMESTAMP, 5, 1, seconds)
