"""Matching a pattern against the lines of one file."""

import re
import signal
from types import FrameType
from typing import Any, Callable, Dict, Iterable, Iterator, List, Match, Optional, Pattern, Tuple

from .errors import GuestError
from .literals import may_match, needs_line_break
from .textfile import LONGEST_LINE

MOST_CONTEXT = 20
_SHOWN = 300  # characters of a line
_BEFORE_MATCH = 100  # of them before the match, in a line that is longer
_PATIENCE = 1.0  # seconds of processor time; a line that outlives two such periods is given up

#: The number of a line and, where it matches, the match: ``line``, ``text``, ``before`` and ``after``.
Step = Tuple[int, Optional[Dict[str, Any]]]


def compile_pattern(pattern: str, *, regex: bool, ignore_case: bool) -> Pattern[str]:
    """Compile a pattern for single lines. Raises invalid_argument, with ``position`` in its data where it is known."""
    if not pattern:
        raise GuestError("invalid_argument", ".", "the pattern is empty")
    try:
        expression = re.compile(pattern if regex else re.escape(pattern), re.IGNORECASE if ignore_case else 0)
    except re.error as error:
        hint = "mend it, or pass regex=false to search for it as plain text"
        raise GuestError("invalid_argument", ".", "bad pattern: %s" % error, hint, position=error.pos) from None
    except (ValueError, OverflowError, RecursionError) as error:
        raise GuestError("invalid_argument", ".", "bad pattern: %s" % error) from None
    if needs_line_break(expression):
        detail = "the %s spans lines, but lines are searched one by one" % ("pattern" if regex else "text")
        hint = "search for one of them, with context to see the others"
        raise GuestError("invalid_argument", ".", detail, hint + ("; $ matches at its end" if regex else ""))
    return expression


def give_up_slow_lines() -> None:
    """From now on let no line take for ever, whatever the pattern. For the main thread of a process of its own."""
    signal.signal(signal.SIGVTALRM, _Patience())
    signal.setitimer(signal.ITIMER_VIRTUAL, _PATIENCE, _PATIENCE)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGVTALRM,))


class _TooSlow(Exception):
    """A line takes too long."""


class _Patience:
    """Handles a signal, which ``re`` lets through while it matches: nothing else gets a word in."""

    def __init__(self) -> None:
        self._seen: Optional[Tuple[FrameType, Any]] = None

    def __call__(self, number: int, frame: Optional[FrameType]) -> None:
        """Raise _TooSlow where the line that is matched is the same as the last time, and nowhere else."""
        matching = frame is not None and frame.f_code is _hits.__code__
        here = (frame, frame.f_locals.get("index")) if frame is not None and matching else None
        if here is not None and here == self._seen:
            raise _TooSlow
        self._seen = here


class LineMatcher:
    """A pattern that is asked about the lines of files, and how many lines to tell around every match."""

    def __init__(self, expression: Pattern[str], context: int) -> None:
        self._search = expression.search
        self._may_match = may_match(expression)
        self._context = context
        #: What was left out of the file: the ``line`` and the ``reason``. ``long``: all but the line's beginning;
        #: ``slow``: this line, which the pattern takes too long for, and all behind it.
        self.gap: Optional[Dict[str, Any]] = None
        self._gave_up = False

    def steps(self, blocks: Iterable[bytes], behind: int) -> Iterator[Step]:
        """Go through a file's blocks of whole lines. Yield each match beyond line ``behind`` as soon as the lines
        after it are known, and after a block its last line's number, unless a match is not told yet."""
        self.gap = None
        self._gave_up = False
        number = 0
        earlier: List[str] = []
        unfinished: List[Dict[str, Any]] = []
        for block in blocks:
            last = number + block.count(b"\n") + (not block.endswith(b"\n"))
            self._look_for_long_lines(block, number, behind)
            promising = last > behind and (self._may_match is None or self._may_match(block))
            if promising or self._context:
                lines = block.split(b"\n")[: last - number]
                for match in self._finished(unfinished, lines):
                    yield match["line"], match
                for match in self._matches(lines, number, behind, earlier) if promising else ():
                    if len(match["after"]) == self._context:
                        yield match["line"], match
                    else:
                        unfinished.append(match)
                earlier = self._before(lines, len(lines), earlier)
            if self._gave_up:
                break
            number = last
            if not unfinished:
                yield number, None
        for match in unfinished:
            yield match["line"], match

    def _matches(self, lines: List[bytes], number: int, behind: int, earlier: List[str]) -> Iterator[Dict[str, Any]]:
        for index, found in _hits(self._search, self._may_match, lines, max(0, behind - number)):
            if found is None:
                self.gap = {"line": number + index + 1, "reason": "slow"}
                self._gave_up = True
            else:
                yield self._told(found, number, index, lines, earlier)

    def _finished(self, unfinished: List[Dict[str, Any]], lines: List[bytes]) -> Iterator[Dict[str, Any]]:
        """Give matches the lines that come after them, and part with those that have all."""
        for match in unfinished:
            match["after"] += map(_shown, lines[: self._context - len(match["after"])])
        while unfinished and len(unfinished[0]["after"]) == self._context:
            yield unfinished.pop(0)

    def _look_for_long_lines(self, block: bytes, number: int, behind: int) -> None:
        if self.gap is not None or len(block) < LONGEST_LINE:
            return
        for index, line in enumerate(block.split(b"\n"), number + 1):
            if index > behind and len(line) >= LONGEST_LINE:
                self.gap = {"line": index, "reason": "long"}
                return

    def _told(
        self, found: Match[str], number: int, index: int, lines: List[bytes], earlier: List[str]
    ) -> Dict[str, Any]:
        return {
            "line": number + index + 1,
            "text": _around(found.string, found.start()),
            "before": self._before(lines, index, earlier),
            "after": [_shown(line) for line in lines[index + 1 : index + 1 + self._context]],
        }

    def _before(self, lines: List[bytes], index: int, earlier: List[str]) -> List[str]:
        """Return the lines before one of a block, the ``earlier`` ones from the blocks before it."""
        near = [_shown(line) for line in lines[max(0, index - self._context) : index]]
        return earlier[max(0, len(earlier) + len(near) - self._context) :] + near


def _hits(
    search: Callable[[str], Optional[Match[str]]],
    may_match: Optional[Callable[[bytes], bool]],
    lines: List[bytes],
    first: int,
) -> Iterator[Tuple[int, Optional[Match[str]]]]:
    """Yield the lines that match, and at last, without a match, one that takes too long."""
    index = first
    try:
        for index in range(first, len(lines)):
            line = lines[index]
            if may_match is None or may_match(line):
                found = search(line.decode("utf-8", "surrogateescape"))
                if found is not None:
                    yield index, found
    except _TooSlow:
        yield index, None


def _shown(line: bytes) -> str:
    return _around(line.decode("utf-8", "surrogateescape"), 0)


def _around(text: str, position: int) -> str:
    """Return a line for showing: the part around ``position`` of a long one, replacements for invalid bytes."""
    first = max(0, min(position - _BEFORE_MATCH, len(text) - _SHOWN))
    part = text[first : first + _SHOWN].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "%s%s%s" % ("…" if first else "", part, "…" if first + _SHOWN < len(text) else "")
