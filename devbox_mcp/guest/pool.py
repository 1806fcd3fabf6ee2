"""Threads for work that blocks."""

import queue
import threading
import time
from typing import Callable, List, Optional


class Pool:
    """Up to ``most`` daemon threads, started as they are needed."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._work: queue.SimpleQueue[Optional[Callable[[], None]]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._threads: List[threading.Thread] = []

    def run(self, work: Callable[[], None]) -> None:
        """Let a thread do the work, which must not raise."""
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif len(self._threads) < self._most:
                thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
                self._threads.append(thread)
                thread.start()
        self._work.put(work)

    def close(self, seconds: float) -> None:
        """Wait for the work that was handed over, for that long at most."""
        give_up = time.monotonic() + seconds
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join(max(0.0, give_up - time.monotonic()))

    def _serve(self) -> None:
        while True:
            work = self._work.get()
            if work is None:
                return
            work()
            del work  # or what it holds lives on until the next
            with self._lock:
                self._idle += 1
