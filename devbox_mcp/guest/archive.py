"""A zip of files and directories, made while it is read, in memory that does not grow with the files."""

import builtins
import os
from contextlib import closing
from typing import Generator, Iterator, List, Sequence

from . import names
from .beneath import Root
from .errors import GuestError, os_errors
from .job import Job
from .places import Place, kind_of
from .walk import Entry, walk
from .zipping import PIECE, Packer

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
        self._packer = Packer(max_bytes, max_files)
        self._root = root
        self._job = job
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

    @property
    def files(self) -> int:
        """Files and links packed so far."""
        return self._packer.files

    @property
    def bytes(self) -> int:
        """Bytes of their content so far."""
        return self._packer.bytes

    @property
    def skipped(self) -> List[str]:
        """Paths left out so far."""
        return self._packer.skipped

    def __iter__(self) -> "Iterator[builtins.bytes]":
        with self._packer:
            yield from self._pieces()

    def _pieces(self) -> "Iterator[builtins.bytes]":
        for path in self._selected:
            with self._root.locate(path, follow=False) as place, closing(self._entries(place)) as entries:
                for entry in entries:
                    for _ in self._add(entry):
                        yield from self._packer.ready()
        yield from self._packer.finish()

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

    def _add(self, entry: Entry) -> Iterator[None]:
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
            self._packer.add(entry.path, st.st_mode, _seconds(st), content)
            yield
            return
        try:
            st = os.fstat(fd)
            if self._packer.begin(entry.path, st.st_mode, _seconds(st), st.st_size):
                yield from self._copy(fd, st.st_size, entry.path)
                self._packer.end()
            yield
        finally:
            os.close(fd)

    def _copy(self, fd: int, size: int, path: str) -> Iterator[None]:
        """Copy as many bytes as the file had when it was opened."""
        left = size
        while left:
            self._job.check(path)
            with os_errors(path):
                chunk = os.pread(fd, min(PIECE, left), size - left)
            if not chunk:
                return
            self._packer.write(chunk)
            left -= len(chunk)
            self._job.advance(len(chunk))
            yield


def _seconds(st: os.stat_result) -> int:
    return st.st_mtime_ns // 10**9


def _content(entry: Entry, st: os.stat_result) -> bytes:
    """Return what is stored of an entry that is no file: a link's target, nothing of a directory."""
    if entry.kind not in {"symlink", "directory"} or kind_of(st.st_mode) != entry.kind:
        raise GuestError("unsupported", entry.path, "this is a %s" % kind_of(st.st_mode))
    return os.fsencode(entry.readlink()) if entry.kind == "symlink" else b""
