"""Watching by looking again: for systems without inotify, file systems that others change too, and trees that
have more directories than inotify's limits allow.

What comes and goes between two looks is not seen, nor is a change that leaves a file's size and times as they
were. A look costs one lstat per entry.
"""

import os
from typing import Dict, List, NamedTuple, Optional, Set, Tuple

from . import names
from .beneath import kind_of
from .errors import GuestError
from .job import Job
from .journal import CREATED, DELETED, MODIFIED, MOVED, Event
from .scope import Scope
from .walk import Entry, walk


class Stamp(NamedTuple):
    """What a change is recognised by. Of a directory only kind, identity and mode count (as ``size``): its size
    and times change with its entries. Times are in nanoseconds."""

    kind: str
    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @property
    def directory(self) -> bool:
        """Whether this is a directory."""
        return self.kind == "directory"

    @property
    def lasting(self) -> Tuple[object, ...]:
        """What stays the same when the entry is renamed."""
        return self[:3] if self.directory else self[:5]


Snapshot = Dict[str, Stamp]


def _stamp(st: os.stat_result) -> Stamp:
    kind = kind_of(st.st_mode)
    if kind == "directory":
        return Stamp(kind, st.st_dev, st.st_ino, st.st_mode, 0, 0)
    return Stamp(kind, st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns)


def snapshot(scope: Scope, job: Job) -> Snapshot:
    """Return what is there now by path, directories before what is in them. Raises GuestError."""
    if scope.only is not None:
        st = scope.lstat(scope.path)
        return {} if st is None else {scope.path: _stamp(st)}
    found: Snapshot = {}
    with scope.root.locate(scope.directory, follow=False) as place:
        for entry in walk(scope.root, place, job, depth=None if scope.recursive else 1):
            stamp = _look(entry)
            if stamp is not None:
                found[entry.path] = stamp
    return found


def _look(entry: Entry) -> Optional[Stamp]:
    try:
        return _stamp(entry.lstat())
    except OSError:
        return None  # it went away just now


class Polling:
    """One watched scope, to be used by one thread at a time; the face of it is the Mirror's."""

    fd: Optional[int] = None

    def __init__(self, scope: Scope, job: Job) -> None:
        """Look for the first time. Raises GuestError."""
        self._scope = scope
        self._seen = snapshot(scope, job)
        self.ended = False

    def update(self, job: Job) -> List[Event]:
        """Return what has changed since the last look; after ``deleted`` of the scope itself it has ``ended``.
        Raises GuestError when the job is stopped, and then has not looked."""
        seen: Snapshot = {}
        try:
            seen = snapshot(self._scope, job)
        except GuestError:
            if self._scope.present():
                raise
        self.ended = not self._scope.present()
        if self.ended and self._scope.only is None:
            return [Event(DELETED, self._scope.path, True)]
        events = compare(self._seen, {} if self.ended else seen)
        self._seen = seen
        return events

    def close(self) -> None:
        """Nothing is open between two looks."""


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
        gone: Dict[Tuple[object, ...], List[str]] = {}
        for path, stamp in self._old.items():
            if path not in self._new:
                gone.setdefault(stamp.lasting, []).append(path)
        come: Dict[Tuple[object, ...], List[str]] = {}
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
