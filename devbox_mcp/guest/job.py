"""How long work is bounded, stopped and watched from outside."""

import os
import time
from typing import Callable, List, Optional

from .errors import GuestError


class Job:
    """One long operation: it calls ``check`` often and ``advance`` as it goes on.

    ``cancel`` may be called from any thread. ``on_progress(done, total)`` is called from the working thread;
    the unit is the operation's own (bytes, files), ``total`` is None while unknown. ``ends`` says that whoever runs
    the work calls ``end`` once its answer is out.
    """

    def __init__(
        self,
        seconds: Optional[float] = None,
        on_progress: Optional[Callable[[int, Optional[int]], None]] = None,
        ends: bool = False,
    ) -> None:
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self.done = 0
        self.total: Optional[int] = None
        self._on_progress = on_progress
        self._cancelled = False
        self._ends = ends
        self._closing: List[int] = []

    def cancel(self) -> None:
        """Ask the work to stop at its next check."""
        self._cancelled = True

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.monotonic() > self.deadline

    def check(self, path: str = ".") -> None:
        """Raise cancelled or timeout if the work is to stop."""
        if self._cancelled:
            raise GuestError("cancelled", path, "the caller gave up")
        if self.expired:
            raise GuestError("timeout", path, "the time allowed is over")

    def advance(self, count: int) -> None:
        """Count work that is done."""
        self.done += count
        if self._on_progress is not None:
            self._on_progress(self.done, self.total)

    def close_later(self, fd: int) -> None:
        """Close the last handle to a file that was deleted, which can take the disk longer than the work did: once
        the answer is out, or at once where nobody tells of that."""
        if self._ends:
            self._closing.append(fd)
        else:
            os.close(fd)

    def end(self) -> None:
        """Close what was left until the answer was out."""
        while self._closing:
            os.close(self._closing.pop())
