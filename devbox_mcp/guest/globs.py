"""Glob patterns, matched in time linear in pattern times path, whatever the pattern.

``*`` and ``?`` stay within a name, ``[a-z]`` and ``[!a-z]`` are sets, ``{a,b}`` alternatives, ``**`` any number
of directories. A pattern without a slash matches a name at any depth; one with a slash is anchored at the
directory the search starts in. A leading dot is nothing special.
"""

import re
from typing import List, Optional, Pattern, Sequence, Tuple

from .errors import GuestError

_MOST_ALTERNATIVES = 64
_ANY_DEPTH = None


def expand_braces(pattern: str) -> List[str]:
    """Return the patterns that ``{a,b}`` groups stand for, nested ones too; an unbalanced brace is itself."""
    start = pattern.find("{")
    while start >= 0:
        depth, commas, end = 0, [start], -1
        for position in range(start, len(pattern)):
            character = pattern[position]
            if character == "{":
                depth += 1
            elif character == "}":
                depth -= 1
                if depth == 0:
                    end = position
                    break
            elif character == "," and depth == 1:
                commas.append(position)
        if end > 0 and len(commas) > 1:
            commas.append(end)
            found: List[str] = []
            for before, after in zip(commas, commas[1:]):
                for rest in expand_braces(pattern[:start] + pattern[before + 1 : after] + pattern[end + 1 :]):
                    found.append(rest)
                    if len(found) > _MOST_ALTERNATIVES:
                        raise GuestError(
                            "invalid_argument",
                            ".",
                            "the pattern stands for more than %d alternatives" % _MOST_ALTERNATIVES,
                        )
            return found
        start = pattern.find("{", start + 1)
    return [pattern]


def _name_regex(segment: str, ignore_case: bool) -> Pattern[str]:
    """Translate one segment. Each ``*`` commits to its first match (a lookahead and a back-reference), so that
    ``*a*a*a*b`` cannot backtrack; the last piece is anchored at the end."""
    pieces: List[str] = [""]
    position = 0
    while position < len(segment):
        character = segment[position]
        position += 1
        if character == "*":
            if len(pieces) == 1 or pieces[-1]:
                pieces.append("")
        elif character == "?":
            pieces[-1] += "[^/]"
        elif character == "[":
            end = position + 1 if segment[position : position + 1] in ("!", "^") else position
            end = segment.find("]", end + 1)
            if end < 0:
                pieces[-1] += r"\["
                continue
            body = segment[position:end].replace("\\", r"\\").replace("[", r"\[").replace("&&", r"\&&")
            body = body.replace("||", r"\||").replace("~~", r"\~~")
            if body[0] in "!^":
                body = "^/" + body[1:]
            pieces[-1] += "[%s]" % body
            position = end + 1
        elif character == "\\" and position < len(segment):
            pieces[-1] += re.escape(segment[position])
            position += 1
        else:
            pieces[-1] += re.escape(character)
    expression = pieces[0]
    if len(pieces) > 1:
        for group, piece in enumerate(pieces[1:-1]):
            expression += "(?=(?P<g%d>.*?%s))(?P=g%d)" % (group, piece, group)
        expression += ".*" + pieces[-1]
    try:
        return re.compile(expression + r"\Z", re.DOTALL | (re.IGNORECASE if ignore_case else 0))
    except re.error as error:
        raise GuestError("invalid_argument", ".", "bad glob %r: %s" % (segment, error)) from None


class Glob:
    """One compiled glob, ``Glob("src/**/*.py").matches(("src", "a", "b.py"))``."""

    def __init__(self, pattern: str, ignore_case: bool = False) -> None:
        if not pattern or "\0" in pattern:
            raise GuestError("invalid_argument", ".", "the glob is empty" if not pattern else "the glob holds a NUL")
        self.pattern = pattern
        self._alternatives = [self._compile(one, ignore_case) for one in expand_braces(pattern)]

    @staticmethod
    def _compile(pattern: str, ignore_case: bool) -> Tuple[Optional[Pattern[str]], ...]:
        anchored = "/" in pattern.rstrip("/")
        segments: List[Optional[Pattern[str]]] = [] if anchored else [_ANY_DEPTH]
        for segment in pattern.strip("/").split("/"):
            if segment in ("", "."):
                continue
            if segment == "**":
                if not segments or segments[-1] is not _ANY_DEPTH:
                    segments.append(_ANY_DEPTH)
            else:
                segments.append(_name_regex(segment, ignore_case))
        return tuple(segments)

    def matches(self, parts: Sequence[str]) -> bool:
        """Whether the whole path, given as its parts, matches."""
        return any(_match(segments, parts) for segments in self._alternatives)


def _match(segments: Sequence[Optional[Pattern[str]]], parts: Sequence[str]) -> bool:
    """Match segments against parts from left to right, carrying the set of segments reached so far."""
    if len(segments) == 2 and segments[0] is _ANY_DEPTH and segments[1] is not None:
        return bool(parts) and segments[1].match(parts[-1]) is not None
    reached = _closure({0}, segments)
    for part in parts:
        following = set()
        for index in reached:
            if index == len(segments):
                continue
            segment = segments[index]
            if segment is _ANY_DEPTH:
                following.add(index)
            elif segment is not None and segment.match(part):
                following.add(index + 1)
        if not following:
            return False
        reached = _closure(following, segments)
    return len(segments) in reached


def _closure(indexes: "set[int]", segments: Sequence[Optional[Pattern[str]]]) -> "set[int]":
    """Add what ``**`` reaches by matching no directory at all."""
    closed = set(indexes)
    for index in indexes:
        while index < len(segments) and segments[index] is _ANY_DEPTH:
            index += 1
            closed.add(index)
    return closed
