"""Matching a pattern against the lines of one file."""

import re
from typing import Any, Dict, Iterable, Iterator, List, Match, Optional, Pattern, Tuple

from .errors import GuestError
from .literals import may_match

MOST_CONTEXT = 20
_SHOWN = 300  # characters of a line
_BEFORE_MATCH = 100  # of them before the match, in a line that is longer

#: The number of a line and, where it matches, the match: ``line``, ``text``, ``before`` and ``after``.
Step = Tuple[int, Optional[Dict[str, Any]]]


def compile_pattern(pattern: str, *, regex: bool, ignore_case: bool) -> Pattern[str]:
    """Compile a pattern for single lines. Raises invalid_argument, with ``position`` in its data where it is known."""
    if not pattern:
        raise GuestError("invalid_argument", ".", "the pattern is empty")
    if not regex and "\n" in pattern:
        raise GuestError(
            "invalid_argument", ".", "the text spans lines, but lines are searched one by one", "search for one of them"
        )
    try:
        return re.compile(pattern if regex else re.escape(pattern), re.IGNORECASE if ignore_case else 0)
    except re.error as error:
        hint = "mend it, or pass regex=false to search for it as plain text"
        raise GuestError("invalid_argument", ".", "bad pattern: %s" % error, hint, position=error.pos) from None
    except (ValueError, OverflowError, RecursionError) as error:
        raise GuestError("invalid_argument", ".", "bad pattern: %s" % error) from None


class LineMatcher:
    """A pattern that is asked about the lines of files, and how many lines to tell around every match."""

    def __init__(self, expression: Pattern[str], context: int) -> None:
        self._search = expression.search
        self._may_match = may_match(expression)
        self._context = context

    def steps(self, blocks: Iterable[bytes], behind: int) -> Iterator[Step]:
        """Go through a file's blocks of whole lines. Yield each match beyond line ``behind`` as soon as the lines
        after it are known, and after a block its last line's number, unless a match is not told yet."""
        number = 0
        earlier: List[str] = []
        unfinished: List[Dict[str, Any]] = []
        for block in blocks:
            last = number + block.count(b"\n") + (not block.endswith(b"\n"))
            promising = last > behind and (self._may_match is None or self._may_match(block))
            if promising or self._context:
                lines = block.split(b"\n")[: last - number]
                for match in unfinished:
                    match["after"] += map(_shown, lines[: self._context - len(match["after"])])
                while unfinished and len(unfinished[0]["after"]) == self._context:
                    yield unfinished[0]["line"], unfinished.pop(0)
                for index, found in self._hits(lines, max(0, behind - number)) if promising else ():
                    match = self._told(found, number, index, lines, earlier)
                    if len(match["after"]) == self._context:
                        yield match["line"], match
                    else:
                        unfinished.append(match)
                earlier = self._before(lines, len(lines), earlier)
            number = last
            if not unfinished:
                yield number, None
        for match in unfinished:
            yield match["line"], match

    def _hits(self, lines: List[bytes], first: int) -> Iterator[Tuple[int, Match[str]]]:
        for index in range(first, len(lines)):
            line = lines[index]
            if self._may_match is None or self._may_match(line):
                found = self._search(line.decode("utf-8", "surrogateescape"))
                if found is not None:
                    yield index, found

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


def _shown(line: bytes) -> str:
    return _around(line.decode("utf-8", "surrogateescape"), 0)


def _around(text: str, position: int) -> str:
    """Return a line for showing: the part around ``position`` of a long one, replacements for invalid bytes."""
    first = max(0, min(position - _BEFORE_MATCH, len(text) - _SHOWN))
    part = text[first : first + _SHOWN].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "%s%s%s" % ("…" if first else "", part, "…" if first + _SHOWN < len(text) else "")
