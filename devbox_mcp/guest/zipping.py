"""A zip in the making, handed on piece by piece. No I/O: somebody else finds and reads what is packed.

A small file is packed before its header is written, which so tells everything, and stored where that does not make it
larger. Of a large one only what comes behind it tells its sizes. Python's ``zipfile`` takes four times as long for a
small file, and cannot tell its sizes ahead where it cannot go back.
"""

import stat
import struct
import time
import zlib
from types import TracebackType
from typing import Any, Iterator, List, NamedTuple, Optional, Set, Tuple, Type, final

from .errors import GuestError

#: How much of a file is packed at once, in bytes; also the largest piece that is handed on.
PIECE = 256 << 10
_YIELD = 64 << 10  # what is gathered before it is handed on
_SMALL = 16 << 10  # what is packed before its header is written
#: What is packed or encrypted has about 160 different bytes among so many, at least 140; text and programs, which
#: shrink, have no more than 100.
_SAMPLE, _DIFFERENT = 256, 130
_EVERY_BYTE = bytes(range(256))
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

# The format's own words: a header before each member, a descriptor behind one whose sizes were not known, the central
# directory at the end; fields that are too narrow are full, and their values stand in the ZIP64 field or record.
_LOCAL, _DESCRIPTOR = struct.Struct("<4s5HL2L2H"), struct.Struct("<4s3L")
_DESCRIPTOR64 = struct.Struct("<4sL2Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END, _END64, _LOCATOR = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
_STORED, _DEFLATED = 0, 8
_SIZES_BEHIND, _NAME_IS_UTF8 = 0x08, 0x800
_UNIX = 3 << 8
_VERSION, _VERSION64 = 20, 45
_FULL, _FULL_COUNT = 0xFFFFFFFF, 0xFFFF
_FIELD64 = 0x0001
#: From this size on what a file is packed into may not fit into the narrow fields.
_HUGE = 0xF0000000


class _Member(NamedTuple):
    """What headers tell of a member, ahead of its content."""

    name: bytes
    flags: int
    when: Tuple[int, int]
    extra: bytes
    attributes: int
    offset: int


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
        self._pieces: List[bytes] = []
        self._gathered = 0
        self._offset = 0
        self._central: List[bytes] = []
        self._names: Set[bytes] = set()
        self._path = ""
        self._member: Optional[_Member] = None
        self._size = self._left = 0
        self._small: Optional[List[bytes]] = None
        self._packing: Any = None
        self._crc = 0
        self._packed = 0

    def add(self, path: str, mode: int, modified: int, content: bytes = b"") -> None:
        """Add a directory, or a link with its target as its ``content``. ``mode`` is an ``st_mode``, ``modified``
        seconds. Raises too_large."""
        member = self._begin(path, mode, modified, len(content))
        if member is not None:
            self._put(member, _STORED, content, content)
            self.files += stat.S_ISLNK(mode)
            self.bytes += len(content)

    def begin(self, path: str, mode: int, modified: int, size: int) -> bool:
        """Begin a regular file of ``size`` bytes; False where another member has its name: then it is skipped.
        Raises too_large."""
        member = self._begin(path, mode, modified, size)
        if member is None:
            return False
        self._path, self._size, self._left = path, size, size
        if size <= _SMALL:
            self._small = []
        else:
            self._small = None
            # not stored, even where there is nothing to gain: only a deflated member tells a reader of the stream
            # where it ends
            self._packing = zlib.compressobj(0 if _is_compressed(path) else _LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
            self._crc = self._packed = 0
            member = member._replace(flags=member.flags | _SIZES_BEHIND)
            if size >= _HUGE:
                self._head(member, _DEFLATED, 0, _FULL, _FULL, struct.pack("<2H2Q", _FIELD64, 16, 0, 0))
            else:
                self._head(member, _DEFLATED, 0, 0, 0)
        self._member = member
        return True

    def write(self, chunk: bytes) -> None:
        """Pack the next bytes of the file. Raises conflict for more than it was said to have."""
        if len(chunk) > self._left:
            raise self._changed("grew")
        self._left -= len(chunk)
        self.bytes += len(chunk)
        if self._small is not None:
            self._small.append(chunk)
        else:
            self._crc = zlib.crc32(chunk, self._crc)
            self._add_packed(self._packing.compress(chunk))

    def end(self) -> None:
        """Finish the file. Raises conflict for less than it was said to have: its header has promised it."""
        member = self._member
        assert member is not None
        if self._left:
            raise self._changed("shrank")
        if self._small is not None:
            content = b"".join(self._small)
            packed = content if _is_compressed(self._path) or _looks_packed(content) else _deflated(content)
            if len(packed) < len(content):
                self._put(member, _DEFLATED, content, packed)
            else:
                self._put(member, _STORED, content, content)
        else:
            self._add_packed(self._packing.flush())
            kind = _DESCRIPTOR64 if self._size >= _HUGE else _DESCRIPTOR
            self._write(kind.pack(b"PK\7\10", self._crc, self._packed, self._size))
            self._tell(member, _DEFLATED, self._crc, self._packed, self._size)
        self._member = self._small = self._packing = None
        self.files += 1

    def _changed(self, how: str) -> GuestError:
        return GuestError("conflict", self._path, "the file %s while it was packed" % how, "pack it again")

    def ready(self) -> Iterator[bytes]:
        """Yield what has gathered, unless it is little."""
        if self._gathered >= _YIELD:
            yield self._take()

    def finish(self) -> Iterator[bytes]:
        """Close the zip, and yield the rest of it."""
        start, count = self._offset, len(self._central)
        for entry in self._central:
            self._write(entry)
        size = self._offset - start
        if count >= _FULL_COUNT or start >= _FULL or size >= _FULL:
            end = self._offset
            self._write(_END64.pack(b"PK\6\6", 44, _UNIX | _VERSION64, _VERSION64, 0, 0, count, count, size, start))
            self._write(_LOCATOR.pack(b"PK\6\7", 0, end, 1))
        few = min(count, _FULL_COUNT)
        self._write(_END.pack(b"PK\5\6", 0, 0, few, few, min(size, _FULL), min(start, _FULL), 0))
        rest = self._take()
        for start in range(0, len(rest), PIECE):
            yield rest[start : start + PIECE]

    def __enter__(self) -> "Packer":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        """Let go of everything, finished or not."""
        self._member = self._small = self._packing = None
        self._pieces.clear()
        self._central.clear()

    def _begin(self, path: str, mode: int, modified: int, size: int) -> Optional[_Member]:
        """Return what is told of a new member, None if another member has its name."""
        if self.bytes + size > self._max_bytes:
            raise _too_large(path, "%d bytes, uncompressed" % self._max_bytes)
        if len(self._central) >= self._max_files:
            raise _too_large(path, "%d entries" % self._max_files)
        name = _member_name(path, mode).encode("utf-8")
        if name in self._names:
            self.skipped.append(path)
            return None
        self._names.add(name)
        attributes = mode << 16 & _FULL | (_MSDOS_DIRECTORY if stat.S_ISDIR(mode) else 0)
        flags = 0 if name.isascii() else _NAME_IS_UTF8
        return _Member(name, flags, _local_time(modified), _timestamp(modified), attributes, self._offset)

    def _put(self, member: _Member, method: int, content: bytes, packed: bytes) -> None:
        """Add a whole member."""
        crc = zlib.crc32(content)
        self._head(member, method, crc, len(packed), len(content))
        self._write(packed)
        self._tell(member, method, crc, len(packed), len(content))

    def _head(self, member: _Member, method: int, crc: int, packed: int, size: int, more: bytes = b"") -> None:
        """Write what comes before a member's content."""
        extra = more + member.extra
        version = _VERSION64 if more else _VERSION
        fields = (version, member.flags, method, *member.when, crc, packed, size, len(member.name), len(extra))
        self._write(b"".join((_LOCAL.pack(b"PK\3\4", *fields), member.name, extra)))

    def _tell(self, member: _Member, method: int, crc: int, packed: int, size: int) -> None:
        """Keep what the central directory says of a member."""
        wide = [value for value in (size, packed, member.offset) if value >= _FULL]
        extra = member.extra
        if wide:
            extra = struct.pack("<2H%dQ" % len(wide), _FIELD64, 8 * len(wide), *wide) + extra
        version = _VERSION64 if wide or size >= _HUGE else _VERSION
        entry = _CENTRAL.pack(
            b"PK\1\2", _UNIX | version, version, member.flags, method, *member.when, crc, min(packed, _FULL),
            min(size, _FULL), len(member.name), len(extra), 0, 0, 0, member.attributes, min(member.offset, _FULL),
        )  # fmt: skip
        self._central.append(b"".join((entry, member.name, extra)))

    def _add_packed(self, packed: bytes) -> None:
        self._packed += len(packed)
        self._write(packed)

    def _write(self, data: bytes) -> None:
        self._pieces.append(data)
        self._gathered += len(data)
        self._offset += len(data)

    def _take(self) -> bytes:
        """Return what was written since the last time."""
        taken = b"".join(self._pieces)
        self._pieces.clear()
        self._gathered = 0
        return taken


def _looks_packed(content: bytes) -> bool:
    """Whether a small file's middle and end look as if nothing could be gained. To find it out by packing takes ten
    times as long."""
    middle = (len(content) - _SAMPLE) // 2
    return (
        middle >= 0
        and _different_bytes(content[middle : middle + _SAMPLE]) >= _DIFFERENT
        and _different_bytes(content[-_SAMPLE:]) >= _DIFFERENT
    )


def _different_bytes(sample: bytes) -> int:
    """Count them by what is left of all when these are taken away: a set takes ten times as long."""
    return len(_EVERY_BYTE) - len(_EVERY_BYTE.translate(None, sample))


def _deflated(content: bytes) -> bytes:
    """Pack a small file. No larger a window and tables than it needs: to clear them takes longer than to pack it."""
    bits = max(9, min(15, len(content).bit_length()))
    packing = zlib.compressobj(_LEVEL, zlib.DEFLATED, -bits, max(4, min(8, bits - 6)))
    return packing.compress(content) + packing.flush()


def _too_large(path: str, limit: str) -> GuestError:
    return GuestError(
        "too_large", path, "from here on the zip is over the limit of %s" % limit, "pack fewer paths, or part by part"
    )


def _member_name(path: str, mode: int) -> str:
    """Return an entry's name in the zip. Names there are UTF-8; parts of other bytes are percent-encoded."""
    name = path if path.isascii() else "/".join(_encoded(part) for part in path.split("/"))
    return name + "/" if stat.S_ISDIR(mode) else name


def _encoded(part: str) -> str:
    if part.isascii() or not any("\udc80" <= character <= "\udcff" for character in part):
        return part
    return "".join(
        "%%%02X" % (ord(character) & 0xFF) if character == "%" or "\udc80" <= character <= "\udcff" else character
        for character in part
    )


def _is_compressed(name: str) -> bool:
    stem, _, suffix = name.rpartition(".")
    return bool(stem) and suffix.lower() in _COMPRESSED


def _local_time(seconds: int) -> Tuple[int, int]:
    """Return time and date as the zip's main fields have them: local, of the years that they can tell."""
    try:
        local = time.localtime(seconds)[:6]
    except (OverflowError, ValueError, OSError):
        local = _EARLIEST if seconds < 0 else _LATEST
    year, month, day, hour, minute, second = max(_EARLIEST, min(local, _LATEST))
    return hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day


def _timestamp(seconds: int) -> bytes:
    """Return the extra field that tells the time in UTC, empty for times that do not fit."""
    if not -(2**31) <= seconds < 2**31:
        return b""
    return struct.pack("<HHBl", _EXTENDED_TIMESTAMP, 5, 1, seconds)
