"""A process that leads a session of its own: its end is noticed without a thread, and takes the session along."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable

#: Where the end of a process cannot be waited for, it is asked for this often.
_POLL = 0.02


class Leader:
    """Watches a process that was started with ``start_new_session``. When it has ended, whatever is left of its session
    is killed, its status is fetched, ``on_end`` is called, and ``ended`` is set."""

    def __init__(self, process: subprocess.Popen[bytes], on_end: Callable[[], None]) -> None:
        self.ended = asyncio.Event()
        self._process = process
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._pidfd, self._poller = self._watch()

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.returncode

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the session. Before the process is reaped its number is surely its own."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """End it here and now, waiting for it: for when the event loop itself is ending."""
        self.signal(signal.SIGKILL)
        self._reap()

    def _watch(self) -> tuple[int | None, asyncio.Task[None] | None]:
        """Arrange for ``_reap`` at the end of the process: by a handle on it, or by polling where there are none."""
        try:
            pidfd = os.pidfd_open(self._process.pid)
        except (AttributeError, OSError):
            return None, self._loop.create_task(self._poll())
        self._loop.add_reader(pidfd, self._reap)
        return pidfd, None

    async def _poll(self) -> None:
        while self._process.poll() is None:  # noqa: ASYNC110  nothing announces it
            await asyncio.sleep(_POLL)
        self._reap()

    def _reap(self) -> None:
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        self.signal(signal.SIGKILL)
        self._process.wait()
        self.ended.set()
        self._on_end()
