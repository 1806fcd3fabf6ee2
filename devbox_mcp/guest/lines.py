"""Windows of whole lines: small files at once, large ones streamed, with what was learnt of them kept for the next.

A line ends behind its LF, or at the end of the file; nothing else ends one.
"""

import hashlib
import os
import time
from typing import Any, Dict, List, NamedTuple, Optional

from .beneath import Root, WouldBlock, check_regular
from .errors import GuestError, os_errors
from .info import CHUNK, describe, revision
from .job import Job
from .line_index import START, Known, LineIndex, Mark

#: Files up to this size are read whole, so that their hash and their number of lines are always told.
WHOLE = 8 << 20
#: Files up to this size may be read on the event loop.
NOW = 64 << 10

_HEAD = 8 << 10  # where a NUL makes a file binary
_ATTEMPTS = 3
_LONGEST_CHARACTER = 4  # bytes, in UTF-8
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
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
        wanted = _Wanted(path, first, count, max_bytes)
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
                        answer = _from_whole(_read_whole(fd, st.st_size), st, wanted)
                    else:
                        answer = _from_large(fd, st, known, wanted, job)
                    if revision(os.fstat(fd)) == revision(st):
                        if st.st_size > WHOLE and began - st.st_ctime > _RACY:
                            self._index.remember(key, known)
                        return answer
            except _Changed:
                pass
            finally:
                os.close(fd)
            job.check(path)
        raise GuestError("conflict", path, "the file was changed while it was read", "try again when nothing writes it")

    def read_lines_now(self, path: str, *, first: int, count: Optional[int], max_bytes: int) -> Dict[str, Any]:
        """Answer as read_lines does for a small file that the kernel has in memory. Raises WouldBlock for others."""
        wanted = _Wanted(path, first, count, max_bytes)
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
        return _from_whole(bytes(memoryview(buffer)[:read]), st, wanted)


class _Changed(Exception):
    """The file is not what it was when it was opened."""


class _Wanted:
    """What the caller asked for, checked."""

    __slots__ = ("count", "first", "max_bytes", "path")

    def __init__(self, path: str, first: int, count: Optional[int], max_bytes: int) -> None:
        if first == 0:
            raise GuestError("invalid_argument", path, "lines are counted from 1", "a negative one counts from the end")
        if count is not None and count < 1:
            raise GuestError("invalid_argument", path, "the number of lines is less than 1")
        if max_bytes < _LONGEST_CHARACTER:
            raise GuestError("invalid_argument", path, "the window is smaller than one character")
        self.path, self.first, self.count, self.max_bytes = path, first, count, max_bytes

    def first_of(self, total: int) -> int:
        """Return the number of the first line, counted from 1."""
        return self.first if self.first > 0 else max(1, total + 1 + self.first)


class _Window(NamedTuple):
    end: int
    lines: int
    cut: bool


def _answer(
    st: os.stat_result, wanted: _Wanted, known: Known, first: int, data: bytes = b"", lines: int = 0,
    more: bool = False, cut: bool = False, binary: bool = False,
) -> Dict[str, Any]:  # fmt: skip
    return {
        "info": describe(wanted.path, st, sha256=known.sha256),
        "data": data,
        "first": first,
        "count": lines,
        "total": known.total,
        "more": more,
        "cut": cut,
        "binary": binary,
    }


def _binary(st: os.stat_result, wanted: _Wanted, sha256: Optional[str] = None) -> Dict[str, Any]:
    known = Known()
    known.sha256 = sha256
    return _answer(st, wanted, known, max(wanted.first, 1), binary=True)


def _is_binary(head: bytes) -> bool:
    return b"\0" in head or head[:2] in _UTF16_MARKS


def _from_whole(data: bytes, st: os.stat_result, wanted: _Wanted) -> Dict[str, Any]:
    """Answer from the whole content of a file."""
    if len(data) != st.st_size:
        raise _Changed
    known = Known()
    known.sha256 = hashlib.sha256(data).hexdigest()
    if _is_binary(data[:_HEAD]):
        return _binary(st, wanted, known.sha256)
    known.total = _count(data, 0, len(data))
    first = wanted.first_of(known.total)
    if first > known.total:
        return _answer(st, wanted, known, first)
    start = _behind(data, first - 1, 0, len(data))
    window = _fit(data, start, wanted)
    shown = data[start : window.end]
    if b"\0" in shown:
        return _binary(st, wanted, known.sha256)
    more = first + window.lines <= known.total
    return _answer(st, wanted, known, first, shown, window.lines, more, window.cut)


def _read_whole(fd: int, size: int) -> bytes:
    """Return a file's content, and a byte more if it is longer than it should be."""
    data = os.pread(fd, size + 1, 0)
    while len(data) < size:  # some file systems answer in pieces
        piece = os.pread(fd, size - len(data), len(data))
        if not piece:
            raise _Changed
        data += piece
    return data


def _from_large(fd: int, st: os.stat_result, known: Known, wanted: _Wanted, job: Job) -> Dict[str, Any]:
    """Answer from as little of a file as tells; ``known`` is added to."""
    if _is_binary(os.pread(fd, _HEAD, 0)):
        return _binary(st, wanted)
    return _Scan(fd, st, known, job, wanted.path).answer(wanted)


