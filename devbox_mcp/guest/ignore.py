"""What git would leave out: the rules of .gitignore files, as git itself applies them."""

import os
import stat
from contextlib import closing, suppress
from typing import Callable, Generator, List, Optional, Tuple

from . import names
from .beneath import Root
from .errors import GuestError
from .gitignore import LARGEST, Own, Rule, RuleStack, parse_rules
from .job import Job
from .places import Place
from .walk import Entry, walk


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


class Ignore:
    """The rules that hold along one walk, read where the walk comes by."""

    def __init__(self, root: Root, place: Place) -> None:
        """``place`` is the directory where the walk starts."""
        self._root = root
        self._start = place.path
        self._directory: Optional[Tuple[str, ...]] = None
        above = names.parts(place.path)
        self._stack = RuleStack(above)
        for depth in range(len(above)):
            self._stack.inherit(depth, self._above("/".join(above[:depth]) or "."))

    def excludes(self, entry: Entry) -> bool:
        """Whether git would ignore the entry."""
        if entry.name == ".git":
            return True
        directory = entry.parts[:-1]
        if directory != self._directory:
            path = "/".join(directory)
            if self._start != ".":
                path = "%s/%s" % (self._start, path) if path else self._start
            self._stack.enter(len(directory), self._own(entry.fd, path or "."))
            self._directory = directory
        return self._stack.excludes(entry.parts, entry.kind == "directory")

    def _above(self, path: str) -> Own:
        try:
            with self._root.locate(path) as place:
                fd = place.open_directory()
        except GuestError:
            return Own()
        try:
            return self._own(fd, path)
        finally:
            os.close(fd)

    def _own(self, fd: int, path: str) -> Own:
        """Return what the open directory says."""
        repository, excludes = False, []
        with suppress(OSError):
            git = os.stat(".git", dir_fd=fd, follow_symlinks=False)
            repository = True
            if stat.S_ISDIR(git.st_mode):
                excludes = self._repository_rules(path)
        return Own(repository, excludes, self._rules(fd, names.join(path, ".gitignore")))

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
                return parse_rules(file.read(LARGEST + 1))
        except (GuestError, OSError):
            return []
