"""Places: an open directory and a name in it, and what may be done there."""

import os
import stat
from types import TracebackType
from typing import Callable, Optional, Tuple, Type, final

from .errors import GuestError, from_os_error, os_errors

DIRECTORY = os.O_DIRECTORY | os.O_CLOEXEC


@final
class Place:
    """Where an entry is or would be: ``name`` in the open directory ``fd``, ``path`` from the root with every
    link resolved, ``st`` its own lstat or None where nothing is there. The root itself is ``.`` in itself.
    A context manager that closes ``fd``, and left by an exception takes back the parents that were made for it."""

    __slots__ = ("_owned", "fd", "name", "path", "st", "take_back")

    def __init__(self, fd: int, name: str, path: str, owned: bool) -> None:
        self.fd = fd
        self.name = name
        self.path = path
        self.st: Optional[os.stat_result] = None
        self.take_back: Optional[Callable[[], None]] = None
        self._owned = owned

    @property
    def is_root(self) -> bool:
        """Whether this is the root itself."""
        return self.path == "."

    def look(self) -> Optional[os.stat_result]:
        """Look again at what is there, and return it. Raises permission_denied, …"""
        try:
            self.st = os.stat(self.name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            self.st = None
        except OSError as error:
            raise from_os_error(error, self.path) from error
        return self.st

    def require(self) -> os.stat_result:
        """Return what is there. Raises not_found."""
        if self.st is None:
            raise GuestError("not_found", self.path, "there is nothing here")
        return self.st

    def open_file(self) -> int:
        """Open the regular file for reading. Raises is_directory, unsupported for special files, …"""
        return self.open_seen()[0]

    def open_seen(self) -> Tuple[int, os.stat_result]:
        """Do as ``open_file``, and return the stat of what was opened as well."""
        check_regular(self.require(), self.path)
        with os_errors(self.path):
            # O_NONBLOCK: should a fifo have taken its place, the open does not hang
            fd = os.open(
                self.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=self.fd
            )
        try:
            st = os.fstat(fd)
            check_regular(st, self.path)
        except BaseException:
            os.close(fd)
            raise
        return fd, st

    def open_directory(self) -> int:
        """Open the directory for reading its entries, locking or flushing it. Raises not_directory."""
        if not stat.S_ISDIR(self.require().st_mode):
            raise GuestError("not_directory", self.path, "this is not a directory")
        with os_errors(self.path):
            return os.open(self.name, os.O_RDONLY | os.O_NOFOLLOW | DIRECTORY, dir_fd=self.fd)

    def open_parent(self) -> int:
        """Open the directory that holds the entry, for locking and flushing it."""
        with os_errors(self.path):
            return os.open(".", os.O_RDONLY | DIRECTORY, dir_fd=self.fd)

    def close(self) -> None:
        """Close the directory handle."""
        if self._owned:
            self._owned = False
            os.close(self.fd)

    def __enter__(self) -> "Place":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()
        if kind is not None and self.take_back is not None:
            self.take_back()


def kind_of(mode: int) -> str:
    """Return what an ``st_mode`` is: file, directory, symlink, fifo, socket or device."""
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    if stat.S_ISLNK(mode):
        return "symlink"
    if stat.S_ISFIFO(mode):
        return "fifo"
    return "socket" if stat.S_ISSOCK(mode) else "device"


def check_regular(st: os.stat_result, path: str) -> None:
    """Raise is_directory or unsupported for what is not a regular file."""
    if stat.S_ISDIR(st.st_mode):
        raise GuestError("is_directory", path, "this is a directory")
    if not stat.S_ISREG(st.st_mode):
        raise GuestError("unsupported", path, "this is a %s, not a regular file" % kind_of(st.st_mode))
