"""Reading what the kernel has in memory, at once or not at all."""

import ctypes
import errno
import os
import sys
from typing import Any, Dict, Optional, Set, Tuple

from .beneath import Root
from .errors import WouldBlock
from .info import describe
from .places import check_regular

#: What is read at once at most: a larger copy is worth a thread.
MOST = 64 << 10

_RWF_NOWAIT = getattr(os, "RWF_NOWAIT", None) if hasattr(os, "preadv") else None
_PROT_READ, _MAP_SHARED = 1, 1
_MAP_FAILED = ctypes.c_void_p(-1).value
_PAGE = 4096


class Cached:
    """Reads small ranges of files beneath a root without ever waiting for a disk. For one thread.

    ``RWF_NOWAIT`` is the kernel's word for that, but overlayfs, where most containers live, does not know it; there
    ``mincore`` tells whether the pages are in memory.
    """

    def __init__(self, root: Root) -> None:
        self._root = root
        self._ignorant: Set[int] = set()  # devices that do not know RWF_NOWAIT
        self._memory: Any = None
        if sys.platform.startswith("linux"):
            self._memory = ctypes.CDLL(None)
            self._memory.mmap.restype = ctypes.c_void_p
            self._memory.mmap.argtypes = [
                ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
            ]  # fmt: skip
            self._memory.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
            self._memory.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]

    def read(self, path: str, offset: int = 0, length: Optional[int] = None) -> Tuple[Dict[str, Any], int, bytes]:
        """Return a file's info, where the range begins, and its bytes. Raises WouldBlock, and GuestError."""
        with self._root.locate(path, cached=True) as place:
            size = place.require().st_size
            check_regular(place.require(), path)
            wanted = size if length is None else min(size, length)
            if wanted > MOST:
                raise WouldBlock
            fd = place.open_file()
        try:
            st = os.fstat(fd)
            offset = min(offset, st.st_size)
            wanted = st.st_size - offset if length is None else min(st.st_size - offset, length)
            if wanted > MOST:
                raise WouldBlock
            if not st.st_size and self._read(fd, st.st_dev, 0, 1):
                raise WouldBlock  # as in /proc: its size is not known
            data = self._read(fd, st.st_dev, offset, wanted) if wanted else b""
            now = os.fstat(fd)
            if len(data) != wanted or (now.st_size, now.st_mtime_ns) != (st.st_size, st.st_mtime_ns):
                raise WouldBlock
        except OSError as error:
            # a real error is met again, and told, where blocking is allowed
            raise WouldBlock from error
        finally:
            os.close(fd)
        return describe(path, st), offset, data

    def _read(self, fd: int, device: int, offset: int, length: int) -> bytes:
        if _RWF_NOWAIT is None:
            raise WouldBlock
        if device not in self._ignorant:
            buffer = bytearray(length)
            try:
                return bytes(memoryview(buffer)[: os.preadv(fd, [buffer], offset, _RWF_NOWAIT)])
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise
                self._ignorant.add(device)
        if not self._in_memory(fd, offset, length):
            raise WouldBlock
        return os.pread(fd, length, offset)

    def _in_memory(self, fd: int, offset: int, length: int) -> bool:
        if self._memory is None:
            return False
        start = offset - offset % _PAGE
        size = offset + length - start
        address = self._memory.mmap(None, size, _PROT_READ, _MAP_SHARED, fd, start)
        if address == _MAP_FAILED:
            return False
        pages = ctypes.create_string_buffer((size + _PAGE - 1) // _PAGE)
        try:
            return self._memory.mincore(address, size, pages) == 0 and all(page & 1 for page in pages.raw)
        finally:
            self._memory.munmap(address, size)
