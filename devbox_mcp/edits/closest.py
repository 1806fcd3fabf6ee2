"""The place that somebody most likely meant who gave a text that is not there. Bounded work, whatever the size."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher
from heapq import nlargest
from itertools import accumulate

_MOST_SHOWN = 20
_LONGEST_SHOWN = 300
_SHORTEST_TELLING = 4  # characters of a line that says where we are; a brace does not
_MOST_LOOKED_AT = 5000  # lines
_MOST_COMPARED = 50  # lines, closely
_LONGEST_COMPARED = 120  # characters of a line
_LIKE_ENOUGH = 0.5

_NUMBERED = re.compile(r"[ ]*\d+\t")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Closest:
    """Lines of the text, the first one's number, and a clause that says what they have to do with what was given."""

    first: int
    lines: tuple[str, ...]
    reason: str

    def shown(self) -> str:
        """Return the lines as files are shown, ``number TAB text``, long ones shortened."""
        rows = [
            f"{number}\t{line if len(line) <= _LONGEST_SHOWN else line[:_LONGEST_SHOWN] + '…'}"
            for number, line in enumerate(self.lines[:_MOST_SHOWN], self.first)
        ]
        left_out = len(self.lines) - _MOST_SHOWN
        return "\n".join([*rows, f"… and {left_out} more lines"] if left_out > 0 else rows)


def find(text: str, old: str) -> Closest | None:
    """Return the place in ``text`` that is most like ``old``, which is not in it; None if nothing is like it."""
    lines = text.replace("\r\n", "\n").split("\n")
    old = old.replace("\r\n", "\n")
    bare = _without_numbers(old)
    numbers = "" if bare is None else ", without the line numbers, which are no part of the text"
    wanted = old if bare is None else bare
    for search, one, many in (
        (_same, "is the same", "are the same") if numbers else (_same, "has another ending", "have other endings"),
        (_but_for_whitespace, "differs only in whitespace", "differ only in whitespace"),
        (_most_alike, "is most like it", "are most like it"),
    ):
        span = search(lines, wanted)
        if span:
            named = f"line {span.start + 1} {one}" if len(span) == 1 else f"lines {span.start + 1}-{span.stop} {many}"
            return Closest(span.start + 1, tuple(lines[span.start : span.stop]), named + numbers)
    return None


def _without_numbers(old: str) -> str | None:
    """Return the text without the ``number TAB`` before each of its lines; None if it is not so numbered."""
    lines = old.split("\n")
    if not all(_NUMBERED.match(line) for line in lines if line) or not old.strip("\n"):
        return None
    return "\n".join(_NUMBERED.sub("", line, count=1) for line in lines)


def _same(lines: list[str], old: str) -> range:
    """Return the lines that hold ``old``, the first such place; empty if none do."""
    text = "\n".join(lines)
    start = text.find(old)
    if start < 0:
        return range(0)
    first = text.count("\n", 0, start)
    return range(first, first + old.rstrip("\n").count("\n") + 1)


def _but_for_whitespace(lines: list[str], old: str) -> range:
    """Return the lines that hold ``old`` if whitespace does not count, the first such place; empty if none do."""
    squeezed = "".join(old.split())
    tight = ["".join(line.split()) for line in lines]
    start = "".join(tight).find(squeezed) if squeezed else -1
    if start < 0:
        return range(0)
    ends = list(accumulate(map(len, tight)))
    return range(bisect_right(ends, start), bisect_right(ends, start + len(squeezed) - 1) + 1)


def _most_alike(lines: list[str], old: str) -> range:
    """Return as many lines as ``old`` has, where they are most like it; empty if they are not alike at all."""
    wanted = old.strip("\n").split("\n")
    compared = [line.strip() for line in wanted[: _MOST_COMPARED // 5]]
    length = sum(map(len, compared))
    starts = _by_same_lines(lines, wanted) or _by_likeness(lines, wanted)
    best, best_likeness = 0, _LIKE_ENOUGH
    for start in starts[: _MOST_COMPARED // len(compared)] if length else ():
        pairs = zip(compared, lines[start : start + len(compared)], strict=False)
        likeness = sum(len(line) * _likeness(line, other.strip()) for line, other in pairs) / length
        if likeness > best_likeness:
            best, best_likeness = start, likeness
    return range(best, min(best + len(wanted), len(lines)) if best_likeness > _LIKE_ENOUGH else best)


def _likeness(one: str, other: str) -> float:
    if one == other:
        return 1.0
    return SequenceMatcher(None, one[:_LONGEST_COMPARED], other[:_LONGEST_COMPARED], autojunk=False).ratio()


def _by_same_lines(lines: list[str], wanted: list[str]) -> list[int]:
    """Return the starts for which most of the wanted lines, by length, stand where they should."""
    offsets: dict[str, int] = {}
    for offset, line in enumerate(wanted):
        if len(line.strip()) >= _SHORTEST_TELLING:
            offsets.setdefault(line.strip(), offset)
    votes: Counter[int] = Counter()
    for index, line in enumerate(lines):
        offset = offsets.get(line.strip(), index + 1)
        if offset <= index:
            votes[index - offset] += len(line)
    return [start for start, _ in votes.most_common(_MOST_COMPARED)]


def _by_likeness(lines: list[str], wanted: list[str]) -> list[int]:
    """Return the starts for which the longest of the wanted lines stands near a line that is like it."""
    anchor = max(range(len(wanted)), key=lambda index: len(wanted[index].strip()))
    text = wanted[anchor].strip()[:_LONGEST_COMPARED]
    words = set(_WORD.findall(text))

    def shared(index: int) -> int:
        return sum(map(len, words.intersection(_WORD.findall(lines[index]))))

    indexes: list[int] | range = range(len(lines))
    if len(lines) > _MOST_LOOKED_AT:
        indexes = nlargest(_MOST_LOOKED_AT, indexes, key=shared)
    alike = SequenceMatcher(b=text, autojunk=False)

    def likeness(index: int) -> float:
        alike.set_seq1(lines[index].strip()[:_LONGEST_COMPARED])
        return alike.quick_ratio() if alike.real_quick_ratio() > _LIKE_ENOUGH else 0.0

    return [max(index - anchor, 0) for index in nlargest(_MOST_COMPARED, indexes, key=likeness)]
