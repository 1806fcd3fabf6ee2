"""Windows of whole lines of a file's bytes. No I/O: a large file's bytes are asked for.

A line ends behind its LF, or at the end of the file; nothing else ends one.
"""

import hashlib
from typing import Any, Dict, Generator, List, NamedTuple, Optional, Tuple, TypeVar

from .errors import GuestError
from .line_index import START, Known, Mark

#: Files up to this size are read whole, so that their hash and their number of lines are always told.
WHOLE = 8 << 20

#: Where a NUL makes a file binary, in bytes.
HEAD = 8 << 10

_LONGEST_CHARACTER = 4  # bytes, in UTF-8
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")

#: What ``read_lines`` answers, with ``sha256`` in place of ``info``.
Window = Dict[str, Any]

_Result = TypeVar("_Result")
#: Work that yields the offset and the length of what it has to read.
Reading = Generator[Tuple[int, int], bytes, _Result]


class Wanted:
    """What the caller asked for, checked."""

    __slots__ = ("count", "first", "max_bytes")

    def __init__(self, path: str, first: int, count: Optional[int], max_bytes: int) -> None:
        """Raises invalid_argument."""
        if first == 0:
            raise GuestError("invalid_argument", path, "lines are counted from 1", "a negative one counts from the end")
        if count is not None and count < 1:
            raise GuestError("invalid_argument", path, "the number of lines is less than 1")
        if max_bytes < _LONGEST_CHARACTER:
            raise GuestError("invalid_argument", path, "the window is smaller than one character")
        self.first, self.count, self.max_bytes = first, count, max_bytes

    def first_of(self, total: int) -> int:
        """Return the number of the first line, counted from 1."""
        return self.first if self.first > 0 else max(1, total + 1 + self.first)


class _Fit(NamedTuple):
    end: int
    lines: int
    cut: bool


def _answer(
    known: Known, first: int, data: bytes = b"", lines: int = 0, more: bool = False, cut: bool = False
) -> Window:
    return {
        "sha256": known.sha256,
        "data": data,
        "first": first,
        "count": lines,
        "total": known.total,
        "more": more,
        "cut": cut,
        "binary": False,
    }


def binary_window(wanted: Wanted, sha256: Optional[str] = None) -> Window:
    """Answer about a file that is no text."""
    known = Known()
    known.sha256 = sha256
    return {**_answer(known, max(wanted.first, 1)), "binary": True}


def is_binary(head: bytes) -> bool:
    """Whether a file with these first bytes, HEAD of them or all, is no text."""
    return b"\0" in head or head[:2] in _UTF16_MARKS


def from_whole(data: bytes, wanted: Wanted) -> Window:
    """Answer from the whole content of a file."""
    known = Known()
    known.sha256 = hashlib.sha256(data).hexdigest()
    if is_binary(data[:HEAD]):
        return binary_window(wanted, known.sha256)
    known.total = _count(data, 0, len(data))
    first = wanted.first_of(known.total)
    if first > known.total:
        return _answer(known, first)
    start = _behind(data, first - 1, 0, len(data))
    fit = _fit(data, start, wanted)
    shown = data[start : fit.end]
    if b"\0" in shown:
        return binary_window(wanted, known.sha256)
    more = first + fit.lines <= known.total
    return _answer(known, first, shown, fit.lines, more, fit.cut)


class Scan:
    """A large file read from front to back, a chunk at a time: ``offset`` is reached, in line number ``line``.

    It does not read by itself: its generators yield an offset and a length, and are sent the bytes that are there,
    at least one of them. What begins like a binary file is not for it. ``known`` is added to.
    """

    def __init__(self, size: int, known: Known, chunk: int) -> None:
        """``chunk`` is the most to ask for at once."""
        self._size = size
        self._known = known
        self._chunk = chunk
        # a thousand marks for a file of any size
        self._apart = max(chunk, size >> 10)
        self._begin(START)

    def answer(self, wanted: Wanted) -> Reading[Window]:
        """Return the window."""
        known = self._known
        if wanted.first < 0 and known.total is None:
            yield from self._seek(self._size + 2)  # more lines than there are bytes
        first = wanted.first_of(known.total or 0)
        if not (yield from self._seek(first)):
            return _answer(known, first)
        data = yield from self._read(wanted)
        if known.total is not None and wanted.count is None and len(data) == self._size <= wanted.max_bytes:
            fit = _Fit(len(data), known.total, cut=False)  # without counting once more
        else:
            fit = _fit(data, 0, wanted)
        data = data[: fit.end]
        if b"\0" in data:
            return binary_window(wanted)
        if fit.cut:
            more = yield from self._seek(first + 1)
        else:
            self._advance(data, fit.lines - (data[-1:] != b"\n"))
            more = not self._ended()
        if more:
            known.resume = (self.line, self.offset)
        return _answer(known, first, data, fit.lines, more, fit.cut)

    def _begin(self, mark: Mark) -> None:
        self.line, self.offset = mark
        self._last = b"\n"
        self._digest = hashlib.sha256() if mark == START and self._known.sha256 is None else None

    def _seek(self, line: int) -> Reading[bool]:
        """Go to the beginning of a line; False if the file ends before it."""
        if self._known.total is not None and line > self._known.total:
            return False
        mark = self._known.nearest(line)
        beyond = (self.line, self._last != b"\n") > (line, False)
        if beyond or mark > (self.line, self.offset):
            self._begin(mark)
        while self.line < line and self.offset < self._size:
            chunk = yield self.offset, self._chunk
            breaks = min(chunk.count(b"\n"), line - self.line)
            if breaks == line - self.line:
                chunk = chunk[: _behind(chunk, breaks, 0, len(chunk))]
            self._advance(chunk, breaks)
        return not self._ended()

    def _read(self, wanted: Wanted) -> Reading[bytes]:
        """Read ahead: one byte more than the window may hold, or to the end, or as many lines as wanted."""
        pieces: List[bytes] = []
        length, breaks = 0, 0
        most = min(wanted.max_bytes + 1, self._size - self.offset)
        while length < most and (wanted.count is None or breaks < wanted.count):
            # all of it at once where nothing may end it earlier: pieces would only be copied together
            rest = most - length
            pieces.append((yield self.offset + length, rest if wanted.count is None else min(self._chunk, rest)))
            length += len(pieces[-1])
            breaks += 0 if wanted.count is None else pieces[-1].count(b"\n")
        return b"".join(pieces)

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
        if self.offset != self._size:
            return False
        self._known.total = self.line - 1 if self._last == b"\n" else self.line
        if self._digest is not None:
            self._known.sha256 = self._digest.hexdigest()
        return True


def _fit(data: bytes, start: int, wanted: Wanted) -> _Fit:
    """Return how far the window from ``start`` reaches. ``data`` goes on for more than ``max_bytes`` from there, or
    for as many lines as are wanted, or to the end of the file."""
    most = start + wanted.max_bytes
    end = min(len(data), most + 1)
    if wanted.count is not None and data.count(b"\n", start, end) >= wanted.count:
        end = _behind(data, wanted.count, start, end)
    if end <= most:
        return _Fit(end, _count(data, start, end), cut=False)
    end = data.rfind(b"\n", start, most) + 1
    if end > start:
        return _Fit(end, data.count(b"\n", start, end), cut=False)
    return _Fit(_character_boundary(data, most), 1, cut=True)


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
