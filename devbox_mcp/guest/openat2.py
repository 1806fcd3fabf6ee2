"""The openat2 system call, which ``os`` lacks: a directory beneath another one, in one call."""

import ctypes
import errno
import os
import struct
import sys
from typing import Optional

from .errors import WouldBlock

_PASS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC

_SYS_OPENAT2 = 437  # the same on every architecture
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH, _RESOLVE_CACHED = 0x02, 0x04, 0x08, 0x20


class Openat2:
    """Opens directories, and never by way of a symbolic link."""

    def __init__(self) -> None:
        self._call = ctypes.CDLL(None, use_errno=True).syscall
        self._how = {
            resolve: struct.pack("QQQ", _PASS, 0, resolve)
            for resolve in (self._resolve(cached=False), self._resolve(cached=True))
        }

    @staticmethod
    def _resolve(cached: bool) -> int:
        resolve = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
        return resolve | _RESOLVE_CACHED if cached else resolve

    def directory(self, fd: int, path: bytes, cached: bool = False) -> int:
        """Open a directory beneath ``fd`` with no link on the way. Raises OSError, WouldBlock when cached."""
        how = self._how[self._resolve(cached)]
        for _ in range(100):
            opened: int = self._call(_SYS_OPENAT2, fd, path, how, ctypes.c_size_t(len(how)))
            if opened >= 0:
                return opened
            code = ctypes.get_errno()
            # EAGAIN: something was renamed meanwhile, or with RESOLVE_CACHED a disk would have to be asked
            if code == errno.EAGAIN and cached:
                raise WouldBlock
            if code not in (errno.EAGAIN, errno.EINTR):
                raise OSError(code, os.strerror(code))
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def probe() -> Optional[Openat2]:
    """Return openat2 where kernel and seccomp allow it."""
    if not sys.platform.startswith("linux"):
        return None
    call = Openat2()
    root = os.open("/", _PASS)
    try:
        os.close(call.directory(root, b"."))
    except OSError:
        return None
    finally:
        os.close(root)
    return call
