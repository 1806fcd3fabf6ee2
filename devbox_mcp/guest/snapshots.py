"""Two looks at a tree, and the events that lead from one to the other. No I/O."""

from typing import Dict, List, NamedTuple, Optional, Set, Tuple

from . import names
from .journal import CREATED, DELETED, MODIFIED, MOVED, Event


class Stamp(NamedTuple):
    """What a change is recognised by. ``identity`` tells one file or directory from every other, whatever it is
    called; ``content`` changes with what is in a file, ``state`` with anything about it. Of a directory only its
    mode counts (as ``content``): its size and times change with its entries."""

    kind: str
    identity: str
    content: str
    state: str

    @property
    def directory(self) -> bool:
        """Whether this is a directory."""
        return self.kind == "directory"

    @property
    def lasting(self) -> Tuple[str, ...]:
        """What stays the same when the entry is renamed."""
        return self[:2] if self.directory else self[:3]


#: What is there by path, directories before what is in them.
Snapshot = Dict[str, Stamp]


def compare(old: Snapshot, new: Snapshot) -> List[Event]:
    """Return events that lead from one snapshot to the other when they are applied in their order."""
    return _Comparison(old, new).events()


class _Comparison:
    """Goes through the new paths, parents first. A directory that moved takes along what was beneath it, so an
    old path has the name that the events told so far have given it."""

    def __init__(self, old: Snapshot, new: Snapshot) -> None:
        self._old = old
        self._new = new
        self._source: Dict[str, str] = {".": "."}  # a directory's new path -> its old one
        self._name: Dict[str, Optional[str]] = {}  # a directory's old path -> its new one, None when that is taken
        self._used: Set[str] = set()  # old paths that are accounted for
        self._moved_from = self._unambiguous_moves()

    def events(self) -> List[Event]:
        found: List[Event] = []
        for path, stamp in self._new.items():
            self._entry(path, stamp, found)
        for path in reversed(list(self._old)):  # what is in a directory goes before it
            today = self._today(path)
            if path not in self._used and today is not None:
                found.append(Event(DELETED, today, self._old[path].directory))
        return found

    def _unambiguous_moves(self) -> Dict[str, str]:
        """Return new path -> old path where exactly one of each is the same file or directory."""
        gone: Dict[Tuple[str, ...], List[str]] = {}
        for path, stamp in self._old.items():
            if path not in self._new:
                gone.setdefault(stamp.lasting, []).append(path)
        come: Dict[Tuple[str, ...], List[str]] = {}
        for path, stamp in self._new.items():
            if path not in self._old and stamp.lasting in gone:
                come.setdefault(stamp.lasting, []).append(path)
        return {paths[0]: gone[key][0] for key, paths in come.items() if len(paths) == len(gone[key]) == 1}

    def _entry(self, path: str, stamp: Stamp, found: List[Event]) -> None:
        parent, _, name = path.rpartition("/")
        above = self._source.get(parent or ".")
        before = path if path in self._old else None if above is None else names.join(above, name)
        if before is None or before not in self._old or before in self._used:
            before = self._moved_from.get(path)
            source = None if before is None or before in self._used else self._today(before)
            if before is None or source is None:
                found.append(Event(CREATED, path, stamp.directory))
                return
            found.append(Event(MOVED, path, stamp.directory, source))
        elif self._old[before].directory != stamp.directory:
            found.append(Event(DELETED, path, not stamp.directory))
            found.append(Event(CREATED, path, stamp.directory))
            self._used.add(before)
            self._name[before] = None
            return
        elif self._old[before] != stamp:
            found.append(Event(MODIFIED, path, stamp.directory))
        self._used.add(before)
        if stamp.directory:
            self._source[path] = before
            self._name[before] = path

    def _today(self, old: str) -> Optional[str]:
        """Return what an old path is called by now, None if it went with a directory that was told as deleted."""
        end = len(old)
        while end > 0:
            end = old.rfind("/", 0, end)
            above = old[: max(end, 0)]
            if above in self._name:
                today = self._name[above]
                return None if today is None else today + old[end:]
        return old
