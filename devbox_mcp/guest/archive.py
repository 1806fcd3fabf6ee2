"""A zip of files and directories, made while it is read, in memory that does not grow with the files."""

import io
import os
import stat
import struct
import time
import zipfile
from contextlib import closing
from typing import IO, Any, Generator, Iterator, List, Optional, Sequence, Tuple

from . import names
from .beneath import Place, Root, kind_of
from .errors import GuestError, os_errors
from .job import Job
from .walk import Entry, walk

_READ = 256 << 10
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
#: Why an entry that was found cannot be packed: no permission, gone, or something else took its place.
_PASSED_OVER = frozenset(
    {"permission_denied", "not_found", "unsupported", "is_directory", "too_many_links", "invalid_argument"}
)


class Zip:
    """Iterate once over the bytes of the zip, in pieces of about 64 to 256 KiB.

    Afterwards ``files`` (files and links in it), ``bytes`` (their content, uncompressed) and ``skipped`` (paths that
    are no files, cannot be read, or whose name another one took) are final. Members are named from the root, in the
    order of their names; links are stored as links; modes and times are kept. The job advances by the bytes read.
    """

    def __init__(self, root: Root, paths: Sequence[str], job: Job, *, max_bytes: int, max_files: int) -> None:
        """Look for ``paths``, of which a link stands for itself; what lies in another one of them is packed once.
        ``max_bytes`` limits the uncompressed content, ``max_files`` the entries, directories included.

        Raises not_found, denied, …; iterating raises too_large, conflict when a file shrinks meanwhile, and as the
        job says.
        """
        self.files = 0
        self.bytes = 0
        self.skipped: List[str] = []
        self._root = root
        self._job = job
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._selected = self._select(paths)

    def _select(self, paths: Sequence[str]) -> List[str]:
        resolved = set()
        for path in paths:
            self._job.check(path)
            with self._root.locate(path, follow=False) as place:
                place.require()
                resolved.add(tuple(names.parts(place.path)))
        outermost = [parts for parts in resolved if not any(parts[:depth] in resolved for depth in range(len(parts)))]
        outermost.sort(key=lambda parts: [os.fsencode(part) for part in parts])
        return ["/".join(parts) or "." for parts in outermost]

    def __iter__(self) -> Iterator[bytes]:
        sink = _Sink()
        with zipfile.ZipFile(sink, "w") as archive:
            for path in self._selected:
                with self._root.locate(path, follow=False) as place, closing(self._entries(place)) as entries:
                    for entry in entries:
                        for _ in self._add(archive, entry):
                            if sink.size >= _YIELD:
                                yield sink.take()
        rest = sink.take()
        for start in range(0, len(rest), _READ):
            yield rest[start : start + _READ]

    def _entries(self, place: Place) -> "Generator[Entry, None, None]":
        """Yield what is selected at a place: itself, unless it is the root, and all that is beneath it."""
        kind = kind_of(place.require().st_mode)
        if not place.is_root:
            yield Entry(place.fd, place.name, place.path, (), kind)
        if kind == "directory":
            try:
                yield from walk(self._root, place, self._job, unreadable=self.skipped)
            except GuestError as error:
                if error.code != "permission_denied":
                    raise
                self.skipped.append(place.path)

    def _add(self, archive: zipfile.ZipFile, entry: Entry) -> Iterator[None]:
        """Add an entry, with a pause after each piece of it. What is gone by now is left out, what cannot be read,
        or is something else by now, is skipped."""
        try:
            with os_errors(entry.path):
                if entry.kind == "file":
                    fd = entry.open_file()
                else:
                    st = entry.lstat()
                    content = _content(entry, st)
        except GuestError as error:
            if error.code not in _PASSED_OVER:
                raise
            # of a directory the walk will tell, when it cannot go in
            if error.code != "not_found" and entry.kind != "directory":
                self.skipped.append(entry.path)
            return
        if entry.kind != "file":
            info = self._member(archive, entry, st, len(content))
            if info is not None:
                archive.writestr(info, content)
                self.files += entry.kind == "symlink"
                self.bytes += len(content)
            yield
            return
        try:
            st = os.fstat(fd)
            info = self._member(archive, entry, st, st.st_size)
            if info is not None:
                with archive.open(info, "w") as member:
                    yield from self._copy(fd, member, st.st_size, entry.path)
                self.files += 1
            yield
        finally:
            os.close(fd)

    def _copy(self, fd: int, member: IO[bytes], size: int, path: str) -> Iterator[None]:
        """Copy as many bytes as the file had when it was opened: its header has promised them."""
        left = size
        while left:
            self._job.check(path)
            with os_errors(path):
                chunk = os.pread(fd, min(_READ, left), size - left)
            if not chunk:
                raise GuestError("conflict", path, "the file shrank while it was packed", "pack it again")
            member.write(chunk)
            left -= len(chunk)
            self.bytes += len(chunk)
            self._job.advance(len(chunk))
            yield

    def _member(
        self, archive: zipfile.ZipFile, entry: Entry, st: os.stat_result, size: int
    ) -> Optional[zipfile.ZipInfo]:
        """Return a new member's header, None if another member has its name. Raises too_large."""
        if self.bytes + size > self._max_bytes:
            raise _too_large(entry.path, "%d bytes, uncompressed" % self._max_bytes)
        if len(archive.infolist()) >= self._max_files:
            raise _too_large(entry.path, "%d entries" % self._max_files)
        name = _member_name(entry)
        if _has(archive, name):
            self.skipped.append(entry.path)
            return None
        info = zipfile.ZipInfo(name, _local_time(st))
        info.file_size = size
        info.external_attr = st.st_mode << 16
        if stat.S_ISDIR(st.st_mode):
            info.external_attr |= _MSDOS_DIRECTORY
        if stat.S_ISREG(st.st_mode):
            # not stored, even where there is nothing to gain: only a deflated member tells a reader of the stream
            # where it ends
            info.compress_type = zipfile.ZIP_DEFLATED
            setattr(info, _LEVEL_ATTRIBUTE, 0 if _is_compressed(name) else _LEVEL)
        info.extra = _timestamp(st)
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


def _content(entry: Entry, st: os.stat_result) -> bytes:
    """Return what is stored of an entry that is no file: a link's target, nothing of a directory."""
    if entry.kind not in {"symlink", "directory"} or kind_of(st.st_mode) != entry.kind:
        raise GuestError("unsupported", entry.path, "this is a %s" % kind_of(st.st_mode))
    return os.fsencode(entry.readlink()) if entry.kind == "symlink" else b""


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


def _member_name(entry: Entry) -> str:
    """Return an entry's name in the zip. Names there are UTF-8; parts of other bytes are percent-encoded."""
    name = "/".join(_encoded(part) for part in entry.path.split("/"))
    return name + "/" if entry.kind == "directory" else name


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


def _local_time(st: os.stat_result) -> Tuple[int, int, int, int, int, int]:
    """Return the time as the zip's main field has it: local, of the years that it can tell."""
    seconds = st.st_mtime_ns // 10**9
    try:
        local = time.localtime(seconds)[:6]
    except (OverflowError, ValueError, OSError):
        local = _EARLIEST if seconds < 0 else _LATEST
    return max(_EARLIEST, min(local, _LATEST))


def _timestamp(st: os.stat_result) -> bytes:
    """Return the extra field that tells the time in UTC, empty for times that do not fit."""
    seconds = st.st_mtime_ns // 10**9
    if not -(2**31) <= seconds < 2**31:
        return b""
    return struct.pack("<HHBl", _EXTENDED_TIMESTAMP, 5, 1, seconds)
