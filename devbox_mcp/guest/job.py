"""How long work is bounded, stopped and watched from outside."""

import time
from typing import Callable, Optional

from .errors import GuestError


class Job:
    """One long operation: it calls ``check`` often and ``advance`` as it goes on.

    ``cancel`` may be called from any thread. ``on_progress(done, total)`` is called from the working thread;
    the unit is the operation's own (bytes, files), ``total`` is None while unknown.
    """

    def __init__(
        self,
        seconds: Optional[float] = None,
        on_progress: Optional[Callable[[int, Optional[int]], None]] = None,
    ) -> None:
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self.done = 0
        self.total: Optional[int] = None
        self._on_progress = on_progress
        self._cancelled = False

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
