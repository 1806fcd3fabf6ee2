"""Watching for changes: journals that are kept up to date, and callers that wait for what comes into them."""

import os
import select
import threading
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, Union

from .beneath import Root
from .errors import GuestError
from .job import Job
from .journal import Delivery, Event, Journal, parse_cursor
from .mirror import Lost, Mirror
from .polling import Polling
from .scope import GONE, Scope

_MOST_JOURNALS = 64
_KEPT_SECONDS = 600.0  # after the last call that asked for it
_PRUNE_SECONDS = 30.0
_LOOK_SECONDS = 0.5  # between two looks, where inotify cannot be had
_LOOK_SHARE = 4  # and at least so many times what a look takes
_SLICE_SECONDS = 0.1  # how long a caller may be deaf to its job
_LINGER_SECONDS = 0.03  # so that what belongs together comes together


class Watcher:
    """All that is watched beneath one root. Any number of threads may ask; to be closed before the root is."""

    def __init__(self, root: Root, polling: bool = False, capacity: int = 10_000) -> None:
        """``polling`` does without inotify; ``capacity`` is how many events a journal holds."""
        self._root = root
        self._polling = polling
        self._capacity = capacity
        self._lock = threading.Lock()  # guards what follows
        self._watches: Dict[Tuple[str, bool], _Watch] = {}
        self._closed = False
        self._reader: Optional[threading.Thread] = None
        self._alarm: Tuple[int, int] = (-1, -1)  # a pipe that wakes the reader

    def changes(
        self,
        path: str,
        job: Job,
        *,
        cursor: Optional[str] = None,
        timeout: float = 4.0,
        recursive: bool = True,
        limit: int = 1000,
    ) -> Dict[str, Any]:
        """Return what changed since ``cursor``, or wait up to ``timeout`` seconds for the first change.

        Answers ``events`` (``type`` created, modified, deleted or moved; ``path``, ``directory``, and ``source``,
        the old path of what moved), ``cursor`` to go on with, ``resync`` (changes were lost: list again) and
        ``more`` (``limit`` cut the events). Without a cursor the watch starts now. A file is watched by its name,
        whatever takes its place; a directory itself, until it is deleted or moved.
        Raises not_found, invalid_argument for what is no cursor, cancelled, timeout, …
        """
        since = None if cursor is None else parse_cursor(cursor, path)
        if limit < 1:
            raise GuestError("invalid_argument", path, "limit is less than 1")
        while True:
            watch = self._find(path, recursive)
            watch.refresh(job)
            answer = watch.deliver(since, job, timeout, limit)
            if answer is not None:
                return answer
            if watch.ended:
                self._drop(watch)
            with self._root.locate(path) as place:
                place.require()  # gone, most likely; otherwise it was made again

    def close(self) -> None:
        """End all watching; waiting callers return, later ones raise unavailable."""
        with self._lock:
            self._closed = True
            watches = list(self._watches.values())
            self._watches.clear()
            reader, self._reader = self._reader, None
        if reader is not None:
            os.write(self._alarm[1], b"!")
            reader.join()
            os.close(self._alarm[0])
            os.close(self._alarm[1])
        for watch in watches:
            watch.close()

    def _find(self, path: str, recursive: bool) -> "_Watch":
        """Return the watch of a path, a new one if need be. Raises not_found where there neither is one."""
        scope: Optional[Scope] = None
        try:
            scope = Scope(self._root, path, recursive)
        except GuestError as error:
            # that it is gone may still have to be told
            if error.code not in GONE or (path, recursive) not in self._watches:
                raise
        unused: List[_Watch] = []
        with self._lock:
            if self._closed:
                raise GuestError("unavailable", path, "the watcher is closed")
            key = (path if scope is None else scope.path, recursive)
            watch = self._watches.get(key)
            if scope is not None and (watch is None or watch.scope.only != scope.only):
                unused += [] if watch is None else [watch]
                watch = self._watches[key] = _Watch(scope, self._capacity, self._polling, self._attend)
                by_use = sorted(self._watches, key=lambda key: self._watches[key].used)
                unused += [self._watches.pop(key) for key in by_use[:-_MOST_JOURNALS]]
            if watch is not None:
                watch.used = time.monotonic()
        for other in unused:
            other.close()
        self._prune()
        if watch is None:
            raise GuestError("not_found", path, "there is nothing here")
        return watch

    def _prune(self) -> None:
        """Close what nobody has asked for in a long time."""
        oldest = time.monotonic() - _KEPT_SECONDS
        with self._lock:
            unused = [watch for watch in self._watches.values() if watch.used < oldest]
        for watch in unused:
            self._drop(watch)

    def _drop(self, watch: "_Watch") -> None:
        with self._lock:
            for key in [key for key, value in self._watches.items() if value is watch]:
                del self._watches[key]
        watch.close()

    # -- the reader, one thread for all watches

    def _attend(self) -> None:
        """Let the reader know that there is another queue to read."""
        with self._lock:
            if self._closed:
                return
            if self._reader is None:
                self._alarm = os.pipe()
                self._reader = threading.Thread(target=self._read, name="devbox-mcp-watch", daemon=True)
                self._reader.start()
            else:
                os.write(self._alarm[1], b"!")

    def _read(self) -> None:
        """Empty the kernel's queues as they fill, whether anybody waits or not."""
        while True:
            with self._lock:
                if self._closed:
                    return
                watches = {watch.fd: watch for watch in self._watches.values()}
            poll = select.poll()
            poll.register(self._alarm[0], select.POLLIN)
            for fd in watches:
                if fd is not None:
                    poll.register(fd, select.POLLIN)
            for fd, _ in poll.poll(_PRUNE_SECONDS * 1000):
                if fd == self._alarm[0]:
                    os.read(fd, 4096)
                else:
                    watches[fd].receive()
            self._prune()


class _Watch:
    """One scope, its journal, and the source that keeps it up to date: a Mirror, or Polling where none can be had.

    Any thread may refresh it; one does at a time. ``on_open`` is called after a source was opened.
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
            if self._source is None and not self.closed:
                source = self._open(job)
                with self._news:
                    self._source = source
                    self._journal.lose()
                    self._news.notify_all()
                opened = True
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
        if source is None or self.ended:
            return
        events: List[Event] = []
        started = time.monotonic()
        try:
            events = source.update(job)
            now = time.monotonic()
            self._next_look = now + max(_LOOK_SECONDS, _LOOK_SHARE * (now - started))
        except Lost:
            self._source = None
            self._next_look = 0.0
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
