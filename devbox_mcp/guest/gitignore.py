"""The rules of .gitignore files, and which of them hold where, as git itself applies them. No I/O."""

import os
from typing import List, NamedTuple, Optional, Sequence, Tuple

from .globs import NameTest, Segments, match_segments, name_test, parse_set

LARGEST = 1 << 20  # bytes of one file of rules
_BOM = b"\xef\xbb\xbf"

#: Rules and the number of levels from the root down to the directory that they are relative to.
_Level = Tuple[int, "List[Rule]"]


class Own(NamedTuple):
    """What a directory itself says: whether it is the top of a ``repository`` (there is a .git), and the rules of
    that one's .git/info/exclude and of the .gitignore here."""

    repository: bool = False
    excludes: "Sequence[Rule]" = ()
    rules: "Sequence[Rule]" = ()


class RuleStack:
    """The rules that hold along one walk. Asked about every directory before the walk goes into it, and never
    about what lies in one that is excluded: nothing in there can be included again.

    ``inherit`` is told of every directory above the start, from the root down, and then ``enter`` of every one that
    the walk goes into, the start included, parents first.
    """

    def __init__(self, above: Sequence[str]) -> None:
        """``above`` are the names that lead from the root to the start."""
        self._above = [_bytes_as_text(part) for part in above]
        self._inherited: List[_Level] = []
        #: For each directory from the start of the walk down to the current one: the rules that hold in it.
        self._in_force: List[List[_Level]] = []

    def inherit(self, depth: int, own: Own) -> None:
        """Take over what the directory ``depth`` levels below the root says."""
        self._inherited = _levels(self._inherited, depth, own)

    def enter(self, depth: int, own: Own) -> None:
        """Follow the walk into a directory ``depth`` levels below its start, whose parent was entered before."""
        del self._in_force[depth:]
        inherited = self._in_force[-1] if self._in_force else self._inherited
        self._in_force.append(_levels(inherited, len(self._above) + depth, own))

    def excludes(self, below: Sequence[str], is_directory: bool) -> bool:
        """Whether git would ignore an entry, given its parts below the start; the directory it is in was entered."""
        if below[-1] == ".git":
            return True
        levels = self._in_force[len(below) - 1]
        if not levels:
            return False
        parts = self._above + [_bytes_as_text(part) for part in below]
        for depth, rules in reversed(levels):
            seen = parts[depth:]
            for rule in reversed(rules):
                if (is_directory or not rule.directories_only) and rule.matches(seen):
                    return not rule.negated
        return False


def _levels(inherited: List[_Level], depth: int, own: Own) -> List[_Level]:
    """Return the rules that hold in a directory, the strongest last."""
    # in a repository of its own, what is written above it does not hold
    levels = [] if own.repository else list(inherited)
    return levels + [(depth, list(rules)) for rules in (own.excludes, own.rules) if rules]


class Rule:
    """One line of a .gitignore file. Names are given byte by byte, as ``_bytes_as_text`` makes them."""

    __slots__ = ("_name", "_path", "directories_only", "negated")

    def __init__(self, line: str) -> None:
        self.negated = line.startswith("!")
        pattern = line[self.negated :]
        self.directories_only = pattern.endswith("/")
        pattern = pattern[: len(pattern) - self.directories_only]
        self._name: Optional[NameTest] = None
        self._path: Segments = ()
        segments = _split(pattern)
        if segments is None or not pattern:
            self._name = _never
        elif "/" not in pattern:
            self._name = name_test(pattern)
        else:
            # anchored; the slash it may begin with says nothing else
            self._path = _tests(segments[pattern.startswith("/") :])

    def matches(self, parts: Sequence[str]) -> bool:
        """Whether the rule speaks of this path, given as its parts below the rule's own directory."""
        if self._name is not None:
            return bool(self._name(parts[-1]))
        return match_segments(self._path, parts)


def parse_rules(content: bytes) -> List[Rule]:
    """Return the rules of a .gitignore file, in order; of one that is too large, those of its first whole lines."""
    if len(content) > LARGEST:
        content = content[: content.rfind(b"\n", 0, LARGEST) + 1]
    if content.startswith(_BOM):
        content = content[len(_BOM) :]
    rules = []
    for raw in content.decode("latin-1").split("\n"):
        if raw and not raw.startswith("#"):
            line = raw[:-1] if raw.endswith("\r") else raw
            rules.append(Rule(_without_trailing_spaces(line.partition("\0")[0])))
    return rules


def _without_trailing_spaces(line: str) -> str:
    bare = line.rstrip(" ")
    backslashes = len(bare) - len(bare.rstrip("\\"))
    # an escaped space stays
    return line[: len(bare) + backslashes % 2]


def _split(pattern: str) -> Optional[List[str]]:
    """Split at the slashes outside sets; None for a pattern that is malformed, which to git matches nothing."""
    segments, start, position = [], 0, 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "\\":
            if position == len(pattern):
                return None
            character = pattern[position]
            position += 1
            if character == "/":
                segments.append(pattern[start : position - 2])
                start = position
        elif character == "/":
            segments.append(pattern[start : position - 1])
            start = position
        elif character == "[":
            found = parse_set(pattern, position)
            if found is None:
                return None
            position = found[1]
    return [*segments, pattern[start:]]


def _tests(segments: List[str]) -> Segments:
    """Compile the segments of a pattern that has a slash."""
    tests: List[Optional[NameTest]] = []
    for segment in segments:
        if not segment:
            tests.append(_never)
        elif len(segment) < 2 or segment.strip("*"):
            tests.append(name_test(segment))
        elif tests[-1:] != [None]:
            tests.append(None)
    if tests[-1:] == [None]:
        # what ends in `/**` matches everything inside, but not the directory
        tests.append(_always)
    return tests


def _never(_name: str) -> bool:
    return False


def _always(_name: str) -> bool:
    return True


def _bytes_as_text(name: str) -> str:
    """Return a name with one character for each byte, for that is how git matches."""
    return name if name.isascii() else os.fsencode(name).decode("latin-1")
