r"""Glob patterns, matched in time linear in pattern times path, whatever the pattern.

``*`` and ``?`` stay within a name, ``[a-z]``, ``[!a-z]`` and ``[[:alpha:]]`` are sets, ``{a,b}`` alternatives,
``**`` any number of directories, ``\`` takes the next character as it is. A pattern without a slash matches a
name at any depth; one with a slash is anchored at the directory the search starts in. A leading dot is nothing
special.
"""

import re
from typing import Any, Callable, List, Optional, Sequence, Set, Tuple

from .errors import GuestError

_LONGEST = 4096
_MOST_ALTERNATIVES = 64

#: Whether a name matches; the answer's truth is what counts.
NameTest = Callable[[str], Any]
#: One test for each level of a path, None for any number of levels.
Segments = Sequence[Optional[NameTest]]

_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r" \t\n\r",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}


class Glob:
    """One compiled glob, ``Glob("src/**/*.py").matches(("src", "a", "b.py"))``."""

    def __init__(self, pattern: str, ignore_case: bool = False) -> None:
        """Raises invalid_argument for what is no glob."""
        if not pattern or "\0" in pattern:
            raise _bad("the glob is empty" if not pattern else "the glob holds a NUL")
        if len(pattern) > _LONGEST:
            raise _bad("the glob is longer than %d characters" % _LONGEST)
        self.pattern = pattern
        compiled = [_segments(one, ignore_case) for one in expand_braces(pattern)]
        self._alternatives = [segments for segments in compiled if segments]
        if not self._alternatives:
            raise _bad("the glob holds no name")

    def matches(self, parts: Sequence[str]) -> bool:
        """Whether the whole path, given as its parts, matches."""
        return any(match_segments(segments, parts) for segments in self._alternatives)

    def leads_on(self, parts: Sequence[str]) -> bool:
        """Whether something beneath the directory of this path could match."""
        return any(
            min(_reached(segments, parts), default=len(segments)) < len(segments) for segments in self._alternatives
        )


def expand_braces(pattern: str) -> List[str]:
    """Return the patterns that ``{a,b}`` groups stand for, nested ones too; an unbalanced brace is itself.

    Raises invalid_argument when there are too many.
    """
    groups = _groups(pattern)
    # groups side by side multiply and nested ones add, so this is the least number of alternatives
    if sum(len(group) - 1 for group in groups) > _MOST_ALTERNATIVES:
        raise _too_many()
    if not groups:
        return [pattern]
    marks = min(groups)
    found: List[str] = []
    for before, after in zip(marks, marks[1:]):
        found += expand_braces(pattern[: marks[0]] + pattern[before + 1 : after] + pattern[marks[-1] + 1 :])
        if len(found) > _MOST_ALTERNATIVES:
            raise _too_many()
    return found


def _groups(pattern: str) -> List[List[int]]:
    """Return where each group's opening brace, commas and closing brace are."""
    groups: List[List[int]] = []
    pending: List[List[int]] = []
    escaped = False
    for position, character in enumerate(pattern):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == "{":
            pending.append([position])
        elif character == "," and pending:
            pending[-1].append(position)
        elif character == "}" and pending:
            marks = pending.pop()
            if len(marks) > 1:
                groups.append([*marks, position])
    return groups


def _bad(detail: str) -> GuestError:
    return GuestError("invalid_argument", ".", detail)


def _too_many() -> GuestError:
    return _bad("the glob stands for more than %d alternatives" % _MOST_ALTERNATIVES)


def _segments(pattern: str, ignore_case: bool) -> Segments:
    """Return the tests of a pattern without braces; none where it holds no name."""
    found: List[Optional[NameTest]] = []
    for segment in pattern.split("/"):
        if segment in ("", "."):
            continue
        if segment != "**":
            found.append(name_test(segment, ignore_case))
        elif found[-1:] != [None]:
            found.append(None)
    if found and "/" not in pattern.rstrip("/") and found != [None]:
        found.insert(0, None)
    return found


