"""The contract of a transport: start a program in the sandbox and talk to its stdin and stdout.

A transport knows nothing of files. ``process.py`` starts any local command, ``kubernetes.py`` a program in a
container of a pod; the guest and the shell dialect run over either.

Every method raises DevboxError and nothing else: Unavailable where the sandbox or the connection to it is gone, Gone
where nobody needs to wait for it, NotFound where it does not exist, PermissionDenied where a right is missing,
Unsupported where the program cannot be started there. Their path is ``.``, their hint what to do next.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from devbox_mcp.errors import Unavailable


class Gone(Unavailable):
    """The sandbox has ended, and nothing makes another one."""

    retryable = False


@dataclass(frozen=True, slots=True)
class Exit:
    """How a program ended. ``status`` is its exit status, None where nobody can tell (the connection was cut, a
    signal); ``stderr`` the last few KiB that it wrote there, decoded for a message; ``reason`` what the transport
    was told beside the status."""

    status: int | None
    stderr: str = ""
    reason: str = ""


class Channel(ABC):
    """A running program. One task may send while another receives; stderr is drained all the time."""

    @abstractmethod
    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Write to the program's stdin, all of it. Waits while the program is slow: what is buffered here is
        bounded. Raises Unavailable when the program or the connection is gone. Cancelled, it may have written a
        part."""

    def send_now(self, data: bytes) -> bool:
        """Write a few bytes where that needs no waiting, and return whether it was done: all of them or none. To be
        called while nobody sends; never raises."""
        return False

    def deliver(self, take: Callable[[bytes | memoryview], None]) -> None:  # noqa: B027  what a channel may be able to do
        """Have what comes from stdout handed over as it comes, without a task that wakes up for it: ``receive`` then
        only tells the end. ``take`` never raises, and takes whatever comes."""

    @abstractmethod
    async def receive(self) -> bytes:
        """Return what came from stdout next, at most 1 MiB; empty at its end. What is not fetched makes the program
        wait. A cut connection raises Unavailable, so an empty answer is a true end of stdout; it says nothing about
        whether all bytes arrived, which only a length and a hash can tell."""

    @abstractmethod
    async def close_stdin(self) -> None:
        """Let the program see the end of its stdin. Raises Unsupported where the protocol cannot say it."""

    @abstractmethod
    async def exit(self) -> Exit:
        """Wait for the end of the program, or of the connection to it."""

    @abstractmethod
    async def aclose(self) -> None:
        """Cut the connection, end the program if it is ours to end, and release everything. May be called twice."""


class ExecTransport(ABC):
    """A place where programs can be started."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The place in words for a message: ``pod default/web, container app``."""

    @abstractmethod
    async def start(self, argv: Sequence[str]) -> Channel:
        """Start a program; ``argv`` reaches it as it is, no shell in between. A missing program is Unsupported with
        ``data["program"]``; where nobody is told when a program runs, the first ``receive`` or ``send`` raises it."""

    @abstractmethod
    async def identity(self) -> str:
        """Return what changes when the sandbox is replaced by another one of the same name (a pod's UID)."""

    @abstractmethod
    async def aclose(self) -> None:
        """Release what the transport keeps; channels are closed by whoever opened them."""
