"""Windows of whole lines: small files at once, large ones streamed, with what was learnt of them kept for the next."""

import os
import time
from typing import Any, Dict, Optional

from .beneath import Root
from .errors import GuestError, WouldBlock, os_errors
from .info import CHUNK, describe, read_unsized, revision
from .job import Job
from .line_index import Known, LineIndex
from .places import check_regular
from .windows import HEAD, WHOLE, Scan, Wanted, Window, binary_window, from_whole, is_binary

#: Files up to this size may be read on the event loop.
NOW = 64 << 10

_ATTEMPTS = 3
_RACY = 1.0  # seconds: a file changed so lately may change again without its times telling
_RWF_NOWAIT = getattr(os, "RWF_NOWAIT", None) if hasattr(os, "preadv") else None


class LineReader:
    """Reads lines beneath a root; may be used from several threads."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._index = LineIndex()

    def read_lines(self, path: str, job: Job, *, first: int, count: Optional[int], max_bytes: int) -> Dict[str, Any]:
        """Return whole lines from number ``first`` (from 1; negative counts from the end), at most ``count`` of them
        and at most ``max_bytes`` bytes.

        Answers ``info`` (``describe``; with ``sha256`` for files up to 8 MiB, for larger ones where it is known),
        ``data`` (bytes, line endings kept), ``first`` (counted from 1), ``count``, ``total`` (None while unknown),
        ``more`` (whether lines follow), ``cut`` (the first line alone is too long and ends in its middle, on a
        character boundary) and ``binary`` (a NUL or a UTF-16 mark was seen; ``data`` is empty). Raises conflict for
        a file that never holds still, invalid_argument, not_found, is_directory, unsupported, …
        """
        wanted = Wanted(path, first, count, max_bytes)
        for _ in range(_ATTEMPTS):
            began = time.time()
            with self._root.locate(path) as place:
                fd = place.open_file()
            try:
                with os_errors(path):
                    st = os.fstat(fd)
                    key = (st.st_dev, revision(st))
                    known = self._index.recall(key)
                    if st.st_size <= WHOLE:
                        data = _read_whole(fd, st.st_size) if st.st_size else read_unsized(fd, path)
                        window = from_whole(data, wanted)
                    else:
                        window = _from_large(fd, st, known, wanted, path, job)
                    if revision(os.fstat(fd)) == revision(st):
                        if st.st_size > WHOLE and began - st.st_ctime > _RACY:
                            self._index.remember(key, known)
                        return _answer(path, st, window)
            except _Changed:
                pass
            finally:
                os.close(fd)
            job.check(path)
        raise GuestError("conflict", path, "the file was changed while it was read", "try again when nothing writes it")

    def read_lines_now(self, path: str, *, first: int, count: Optional[int], max_bytes: int) -> Dict[str, Any]:
        """Answer as read_lines does for a small file that the kernel has in memory. Raises WouldBlock for others."""
        wanted = Wanted(path, first, count, max_bytes)
        with self._root.locate(path, cached=True) as place:
            check_regular(place.require(), path)
            if _RWF_NOWAIT is None or place.require().st_size > NOW:
                raise WouldBlock
            fd = place.open_file()
        try:
            st = os.fstat(fd)
            buffer = bytearray(min(st.st_size, NOW) + 1)
            read = os.preadv(fd, [buffer], 0, _RWF_NOWAIT)
            if read != st.st_size or revision(os.fstat(fd)) != revision(st):
                raise WouldBlock
        except OSError as error:
            # a real error is met again, and told, where blocking is allowed
            raise WouldBlock from error
        finally:
            os.close(fd)
        return _answer(path, st, from_whole(bytes(memoryview(buffer)[:read]), wanted))


class _Changed(Exception):
    """The file is not what it was when it was opened."""


def _read_whole(fd: int, size: int) -> bytes:
    """Return a file's content, which is that long."""
    data = os.pread(fd, size + 1, 0)
    while len(data) < size:  # some file systems answer in pieces
        piece = os.pread(fd, size - len(data), len(data))
        if not piece:
            raise _Changed
        data += piece
    if len(data) != size:
        raise _Changed
    return data


def _from_large(fd: int, st: os.stat_result, known: Known, wanted: Wanted, path: str, job: Job) -> Window:
    """Answer from as little of a file as tells; ``known`` is added to."""
    if is_binary(os.pread(fd, HEAD, 0)):
        return binary_window(wanted)
    reading = Scan(st.st_size, known, CHUNK).answer(wanted)
    try:
        offset, length = next(reading)
        while True:
            job.check(path)
            chunk = os.pread(fd, length, offset)
            if not chunk:
                raise _Changed
            offset, length = reading.send(chunk)
    except StopIteration as end:
        window: Window = end.value
        return window


def _answer(path: str, st: os.stat_result, window: Window) -> Dict[str, Any]:
    return {"info": describe(path, st, sha256=window.pop("sha256")), **window}
