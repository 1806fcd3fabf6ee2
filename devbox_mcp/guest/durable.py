"""What it takes until the disk has it."""

import ctypes
import fcntl
import functools
import os
import re
import sys
from contextlib import contextmanager
from typing import Any, Iterator, Optional

from .errors import GuestError

_SYNC_FILE_RANGE_WRITE = 2
_SYNCFS_TELLS = (5, 8)
_FULL_SYNC: Optional[int] = getattr(fcntl, "F_FULLFSYNC", None)  # macOS, where fsync stops at the drive's cache


def flush(fd: int) -> None:
    """Make a file's content, or a directory's entries, durable. Raises OSError where the disk failed."""
    try:
        if _FULL_SYNC is not None:
            fcntl.fcntl(fd, _FULL_SYNC)
            return
    except OSError:
        pass  # not every file system knows it
    os.fsync(fd)


def flushes_at_once(directory_fd: int) -> bool:
    """Whether ``flush_all`` can be trusted with what is in a directory: only Linux tells of failures there, since 5.8,
    and only of those on a file system that has a disk for itself, not on one that is laid over another."""
    return _syncfs() is not None and os.major(os.fstat(directory_fd).st_dev) != 0


def flush_all(directory_fd: int) -> None:
    """Make everything on a directory's file system durable. For many files: to flush one costs a pause of the disk.
    Raises OSError where the disk failed."""
    if _syncfs()(directory_fd):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


@contextmanager
def already_made(path: str) -> Iterator[None]:
    """Say of any failure in the block that it came after the change."""
    try:
        yield
    except (OSError, GuestError) as error:
        raise GuestError(
            "io_error", path, "the change was made, but the file system did not confirm that it will last"
        ) from error


def start_writing(fd: int) -> None:
    """Ask the kernel to begin writing a file out, without waiting.

    Only a hint, which makes the flushes of many small files share the journal's commits (a quarter of the time);
    ``flush`` alone says whether the bytes arrived.
    """
    call = _sync_file_range()
    if call is not None:
        call(fd, ctypes.c_int64(0), ctypes.c_int64(0), _SYNC_FILE_RANGE_WRITE)


@functools.lru_cache(maxsize=None)
def _sync_file_range() -> Any:
    return getattr(ctypes.CDLL(None), "sync_file_range", None)


@functools.lru_cache(maxsize=None)
def _syncfs() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if release is None or (int(release[1]), int(release[2])) < _SYNCFS_TELLS:
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
