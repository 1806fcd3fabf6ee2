"""The connection to a program, whichever protocol it speaks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from devbox_mcp.transports.kubernetes.channels import Event


class Line(ABC):
    """Where it breaks, its methods raise OSError or aiohttp's ClientError."""

    #: Whether the program can be told the end of its stdin.
    ends_stdin: bool

    @abstractmethod
    async def send(self, data: memoryview) -> None:
        """Send to the program's stdin, at most ``MESSAGE`` bytes; waits while nobody takes it."""

    def send_now(self, data: bytes) -> bool:
        """Send a few bytes where that needs no waiting, and return whether it was done. Never raises."""
        return False

    def deliver(self, take: Callable[[Sequence[Event]], bool]) -> None:  # noqa: B027  what a line may be able to do
        """Have events handed over as they come, without a task that wakes up for them. What ``take`` returns False for
        is for ``receive``."""

    @abstractmethod
    async def end_stdin(self) -> None:
        """Let the program see the end of its stdin, where ``ends_stdin``."""

    @abstractmethod
    async def receive(self) -> Sequence[Event]:
        """Return what the server said meanwhile or says next, empty for nothing that matters. Raises EOFError behind
        the last of it, which may say why, and MalformedMessage."""

    @abstractmethod
    def get_extra_info(self, name: str) -> Any:
        """Return what asyncio's transport knows of itself."""

    @abstractmethod
    async def farewell(self) -> None:
        """Tell the server that this is the end."""

    @abstractmethod
    async def aclose(self) -> None:
        """Cut the connection and release everything."""


#: What one message to stdin carries: a frame of a stream with its header. The server reads a message whole before it
#: passes it on, and has less to do for few large ones.
MESSAGE = 260 * 1024
