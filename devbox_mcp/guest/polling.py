"""Watching by looking again: for systems without inotify, file systems that others change too, and trees that
have more directories than inotify's limits allow.

What comes and goes between two looks is not seen, nor is a change that leaves a file's size and times as they
were. A look costs one lstat per entry.
"""

import os
from typing import List, Optional

from .errors import GuestError
from .job import Job
from .journal import DELETED, Event
from .places import kind_of
from .scope import Scope
from .snapshots import Snapshot, Stamp, compare
from .walk import Entry, walk


def _stamp(st: os.stat_result) -> Stamp:
    kind = kind_of(st.st_mode)
    identity = "%x-%x" % (st.st_dev, st.st_ino)
    if kind == "directory":
        return Stamp(kind, identity, "%o" % st.st_mode, "")
    return Stamp(kind, identity, "%x-%x" % (st.st_size, st.st_mtime_ns), "%x" % st.st_ctime_ns)


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
