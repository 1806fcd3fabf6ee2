"""Two threads that read by turns, so that whoever has read something can do it without waking another one."""

import signal
import threading
from typing import Callable, Optional

Work = Callable[[], None]

_LONG = 0.002  # seconds without anybody who reads


class Turns:
    """One thread reads, and does itself what it is given: to wake another takes longer than most of what there is to
    do. Where that takes long after all, an alarm wakes the second thread, which reads on."""

    def __init__(self, read: Callable[[], Optional[Work]]) -> None:
        """``read`` returns what the thread shall do that called it, after ``claim``, and None at the end. It is called
        by one thread at a time."""
        self._read = read
        self._turn = threading.Lock()
        self._working = threading.Lock()
        self._over = threading.Event()

    def start(self) -> None:
        """Start both. To be called before there are other threads than the main one."""
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGALRM,))  # in all threads: it is waited for
        self._turn.acquire()
        for reads in (True, False):
            threading.Thread(target=self._serve, args=(reads,), name="read", daemon=True).start()

    def wait(self) -> None:
        """Wait until there is no more to read."""
        self._over.wait()

    def claim(self) -> bool:
        """Return whether the thread that reads may do some work itself: the other one must be free to read on."""
        return self._working.acquire(blocking=False)

    def close(self, seconds: float) -> None:
        """Wait for the work that is under way, for that long at most."""
        self._working.acquire(timeout=seconds)

    def _serve(self, reads: bool) -> None:
        try:
            while True:
                if not reads:
                    signal.sigwait((signal.SIGALRM,))
                    reads = self._turn.acquire(blocking=False)
                    continue
                work = self._read()
                if work is None:
                    return
                reads = self._do(work)
        finally:
            self._over.set()

    def _do(self, work: Work) -> bool:
        """Work, and return whether it is still this thread's turn to read."""
        self._turn.release()
        signal.setitimer(signal.ITIMER_REAL, _LONG)
        work()
        reads = self._turn.acquire(blocking=False)
        if reads:
            signal.setitimer(signal.ITIMER_REAL, 0)
        self._working.release()
        return reads
