"""Threads for work that blocks."""

import threading
import time
from collections import deque
from queue import SimpleQueue
from typing import Callable, Deque, List, Optional


class Pool:
    """Up to ``most`` daemon threads, started as they are needed. Whichever was busy last is the next: those that wait
    in one queue would wake each other for every piece of work."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._lock = threading.Lock()
        #: Work that waits for a thread, or threads that wait for work; never both.
        self._waiting: Deque[Callable[[], None]] = deque()
        self._idle: List[SimpleQueue[Optional[Callable[[], None]]]] = []
        self._threads: List[threading.Thread] = []
        self._closed = False

    def run(self, work: Callable[[], None]) -> None:
        """Let a thread do the work, which must not raise."""
        with self._lock:
            if self._idle:
                self._idle.pop().put(work)
            elif len(self._threads) < self._most:
                self._start(work)
            else:
                self._waiting.append(work)

    def close(self, seconds: Optional[float] = None) -> None:
        """Wait for the work that was handed over, for that long at most; there is no more to come."""
        with self._lock:
            self._closed = True
            while self._idle:
                self._idle.pop().put(None)
        give_up = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            thread.join(None if give_up is None else max(0.0, give_up - time.monotonic()))

    def _start(self, work: Callable[[], None]) -> None:
        inbox: SimpleQueue[Optional[Callable[[], None]]] = SimpleQueue()
        inbox.put(work)
        thread = threading.Thread(target=self._serve, args=(inbox,), name=self._name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self, inbox: "SimpleQueue[Optional[Callable[[], None]]]") -> None:
        while True:
            work = inbox.get()
            if work is None:
                return
            work()
            del work  # or what it holds lives on until the next
            with self._lock:
                if self._waiting:
                    inbox.put(self._waiting.popleft())
                elif self._closed:
                    return
                else:
                    self._idle.append(inbox)
