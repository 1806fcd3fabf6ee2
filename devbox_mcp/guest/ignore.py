"""What git would leave out: the rules of .gitignore files, as git itself applies them."""

import os
import stat
from contextlib import closing
from typing import Callable, Generator, List, Optional, Sequence, Tuple

from . import names
from .beneath import Place, Root
from .errors import GuestError
from .globs import NameTest, Segments, match_segments, name_test, parse_set
from .job import Job
from .walk import Entry, walk

_LARGEST = 1 << 20  # bytes of one file of rules
_BOM = b"\xef\xbb\xbf"

#: Rules and the number of levels from the root down to the directory that they are relative to.
_Level = Tuple[int, "List[Rule]"]


def visible(
    root: Root,
    place: Place,
    job: Job,
    ignored: bool = False,
    after: Optional[Tuple[str, ...]] = None,
    enter: Optional[Callable[[Entry], bool]] = None,
    unreadable: Optional[List[str]] = None,
) -> Generator[Entry, None, None]:
    """Walk as ``walk`` does, without ``.git`` and what .gitignore files exclude unless ``ignored``.

    The start itself was asked for, so it is gone into whatever the rules say about it or what is above it.
    """
    rules = None if ignored else Ignore(root, place)

    def going_in(entry: Entry) -> bool:
        return (rules is None or not rules.excludes(entry)) and (enter is None or enter(entry))

    with closing(walk(root, place, job, after=after, enter=going_in, unreadable=unreadable)) as entries:
        for entry in entries:
            if rules is None or not rules.excludes(entry):
                yield entry


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
    """Return the rules of a .gitignore file, in order."""
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


class Ignore:
    """The rules that hold along one walk. Asked about every directory before the walk goes into it, and never
    about what lies in one that is excluded: nothing in there can be included again."""

    def __init__(self, root: Root, place: Place) -> None:
        """``place`` is the directory where the walk starts."""
        self._root = root
        self._start = place.path
        above = names.parts(place.path)
        self._above = [_bytes_as_text(part) for part in above]
        self._directory: Optional[Tuple[str, ...]] = None
        self._inherited: List[_Level] = []
        for depth in range(len(above)):
            self._inherited = self._enter_above("/".join(above[:depth]) or ".", depth)
        #: For each directory from the start of the walk down to ``_directory``: the rules that hold in it.
        self._in_force: List[List[_Level]] = []

    def excludes(self, entry: Entry) -> bool:
        """Whether git would ignore the entry."""
        if entry.name == ".git":
            return True
        directory = entry.parts[:-1]
        if directory != self._directory:
            self._go(directory, entry.fd)
        levels = self._in_force[-1]
        if not levels:
            return False
        parts = self._above + [_bytes_as_text(part) for part in entry.parts]
        is_directory = entry.kind == "directory"
        for depth, rules in reversed(levels):
            below = parts[depth:]
            for rule in reversed(rules):
                if (is_directory or not rule.directories_only) and rule.matches(below):
                    return not rule.negated
        return False

    def _go(self, directory: Tuple[str, ...], fd: int) -> None:
        """Follow the walk into a directory, whose parent was entered before it."""
        depth = len(directory)
        del self._in_force[depth:]
        inherited = self._in_force[-1] if self._in_force else self._inherited
        path = "/".join(directory)
        if self._start != ".":
            path = "%s/%s" % (self._start, path) if path else self._start
        self._in_force.append(self._enter(fd, path or ".", len(self._above) + depth, inherited))
        self._directory = directory

    def _enter_above(self, path: str, depth: int) -> List[_Level]:
        try:
            with self._root.locate(path) as place:
                fd = place.open_directory()
        except GuestError:
            return self._inherited
        try:
            return self._enter(fd, path, depth, self._inherited)
        finally:
            os.close(fd)

    def _enter(self, fd: int, path: str, depth: int, inherited: List[_Level]) -> List[_Level]:
        """Return the rules that hold in the open directory, the strongest last."""
        levels = list(inherited)
        try:
            git = os.stat(".git", dir_fd=fd, follow_symlinks=False)
        except OSError:
            pass
        else:
            # a repository of its own: what is written above it does not hold in it
            levels = []
            if stat.S_ISDIR(git.st_mode):
                self._add(levels, depth, self._repository_rules(path))
        self._add(levels, depth, self._rules(fd, names.join(path, ".gitignore")))
        return levels

    @staticmethod
    def _add(levels: List[_Level], depth: int, rules: List[Rule]) -> None:
        if rules:
            levels.append((depth, rules))

    def _repository_rules(self, path: str) -> List[Rule]:
        try:
            with self._root.locate(names.join(path, ".git/info")) as place:
                fd = place.open_directory()
        except GuestError:
            return []
        try:
            return self._rules(fd, names.join(path, ".git/info/exclude"))
        finally:
            os.close(fd)

    def _rules(self, fd: int, path: str) -> List[Rule]:
        """Return the rules in a file, given the directory it is in; none where there is no such file to read."""
        if self._root.policy.denies(path):
            return []
        place = Place(fd, path.rpartition("/")[2], path, owned=False)
        try:
            if place.look() is None:
                return []
            with os.fdopen(place.open_file(), "rb") as file:
                return parse_rules(_head(file.read(_LARGEST + 1)))
        except (GuestError, OSError):
            return []


def _head(content: bytes) -> bytes:
    """Return the whole lines in the first part of a file of rules that is too large."""
    return content if len(content) <= _LARGEST else content[: content.rfind(b"\n", 0, _LARGEST) + 1]


def _bytes_as_text(name: str) -> str:
    """Return a name with one character for each byte, for that is how git matches."""
    return name if name.isascii() else os.fsencode(name).decode("latin-1")
