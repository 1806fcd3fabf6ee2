"""Setting the mode of one entry, in a way that no link can divert."""

import os
import stat

from .errors import GuestError, os_errors
from .places import kind_of

_KEPT = stat.S_ISGID | stat.S_ISVTX  # on directories, as chmod does with a numeric mode
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def set_mode(fd: int, name: str, mode: int, path: str) -> int:
    """Set the permission bits of the file or directory ``name`` in ``fd``, and return 1, or 0 if it has them already.

    Raises unsupported for anything else, permission_denied, not_found.
    """
    with os_errors(path):
        st = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if not _may_have(st):
            raise GuestError("unsupported", path, "this is a %s, whose mode is left alone" % kind_of(st.st_mode))
        if stat.S_ISDIR(st.st_mode):
            mode |= st.st_mode & _KEPT
        if stat.S_IMODE(st.st_mode) == mode:
            return 0
        try:
            handle = os.open(name, _READ, dir_fd=fd)
        except PermissionError:
            if not hasattr(os, "O_PATH"):
                raise
            _set_unreadable(fd, name, mode)
            return 1
        try:
            if _may_have(os.fstat(handle)):  # it may be another by now
                os.fchmod(handle, mode)
        finally:
            os.close(handle)
    return 1


def _may_have(st: os.stat_result) -> bool:
    return stat.S_ISREG(st.st_mode) or stat.S_ISDIR(st.st_mode)


def _set_unreadable(fd: int, name: str, mode: int) -> None:
    """Set the mode of what its owner may not read, through a handle that needs no permission (Linux has such)."""
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    try:
        if _may_have(os.fstat(handle)):
            os.chmod("/proc/self/fd/%d" % handle, mode)
    finally:
        os.close(handle)
