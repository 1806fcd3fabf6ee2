"""One thing that is watched: a journal that is kept up to date, and callers that wait for what comes into it."""

import os
import threading
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, Union

from .job import Job
from .journal import Delivery, Event, Journal
from .known import Lost
from .mirror import Mirror
from .polling import Polling
from .scope import Scope

_LOOK_SECONDS = 0.5  # between two looks, where inotify cannot be had
_LOOK_SHARE = 4  # and at least so many times what a look takes
_SLICE_SECONDS = 0.1  # how long a caller may be deaf to its job
_LINGER_SECONDS = 0.03  # so that what belongs together comes together


class Watched:
    """One scope, its journal, and the source that keeps it up to date: a Mirror, or Polling where none can be had.

    Any thread may refresh it; one does at a time. ``on_open`` is called when there is a new queue to read.
    """

    def __init__(self, scope: Scope, capacity: int, polling: bool, on_open: Callable[[], None]) -> None:
        self.scope = scope
        self.used = time.monotonic()
        self.closed = False
        self.ended = False  # the directory is gone, and the journal says so
        self._polling = polling
        self._on_open = on_open
        self._refreshing = threading.Lock()  # guards the source
        self._source: Optional[Union[Mirror, Polling]] = None  # None: the next caller opens one
        self._next_look = 0.0
        self._news = threading.Condition()  # re-entrant; guards the journal
        self._journal = Journal(os.urandom(8).hex(), capacity)

    @property
    def fd(self) -> Optional[int]:
        """What is readable when there is news; None where somebody has to look."""
        source = self._source
        return None if source is None else source.fd

    def close(self) -> None:
        """Stop watching, and let waiting callers go."""
        self.closed = True
        with self._news:
            self._news.notify_all()
        with self._refreshing:
            if self._source is not None:
                self._source.close()
                self._source = None

    # -- keeping up to date

    def refresh(self, job: Job) -> None:
        """Bring the journal up to date with everything that happened before this call, opening a source where
        there is none; what happened without one is lost. Raises GuestError."""
        opened = False
        with self._alone(job):
            self._update(job)
            if self._source is None and not self.closed and not self.ended:
                source = self._open(job)
                with self._news:
                    self._source = source
                    self._journal.lose()
                    self._news.notify_all()
                opened = source.fd is not None
        if opened:
            self._on_open()

    def receive(self) -> None:
        """Take what the source has to say."""
        with self._refreshing:
            self._update(Job())

    @contextmanager
    def _alone(self, job: Job) -> Iterator[None]:
        while not self._refreshing.acquire(timeout=_SLICE_SECONDS):
            job.check(self.scope.path)
        try:
            yield
        finally:
            self._refreshing.release()

    def _update(self, job: Job) -> None:
        source = self._source
        if source is None:
            return
        events: List[Event] = []
        started = time.monotonic()
        try:
            events = source.update(job)
            now = time.monotonic()
            self._next_look = now + max(_LOOK_SECONDS, _LOOK_SHARE * (now - started))
            keep = not source.ended
        except Lost:
            self._next_look = 0.0
            keep = False
        if not keep:
            self._source = None
            source.close()
        with self._news:
            for event in events:
                self._journal.append(event)
            self.ended = source.ended
            self._news.notify_all()

    def _open(self, job: Job) -> Union[Mirror, Polling]:
        if not self._polling:
            try:
                return Mirror(self.scope, job)
            except Lost:
                self._polling = True  # the reasons last: limits of the system, a remote file system
        return Polling(self.scope, job)

    # -- telling

    def deliver(
        self, cursor: Optional[Tuple[str, int]], job: Job, timeout: float, limit: int
    ) -> Optional[Dict[str, Any]]:
        """Return what there is to tell from the cursor on, waiting for the first of it; None when that is nothing
        and what is watched is gone."""
        if cursor is not None and cursor[0] != self._journal.epoch:
            return self._resync()
        with self._news:
            position = self._journal.now() if cursor is None else cursor[1]
        deadline = time.monotonic() + timeout
        waited = False
        while True:
            with self._news:
                found = self._journal.since(position, limit)
                if found is None:
                    return self._resync()
                remaining = deadline - time.monotonic()
                if not found.events:
                    if self._gone():
                        return None
                    if remaining <= 0 or self.closed:
                        return self._answer(found)
                    position = found.position  # what took itself back is done with
                    self._news.wait(min(remaining, _SLICE_SECONDS))
            if found.events:
                if not waited or self.fd is None:
                    return self._answer(found)
                time.sleep(_LINGER_SECONDS)
            waited = not found.events
            self.used = time.monotonic()
            job.check(self.scope.path)
            if self.fd is None and self.used >= min(self._next_look, deadline):
                self.refresh(job)

    def _gone(self) -> bool:
        """Whether nothing more can be told until something is made in the old place."""
        return self.ended or (self.scope.only is not None and self.scope.lstat(self.scope.path) is None)

    def _resync(self) -> Dict[str, Any]:
        with self._news:
            return self._answer(Delivery([], self._journal.now(), False), resync=True)

    def _answer(self, found: Delivery, resync: bool = False) -> Dict[str, Any]:
        return {
            "events": [event.as_json() for event in found.events],
            "cursor": self._journal.cursor(found.position),
            "resync": resync,
            "more": found.more,
        }
