"""Bytes from open file to open file. All of it raises OSError where the system fails."""

import errno
import os
from typing import Optional

from .errors import GuestError
from .info import CHUNK
from .job import Job

_KERNEL_CHUNK = 64 << 20
_TRIES = 3
#: What the kernel says where it does not copy between two such files.
_NOT_IN_KERNEL = (errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF)


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data``."""
    written = os.write(fd, data)
    if written < len(data):
        rest = memoryview(data)
        while written < len(data):
            written += os.write(fd, rest[written:])


def copy_rest(source: int, fd: int, path: str, job: Optional[Job] = None) -> int:
    """Copy an open file from where it is read up to its end, to where ``fd`` is written; return how many bytes."""
    total = 0
    while True:
        count = _copy_in_kernel(source, fd)
        if not count:
            # where the kernel does not copy, and to see that this is the end: some files say so too early
            chunk = os.read(source, CHUNK)
            if not chunk:
                return total
            write_all(fd, chunk)
            count = len(chunk)
        total += count
        if job is not None:
            job.check(path)
            job.advance(count)


def _copy_in_kernel(source: int, fd: int) -> int:
    """Copy some bytes without reading them, or none where that cannot be done."""
    try:
        return os.copy_file_range(source, fd, _KERNEL_CHUNK) if hasattr(os, "copy_file_range") else 0
    except OSError as error:
        if error.errno in _NOT_IN_KERNEL:
            return 0
        raise


def copy_file(source: int, fd: int, path: str, job: Job) -> int:
    """Make ``fd`` a copy of one version of ``source``; return its size. Raises conflict if it keeps changing."""
    for _ in range(_TRIES):
        os.lseek(source, 0, os.SEEK_SET)
        os.lseek(fd, 0, os.SEEK_SET)
        os.ftruncate(fd, 0)
        before = os.fstat(source)
        size = copy_rest(source, fd, path, job)
        after = os.fstat(source)
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
            return size
    raise GuestError("conflict", path, "the file keeps changing while it is copied", "try again later")