class _Scan:
    """A large file read from front to back, a chunk at a time: ``offset`` is reached, in line number ``line``."""

    def __init__(self, fd: int, st: os.stat_result, known: Known, job: Job, path: str) -> None:
        self._fd = fd
        self._st = st
        self._known = known
        self._job = job
        self._path = path
        # a thousand marks for a file of any size
        self._apart = max(CHUNK, st.st_size >> 10)
        self._begin(START)

    def answer(self, wanted: _Wanted) -> Dict[str, Any]:
        """Return the window."""
        known = self._known
        if wanted.first < 0 and known.total is None:
            self._seek(self._st.st_size + 2)  # more lines than there are bytes
        first = wanted.first_of(known.total or 0)
        if not self._seek(first):
            return _answer(self._st, wanted, known, first)
        data = self._read(wanted)
        window = _fit(data, 0, wanted)
        data = data[: window.end]
        if b"\0" in data:
            return _binary(self._st, wanted)
        if window.cut:
            more = self._seek(first + 1)
        else:
            self._advance(data, window.lines - (data[-1:] != b"\n"))
            more = not self._ended()
        if more:
            known.resume = (self.line, self.offset)
        return _answer(self._st, wanted, known, first, data, window.lines, more, window.cut)

    def _begin(self, mark: Mark) -> None:
        self.line, self.offset = mark
        self._last = b"\n"
        self._digest = hashlib.sha256() if mark == START else None

    def _seek(self, line: int) -> bool:
        """Go to the beginning of a line; False if the file ends before it."""
        if self._known.total is not None and line > self._known.total:
            return False
        mark = self._known.nearest(line)
        beyond = (self.line, self._last != b"\n") > (line, False)
        if beyond or mark > (self.line, self.offset):
            self._begin(mark)
        while self.line < line and self.offset < self._st.st_size:
            chunk = self._pread(CHUNK, self.offset)
            breaks = min(chunk.count(b"\n"), line - self.line)
            if breaks == line - self.line:
                chunk = chunk[: _behind(chunk, breaks, 0, len(chunk))]
            self._advance(chunk, breaks)
        return not self._ended()

    def _read(self, wanted: _Wanted) -> bytes:
        """Read ahead: one byte more than the window may hold, or to the end, or as many lines as wanted."""
        pieces: List[bytes] = []
        length, breaks = 0, 0
        most = min(wanted.max_bytes + 1, self._st.st_size - self.offset)
        while length < most and (wanted.count is None or breaks < wanted.count):
            pieces.append(self._pread(min(CHUNK, most - length), self.offset + length))
            length += len(pieces[-1])
            breaks += 0 if wanted.count is None else pieces[-1].count(b"\n")
        return b"".join(pieces)

    def _pread(self, length: int, offset: int) -> bytes:
        self._job.check(self._path)
        chunk = os.pread(self._fd, length, offset)
        if not chunk:
            raise _Changed
        return chunk

    def _advance(self, chunk: bytes, breaks: int) -> None:
        if self._digest is not None:
            self._digest.update(chunk)
        self.line += breaks
        if breaks:
            mark = (self.line, self.offset + chunk.rfind(b"\n") + 1)
            if mark[1] >= self._known.marks[-1][1] + self._apart:
                self._known.marks.append(mark)
        self.offset += len(chunk)
        self._last = chunk[-1:]

    def _ended(self) -> bool:
        """Whether the end is reached, and with it what only the end tells."""
        if self.offset != self._st.st_size:
            return False
        self._known.total = self.line - 1 if self._last == b"\n" else self.line
        if self._digest is not None:
            self._known.sha256 = self._digest.hexdigest()
        return True


def _fit(data: bytes, start: int, wanted: _Wanted) -> _Window:
    """Return how far the window from ``start`` reaches. ``data`` goes on for more than ``max_bytes`` from there, or
    for as many lines as are wanted, or to the end of the file."""
    most = start + wanted.max_bytes
    end = min(len(data), most + 1)
    if wanted.count is not None and data.count(b"\n", start, end) >= wanted.count:
        end = _behind(data, wanted.count, start, end)
    if end <= most:
        return _Window(end, _count(data, start, end), cut=False)
    end = data.rfind(b"\n", start, most) + 1
    if end > start:
        return _Window(end, data.count(b"\n", start, end), cut=False)
    return _Window(_character_boundary(data, most), 1, cut=True)


def _count(data: bytes, start: int, end: int) -> int:
    """Return how many lines there are between two offsets, the last one with or without its ending."""
    return data.count(b"\n", start, end) + (end > start and data[end - 1] != 0x0A)


def _behind(data: bytes, breaks: int, start: int, end: int) -> int:
    """Return the offset behind that many line breaks from ``start``; there are so many before ``end``.

    Halving and counting costs no step per line, only two passes over the bytes.
    """
    if breaks == 0:
        return start
    while end - start > 1:
        middle = (start + end) // 2
        before = data.count(b"\n", start, middle)
        if before >= breaks:
            end = middle
        else:
            breaks -= before
            start = middle
    return end


def _character_boundary(data: bytes, end: int) -> int:
    """Return ``end``, or the offset up to three bytes before it where it would cut a UTF-8 character."""
    for boundary in range(end, end - _LONGEST_CHARACTER, -1):
        if data[boundary] & 0xC0 != 0x80:
            return boundary
    return end
