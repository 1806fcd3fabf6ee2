"""The sandbox as another program in it sees and changes it: how the suite prepares and inspects, past the backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum

#: When everything that ``make`` makes was last modified, so that any later change shows in the time.
MADE = 1_700_000_000


class Kind(Enum):
    """An entry that is neither a regular file nor a link."""

    DIRECTORY = "directory"
    FIFO = "fifo"
    SOCKET = "socket"
    DEVICE = "device"


DIRECTORY = Kind.DIRECTORY


@dataclass(frozen=True)
class Link:
    """A symbolic link with this text."""

    target: str


@dataclass(frozen=True)
class Hard:
    """One more name of the file at this path (to make; a snapshot shows the bytes)."""

    path: str


Entry = bytes | Link | Kind
Tree = Mapping[str, Entry | Hard]


@dataclass(frozen=True)
class Seen:
    """One entry by its own stat; ``attributes`` are the extended ones of the ``user`` namespace."""

    mode: int
    uid: int
    gid: int
    links: int
    inode: int
    modified: float
    attributes: Mapping[str, bytes]


class Inside(ABC):
    """Paths are relative to the root and may climb out with ``..``: what lies beside the root is what must never
    be touched. A sandbox that cannot hold some kind of entry calls ``pytest.skip`` when asked to make one."""

    @abstractmethod
    def make(self, tree: Tree) -> None:
        """Make entries and their parents; a file that is there is rewritten in place."""

    @abstractmethod
    def snapshot(self, path: str = ".") -> dict[str, Entry]:
        """Return everything beneath ``path``, temporaries and all, by path relative to it."""

    @abstractmethod
    def look(self, path: str) -> Seen:
        """Look at one entry, not through a link."""

    @abstractmethod
    def give(
        self,
        path: str,
        *,
        mode: int | None = None,
        owner: tuple[int, int] | None = None,
        attributes: Mapping[str, bytes] | None = None,
        modified: float | None = None,
    ) -> None:
        """Change what ``look`` shows; skips the test where the sandbox cannot."""

    @abstractmethod
    def rename(self, source: str, destination: str) -> None:
        """Rename an entry, replacing a file that is there."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """Remove an entry with everything in it."""

    @abstractmethod
    def release(self, fifo: str) -> None:
        """Let go whoever hangs in opening a fifo."""

    @abstractmethod
    def umask(self) -> int:
        """Return the umask that new files of the backend meet."""

    @abstractmethod
    def unprivileged(self) -> AbstractContextManager[None]:
        """While this lasts, file permissions bind the backend (it does not act as root)."""
