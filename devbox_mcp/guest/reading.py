"""Looking at one entry, and reading a range of a file from one version of it."""

import os
import stat as stat_modes
from typing import Any, Dict, Iterator, Optional

from .beneath import Root
from .errors import GuestError, WouldBlock, os_errors
from .info import CHUNK, describe, hash_place, read_unsized
from .job import Job
from .places import Place


def stat(root: Root, path: str, job: Job, follow: bool = True, sha256: bool = False) -> Dict[str, Any]:
    """Describe an entry under the name ``path``; ``target`` is set where the entry itself is a link, and with
    ``follow`` the rest is of what the link leads to. ``sha256`` hashes a regular file. Raises not_found, …"""
    with root.locate(path, follow=False) as place:
        target = _target(place)
        if target is None or not follow:
            return _describe(place, path, target, sha256, job)
    with root.locate(path) as place:
        return _describe(place, path, target, sha256, job)


def _target(place: Place) -> Optional[str]:
    if not stat_modes.S_ISLNK(place.require().st_mode):
        return None
    with os_errors(place.path):
        return os.readlink(place.name, dir_fd=place.fd)


def _describe(place: Place, path: str, target: Optional[str], sha256: bool, job: Job) -> Dict[str, Any]:
    st = place.require()
    hashed = hash_place(place, job) if sha256 and stat_modes.S_ISREG(st.st_mode) else None
    return describe(path, st, target, hashed)


def stat_now(root: Root, path: str) -> Dict[str, Any]:
    """Describe an entry that is not a link from the kernel's caches. Raises WouldBlock where they do not do."""
    with root.locate(path, follow=False, cached=True) as place:
        st = place.require()
        if stat_modes.S_ISLNK(st.st_mode):
            raise WouldBlock
        return describe(path, st)


class Reader:
    """A range of an open file: ``info`` as it was when opened, then chunks of at most 1 MiB.

    Replacing the file does not touch what is read: the handle holds the old version. Changing it in place does,
    and is found out: the next chunk raises conflict. To be closed.
    """

    _fd = -1

    def __init__(self, root: Root, path: str, job: Job, offset: int = 0, length: Optional[int] = None) -> None:
        """Raises not_found, is_directory, unsupported for a special file, …"""
        with root.locate(path) as place:
            self._fd = place.open_file()
        self._path = path
        self._job = job
        st = os.fstat(self._fd)
        self._unsized = b"" if st.st_size else read_unsized(self._fd, path)
        size = st.st_size or len(self._unsized)
        self.info = {**describe(path, st), "size": size}
        # not the ctime: it also moves when only the name goes, and that is no change of content
        self._version = (st.st_size, st.st_mtime_ns)
        self.offset = min(offset, size)
        self._end = size if length is None else min(self.offset + length, size)
        self._position = self.offset

    def next(self) -> bytes:
        """Return the next chunk, empty at the end."""
        wanted = min(CHUNK, self._end - self._position)
        if wanted <= 0:
            return b""
        self._job.check(self._path)
        with os_errors(self._path):
            chunk = self._unsized[self._position :][:wanted] or os.pread(self._fd, wanted, self._position)
            st = os.fstat(self._fd)
        if not chunk or (st.st_size, st.st_mtime_ns) != self._version:
            raise GuestError("conflict", self._path, "the file was changed while it was read", "read it again")
        self._position += len(chunk)
        self._job.advance(len(chunk))
        return chunk

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.next, b"")

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        # a caller that is cancelled while the file is being opened never gets to close it
        self.close()
