"""Unified diffs in the style of git, of texts of any size in moderate time."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import Match, SequenceMatcher
from itertools import zip_longest

from devbox_mcp.errors import printable

#: How many pairs of equal lines the thorough comparison may look at, at once and altogether.
_PAIRS_AT_ONCE = 20_000
_PAIRS = 200_000
_LONGEST_LINE = 500
_BEFORE_CHANGE = 80  # characters shown of a long line before what changed in it

#: tag, begin and end in the old lines, begin and end in the new ones
_Opcode = tuple[str, int, int, int, int]


def unified_diff(old: bytes, new: bytes, path: str, context: int = 3, max_lines: int = 500) -> str:
    """Return the difference, without a final line break; empty if there is none.

    A CR at the end of a line is left out where all lines of both sides have one, and otherwise shown as ``␍``. Bytes
    that are not UTF-8 are escaped, very long lines shortened around what changed. Behind ``max_lines`` lines a last
    one says how many were left out.
    """
    if old == new:
        return ""
    before, after = _lines(old), _lines(new)
    if all(line.endswith("\r\n") or not line.endswith("\n") for lines in (before, after) for line in lines):
        before, after = ([line.replace("\r\n", "\n") for line in lines] for lines in (before, after))
    body: list[str] = []
    for hunk in _Comparison(before, after).get_grouped_opcodes(context):
        body += _hunk(before, after, hunk)
    if len(body) > max_lines:
        body[max_lines:] = [f"… {len(body) - max_lines} more lines of diff left out"]
    shown = printable(path)
    return "\n".join([f"--- a/{shown}", f"+++ b/{shown}", *body])


def _lines(data: bytes) -> list[str]:
    lines = data.decode("utf-8", "backslashreplace").split("\n")
    last = lines.pop()
    return [line + "\n" for line in lines] + ([last] if last else [])


def _hunk(before: list[str], after: list[str], opcodes: list[_Opcode]) -> Iterator[str]:
    first, last = opcodes[0], opcodes[-1]
    yield f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@"
    for tag, i1, i2, j1, j2 in opcodes:
        if tag == "equal":
            for line in before[i1:i2]:
                yield from _shown(" ", line, 0)
            continue
        # the lines of a replacement are taken to correspond in order; that matters only where long ones are shortened
        for sign, lines, others in (("-", before[i1:i2], after[j1:j2]), ("+", after[j1:j2], before[i1:i2])):
            for line, other in zip_longest(lines, others[: len(lines)], fillvalue=""):
                yield from _shown(sign, line, _common(line, other) if len(line) > _LONGEST_LINE else 0)


def _range(start: int, stop: int) -> str:
    if stop - start == 1:
        return str(start + 1)
    return f"{start + 1 if stop > start else start},{stop - start}"


def _shown(sign: str, line: str, changed: int) -> Iterator[str]:
    text = line.removesuffix("\n").replace("\r", "␍")
    if len(text) > _LONGEST_LINE:
        start = max(0, min(changed - _BEFORE_CHANGE, len(text) - _LONGEST_LINE))
        end = start + _LONGEST_LINE
        text = f"{'…' * (start > 0)}{text[start:end]}{'…' * (end < len(text))} [{len(text)} characters]"
    yield sign + text
    if not line.endswith("\n"):
        yield "\\ No newline at end of file"


def _common(one: str, other: str) -> int:
    """Return how many characters two texts begin with in common, comparing ever smaller halves."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


class _Comparison(SequenceMatcher[str]):
    """Finds equal lines in time that stays in bounds: what begins and ends alike is put aside, the rest is divided at
    lines that occur once on both sides (as patience diff does), and only small parts are compared thoroughly. A large
    part without such lines counts as replaced."""

    def __init__(self, before: Sequence[str], after: Sequence[str]) -> None:
        super().__init__(autojunk=False)
        self.a, self.b = before, after

    def get_matching_blocks(self) -> list[Match]:
        found: list[Match] = []
        parts = [(0, len(self.a), 0, len(self.b))]
        pairs_left = _PAIRS
        while parts:
            alo, ahi, blo, bhi = parts.pop()
            alo, ahi, blo, bhi = self._put_aside(alo, ahi, blo, bhi, found)
            if alo == ahi or blo == bhi:
                continue
            old, new = self.a[alo:ahi], self.b[blo:bhi]
            counts, new_counts = Counter(old), Counter(new)
            pairs = sum(count * new_counts[line] for line, count in counts.items())
            if pairs <= min(_PAIRS_AT_ONCE, pairs_left):
                pairs_left -= pairs
                for match in SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks() if pairs else ():
                    found.append(Match(alo + match.a, blo + match.b, match.size))
                continue
            place = {line: index for index, line in enumerate(new, blo) if new_counts[line] == 1 == counts[line]}
            anchors = [(index, place[line]) for index, line in enumerate(old, alo) if line in place]
            above = (-1, -1)
            for anchor in _longest_rising(anchors):
                # a run of anchors begins one part, which then begins alike
                if anchor != (above[0] + 1, above[1] + 1):
                    parts.append((alo, anchor[0], blo, anchor[1]))
                    alo, blo = anchor
                above = anchor
            if anchors:
                parts.append((alo, ahi, blo, bhi))
        return _joined(sorted(found), Match(len(self.a), len(self.b), 0))

    def _put_aside(self, alo: int, ahi: int, blo: int, bhi: int, found: list[Match]) -> tuple[int, int, int, int]:
        """Match the lines that a part begins and ends with on both sides, and return what lies between."""
        a, b = self.a, self.b
        start, same = alo, blo - alo
        while alo < ahi and alo + same < bhi and a[alo] == b[alo + same]:
            alo += 1
        found.append(Match(start, start + same, alo - start))
        blo = alo + same
        end = ahi
        while ahi > alo and bhi > blo and a[ahi - 1] == b[bhi - 1]:
            ahi -= 1
            bhi -= 1
        found.append(Match(ahi, bhi, end - ahi))
        return alo, ahi, blo, bhi


def _joined(blocks: list[Match], end: Match) -> list[Match]:
    """Return the blocks with neighbours made one and empty ones left out, and ``end`` behind them."""
    joined: list[Match] = []
    for block in blocks:
        if joined and joined[-1].a + joined[-1].size == block.a and joined[-1].b + joined[-1].size == block.b:
            before = joined.pop()
            joined.append(Match(before.a, before.b, before.size + block.size))
        elif block.size:
            joined.append(block)
    return [*joined, end]


def _longest_rising(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return a longest subsequence whose second numbers rise as the first ones do (patience sorting)."""
    tops: list[int] = []  # the lowest value that ends a rising sequence of each length,
    ends: list[int] = []  # which pair that is,
    before: list[int] = []  # and the pair that comes before each pair
    for index, (_, value) in enumerate(pairs):
        pile = bisect_left(tops, value)
        tops[pile : pile + 1] = [value]
        ends[pile : pile + 1] = [index]
        before.append(ends[pile - 1] if pile else -1)
    rising = []
    index = ends[-1] if ends else -1
    while index >= 0:
        rising.append(pairs[index])
        index = before[index]
    return rising[::-1]
