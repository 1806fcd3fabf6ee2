"""Renames that refuse to replace, which ``os`` lacks."""

import ctypes
import errno
import functools
import os
from typing import Any, Optional, Tuple

_NOREPLACE, _EXCL = 1, 4  # the flag on Linux and on macOS
_UNKNOWN = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)


def rename_new(fd: int, name: str, to_fd: int, to_name: str) -> None:
    """Rename an entry to a name that must be free. Raises FileExistsError, and OSError as rename does.

    Where the file system lacks such a rename, a hard link does the same for anything but a directory; for a
    directory the name is looked at first, which only the directory's lock makes safe.
    """
    found = _call()
    if found is not None:
        call, flag = found
        if call(fd, os.fsencode(name), to_fd, os.fsencode(to_name), flag) == 0:
            return
        code = ctypes.get_errno()
        if code not in _UNKNOWN:
            raise OSError(code, os.strerror(code))
    try:
        os.link(name, to_name, src_dir_fd=fd, dst_dir_fd=to_fd, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        try:
            os.stat(to_name, dir_fd=to_fd, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(name, to_name, src_dir_fd=fd, dst_dir_fd=to_fd)
        else:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
    else:
        os.unlink(name, dir_fd=fd)


@functools.lru_cache(maxsize=None)
def _call() -> Optional[Tuple[Any, int]]:
    """Return the C library's function and its flag."""
    library = ctypes.CDLL(None, use_errno=True)
    for symbol, flag in (("renameat2", _NOREPLACE), ("renameatx_np", _EXCL)):
        call = getattr(library, symbol, None)
        if call is not None:
            return call, flag
    return None
