"""What has been told of a watched tree, and what follows from each thing that happens to a name in it. No I/O.

Events may come late: a look into a directory shows what the queue brings only later, or what was moved there from
a place that the queue still has to empty. So nothing is told twice, and where what is known turns out to be of
another directory than thought, that directory is told again from the start.
"""

from typing import Callable, Dict, Iterator, List, Optional, Set, Tuple

from . import names
from .journal import CREATED, DELETED, MODIFIED, MOVED, Event


class Lost(Exception):
    """Changes may have gone unseen, and it cannot be said which."""


class Directory:
    """A known directory: its entries by name (a directory, or None for anything else), and its watch descriptor
    while it has one. Once ``forgotten`` it is no longer part of the tree."""

    __slots__ = ("entries", "forgotten", "name", "parent", "wd")

    def __init__(self, parent: "Optional[Directory]", name: str) -> None:
        self.parent = parent
        self.name = name
        self.entries: Dict[str, Optional[Directory]] = {}
        self.wd: Optional[int] = None
        self.forgotten = False

    @property
    def path(self) -> str:
        """The path from the root, by today's names."""
        parts = []
        here = self
        while here.parent is not None:
            parts.append(here.name)
            here = here.parent
        return names.join(here.name, "/".join(reversed(parts))) if parts else here.name

    def holds(self, other: "Directory") -> bool:
        """Whether the other one is this one or lies beneath it."""
        here: Optional[Directory] = other
        while here is not None and here is not self:
            here = here.parent
        return here is self

    def tree(self) -> "Iterator[Directory]":
        """Yield this directory and every one beneath it."""
        pending = [self]
        while pending:
            here = pending.pop()
            yield here
            pending.extend(child for child in here.entries.values() if child is not None)


class Known:
    """The tree, the events that led to it, and what has to be looked at.

    ``unwatched`` directories are to be watched and looked into, ``doubtful`` (directory, name) to be compared
    with what is there. ``unwatch`` is called with each watch descriptor that is no longer of use.
    """

    def __init__(self, path: str, recursive: bool, moves_whole: bool, unwatch: Callable[[int], None]) -> None:
        """``moves_whole`` says that a directory shows the same entries wherever it is moved."""
        self.top = Directory(None, path)
        self.by_wd: Dict[int, Directory] = {}
        self.unwatched = {self.top}
        self.doubtful: Set[Tuple[Directory, str]] = set()
        self.told: List[Event] = []
        self._recursive = recursive
        self._moves_whole = moves_whole
        self._unwatch = unwatch

    def tell(self, kind: str, path: str, directory: bool, source: Optional[str] = None) -> None:
        """Add an event."""
        self.told.append(Event(kind, path, directory, source))

    # -- what happens to names

    def appear(self, directory: Directory, name: str, is_directory: bool) -> None:
        """There is an entry; it may be known already."""
        if name in directory.entries:
            if (directory.entries[name] is not None) == is_directory:
                return
            self.vanish(directory, name)
        child = Directory(directory, name) if is_directory else None
        directory.entries[name] = child
        self.tell(CREATED, names.join(directory.path, name), is_directory)
        if child is not None and self._recursive:
            self.unwatched.add(child)

    def vanish(self, directory: Directory, name: str) -> None:
        """An entry, if it is known at all, is no longer there."""
        if name not in directory.entries:
            return
        child = directory.entries.pop(name)
        self.tell(DELETED, names.join(directory.path, name), child is not None)
        if child is not None:
            self._forget(child)

    def modify(self, directory: Directory, name: str) -> None:
        """An entry's content or attributes changed."""
        if name not in directory.entries:
            self.doubtful.add((directory, name))
            return
        child = directory.entries[name]
        self.tell(MODIFIED, names.join(directory.path, name), child is not None)
        if child is not None and child.wd is None and self._recursive:
            self.unwatched.add(child)  # perhaps it can be read from now on

    def leave(self, directory: Directory, name: str) -> None:
        """An entry was moved to where nobody looks, or exchanged with one from there."""
        self.vanish(directory, name)
        self.doubtful.add((directory, name))

    def arrive(self, directory: Directory, name: str, is_directory: bool) -> None:
        """An entry came from where nobody looks, perhaps over another one."""
        if not is_directory and directory.entries.get(name, directory) is None:
            self.tell(MODIFIED, names.join(directory.path, name), False)
            return
        self.vanish(directory, name)
        self.appear(directory, name, is_directory)

    def move(self, source: Directory, old: str, destination: Directory, name: str, is_directory: bool) -> None:
        """An entry got another name, perhaps over another one or in exchange for it. It is told as a move where
        what is known beneath the old name still holds."""
        if destination.entries.get(name) is not None:
            self.vanish(destination, name)  # an empty directory was replaced
        if not source.forgotten and self._is_sound(source, old, destination, is_directory):
            old_path = names.join(source.path, old)
            child = source.entries.pop(old)
            destination.entries[name] = child
            if child is not None:
                child.parent, child.name = destination, name
            self.tell(MOVED, names.join(destination.path, name), is_directory, old_path)
        else:
            if not source.forgotten:
                self.vanish(source, old)
            if not destination.forgotten:
                self.arrive(destination, name, is_directory)
        # an exchange comes as two moves, as if nothing were left under the first one's old name
        self.doubtful |= {(source, old), (destination, name)}

    def _is_sound(self, source: Directory, old: str, destination: Directory, is_directory: bool) -> bool:
        """Whether what is known of an entry is the one that was moved: a look may have shown a later one."""
        child = source.entries.get(old)
        if old not in source.entries or (child is not None) != is_directory:
            return False
        if child is None:
            return True
        stale = child in self.unwatched and child.entries
        return self._moves_whole and not stale and not child.holds(destination)

    # -- watches

    def watch(self, directory: Directory, wd: int) -> None:
        """A directory is watched from now on; what was known of it before may have been of another one. Raises
        Lost where that is the case for the whole tree."""
        other = self.by_wd.get(wd)
        if other is not None:
            self.lose_watch(other)
        self.by_wd[wd] = directory
        directory.wd = wd
        self.unwatched.discard(directory)
        if directory.entries:
            for child in directory.entries.values():
                if child is not None:
                    self._forget(child)
            directory.entries.clear()
            self.tell(DELETED, directory.path, True)
            self.tell(CREATED, directory.path, True)

    def lose_watch(self, directory: Directory) -> None:
        """The watch that a directory had, if any, is gone or another one's. Raises Lost for the whole tree's."""
        if directory is self.top:
            raise Lost
        if directory.wd is not None:
            del self.by_wd[directory.wd]
            directory.wd = None
        self.unwatched.add(directory)

    def _forget(self, directory: Directory) -> None:
        for gone in directory.tree():
            gone.forgotten = True
            self.unwatched.discard(gone)
            if gone.wd is not None:
                del self.by_wd[gone.wd]
                self._unwatch(gone.wd)
