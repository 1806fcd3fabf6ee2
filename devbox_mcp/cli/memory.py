"""How this process treats memory that it has freed."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEPT = 48 * 1024 * 1024
_MAPPED = 32 * 1024 * 1024
#: Objects that are made and not yet freed when garbage is looked for. Dozens of requests under way hold about as many:
#: by Python's own 700 they are all looked through for every seventh request, which is a twentieth of its time.
_YOUNG = 2500


@contextmanager
def starting() -> Iterator[None]:
    """Look for no garbage while the block imports or builds: it makes none, and looking is a tenth of the start. What
    it made lasts as long as the process and is never looked through again, which would stop everything for 15 ms."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def expect_requests() -> None:
    """Look for garbage less often, as is right for who does many things at a time."""
    gc.set_threshold(_YOUNG)


def keep_freed() -> None:
    """Let glibc keep up to 48 MiB of what is freed, for the next big message, in one place for all threads: with one
    for each, as many times that would be kept.

    By itself it gives the memory of every message of megabytes back to the kernel, and takes it again page by page,
    which is half the time of a large read. Another C library keeps its own ways.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
        mallopt(_M_MMAP_THRESHOLD, _MAPPED)
        mallopt(_M_ARENA_MAX, 1)