def name_test(segment: str, ignore_case: bool = False) -> NameTest:
    """Compile the pattern for one name, in which a slash means nothing.

    Each ``*`` commits to the first place where what follows it fits (a lookahead and a back-reference), so that
    ``*a*a*a*b`` cannot backtrack; what follows the last one is anchored at the end.
    """
    literal, pieces = _pieces(segment)
    if literal is not None and not ignore_case:
        return literal.__eq__
    expression = pieces[0]
    if len(pieces) > 1:
        for group, piece in enumerate(pieces[1:-1]):
            expression += "(?=(?P<g%d>.*?%s))(?P=g%d)" % (group, piece, group)
        expression += ".*" + pieces[-1]
    return re.compile(expression + r"\Z", re.DOTALL | (re.IGNORECASE if ignore_case else 0)).match


def _pieces(segment: str) -> Tuple[Optional[str], List[str]]:
    """Return the one text that the pattern matches, if that is so, and the expressions between its stars."""
    pieces = [""]
    literal: Optional[str] = ""
    position = 0
    while position < len(segment):
        character = segment[position]
        position += 1
        if character == "*":
            literal = None
            # several stars in a row are one
            if len(pieces) == 1 or pieces[-1]:
                pieces.append("")
            continue
        if character == "?":
            literal = None
            pieces[-1] += "."
            continue
        if character == "[":
            found = parse_set(segment, position)
            if found is not None:
                literal = None
                pieces[-1] += found[0]
                position = found[1]
                continue
        elif character == "\\" and position < len(segment):
            character = segment[position]
            position += 1
        pieces[-1] += re.escape(character)
        if literal is not None:
            literal += character
    return literal, pieces


def parse_set(pattern: str, position: int) -> Optional[Tuple[str, int]]:
    """Translate the set that begins behind the ``[`` at ``position - 1``, as git reads it: return its regular
    expression and where it ends, None where it is not closed or names no such class."""
    negated = pattern.startswith(("!", "^"), position)
    position += negated
    first, body = position, ""
    while position == first or not pattern.startswith("]", position):
        item = _set_item(pattern, position)
        if item is None:
            return None
        body += item[0]
        position = item[1]
    return "[%s%s]" % ("^" if negated else "", body), position + 1


def _set_item(pattern: str, position: int) -> Optional[Tuple[str, int]]:
    """Translate the class, range or character that comes next in a set, and say where it ends."""
    end = pattern.find("]", position + 2)
    if pattern.startswith("[:", position) and end > position + 2 and pattern[end - 1] == ":":
        known = _CLASSES.get(pattern[position + 2 : end - 1])
        return None if known is None else (known, end + 1)
    low, position = _set_character(pattern, position)
    high = low
    if pattern.startswith("-", position) and pattern[position + 1 : position + 2] not in ("", "]"):
        high, position = _set_character(pattern, position + 1)
    if not low or not high:
        return None
    # the low end of a range is in it even where the high end is lower
    return "%s-%s" % (re.escape(low), re.escape(max(low, high))), position


def _set_character(pattern: str, position: int) -> Tuple[str, int]:
    """Return the character of a set, which may be escaped, and where the next one is; none at the end."""
    if pattern[position : position + 1] == "\\":
        position += 1
    return pattern[position : position + 1], position + 1


def match_segments(segments: Segments, parts: Sequence[str]) -> bool:
    """Whether the tests, one for each level, accept the whole path."""
    # the commonest shape, a name at any depth, needs no bookkeeping
    if len(segments) == 2 and segments[0] is None and segments[1] is not None:
        return bool(parts) and bool(segments[1](parts[-1]))
    return len(segments) in _reached(segments, parts)


def _reached(segments: Segments, parts: Sequence[str]) -> Set[int]:
    """Go along the path and return how many segments may be used up at its end; every way is followed at once."""
    reached = _closure({0}, segments)
    for part in parts:
        following = set()
        for index in reached:
            if index < len(segments):
                test = segments[index]
                if test is None:
                    following.add(index)
                elif test(part):
                    following.add(index + 1)
        reached = _closure(following, segments)
    return reached


def _closure(indexes: Set[int], segments: Segments) -> Set[int]:
    """Add what ``**`` reaches by standing for no level at all."""
    closed = set(indexes)
    for index in indexes:
        beyond = index
        while beyond < len(segments) and segments[beyond] is None:
            beyond += 1
            closed.add(beyond)
    return closed
