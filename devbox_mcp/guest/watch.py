"""Watching for changes: who watches what, how long it is remembered, and the thread that reads for all of them."""

import os
import select
import threading
import time
from typing import Any, Dict, List, Optional, Tuple

from .beneath import Root
from .errors import GuestError
from .job import Job
from .journal import parse_cursor
from .scope import GONE, Scope
from .watched import Watched

_MOST_JOURNALS = 64
_KEPT_SECONDS = 600.0  # after the last call that asked for it
_PRUNE_SECONDS = 30.0


class Watcher:
    """All that is watched beneath one root. Any number of threads may ask; to be closed before the root is."""

    def __init__(self, root: Root, polling: bool = False, capacity: int = 10_000) -> None:
        """``polling`` does without inotify; ``capacity`` is how many events a journal holds."""
        self._root = root
        self._polling = polling
        self._capacity = capacity
        self._lock = threading.Lock()  # guards what follows
        self._watches: Dict[Tuple[str, bool], Watched] = {}
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

    def _find(self, path: str, recursive: bool) -> Watched:
        """Return the watch of a path, a new one if need be. Raises not_found where there neither is one."""
        scope: Optional[Scope] = None
        try:
            scope = Scope(self._root, path, recursive)
        except GuestError as error:
            # that it is gone may still have to be told
            if error.code not in GONE or (path, recursive) not in self._watches:
                raise
        unused: List[Watched] = []
        with self._lock:
            if self._closed:
                raise GuestError("unavailable", path, "the watcher is closed")
            key = (path if scope is None else scope.path, recursive)
            watch = self._watches.get(key)
            if scope is not None and watch is not None and watch.scope.only != scope.only:
                unused.append(watch)  # a file has taken a directory's place, or the other way round
                watch = None
            if scope is not None and watch is None:
                watch = self._watches[key] = Watched(scope, self._capacity, self._polling, self._attend)
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

    def _drop(self, watch: Watched) -> None:
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
