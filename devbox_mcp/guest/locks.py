"""The lock that makes a change of names one step among all devbox-mcp processes on a file system.

It is a ``flock`` on the directory that holds the names. Whoever checks a version and then renames does both under
it; it is held for the check and the rename only, never while somebody's bytes are awaited.
"""

import fcntl
import os
import time
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Iterable, Iterator, List, Optional, Tuple, Type, final

from .durable import already_made, flush
from .errors import GuestError
from .job import Job
from .places import Place

PATIENCE = 30.0  # seconds that a change waits for the others in its directory
_SHORTEST, _LONGEST = 0.0001, 0.001  # seconds between two tries: what they wait for takes less than one


@final
class Parent:
    """The directory that holds an entry, opened so that it can be locked and flushed; ``fd`` is good for every
    ``dir_fd``. A context manager that closes it."""

    __slots__ = ("fd", "identity", "path")

    def __init__(self, place: Place) -> None:
        self.path = place.path
        self.fd = place.open_parent()
        st = os.fstat(self.fd)
        self.identity: Tuple[int, int] = (st.st_dev, st.st_ino)

    def flush(self) -> None:
        """Make the directory's entries durable. Raises io_error, which says what is then uncertain."""
        with already_made(self.path):
            flush(self.fd)

    def close(self) -> None:
        """Close the handle."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> "Parent":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()


@contextmanager
def locked(parents: Iterable[Parent], job: Job) -> Iterator[None]:
    """Hold the locks of directories, each once and in one order for everybody. Raises timeout, cancelled."""
    distinct = {parent.identity: parent for parent in parents}
    held: List[Parent] = []
    try:
        for _, parent in sorted(distinct.items()):
            _lock(parent, job)
            held.append(parent)
        yield
    finally:
        for parent in reversed(held):
            # said aloud, because a child process that inherited the handle would keep the lock beyond its closing
            with suppress(OSError):
                fcntl.flock(parent.fd, fcntl.LOCK_UN)


def _lock(parent: Parent, job: Job) -> None:
    give_up = time.monotonic() + PATIENCE
    pause = _SHORTEST
    while not try_lock(parent.fd):
        job.check(parent.path)
        if time.monotonic() > give_up:
            raise GuestError(
                "timeout", parent.path, "another change in the same directory is still under way", "try again later"
            )
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST)


def try_lock(fd: int) -> bool:
    """Lock an open file or directory against every other handle, and return whether that succeeded at once."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
