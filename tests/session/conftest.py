"""What the session's tests share: real guests in processes of their own, and connections that can be cut."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from devbox_mcp.backends.exec import ExecBackend
from devbox_mcp.errors import Unavailable
from devbox_mcp.transports.base import Channel, ExecTransport, Exit
from devbox_mcp.transports.process import ProcessTransport


class CutTransport(ExecTransport):
    """Programs of another transport, on connections that end after so many bytes in a direction; ``allowed`` holds
    one pair (sent, received) for each connection, the last one for all that follow."""

    def __init__(self, *allowed: tuple[float, float]) -> None:
        self._inner = ProcessTransport()
        self._allowed = list(allowed) or [(float("inf"), float("inf"))]
        self.channels: list[CutChannel] = []

    @property
    def name(self) -> str:
        return "a connection that breaks"

    async def start(self, argv: Sequence[str]) -> Channel:
        allowed = self._allowed.pop(0) if len(self._allowed) > 1 else self._allowed[0]
        channel = CutChannel(await self._inner.start(argv), *allowed)
        self.channels.append(channel)
        return channel

    async def identity(self) -> str:
        return "the same"

    async def aclose(self) -> None:
        await self._inner.aclose()


class CutChannel(Channel):
    """A connection that breaks."""

    def __init__(self, inner: Channel, sent: float, received: float) -> None:
        self._inner = inner
        self.sent = sent
        self.received = received

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        if len(data) > self.sent:
            await self._inner.send(data[: int(self.sent)])
            self.sent = 0
            raise Unavailable("send", ".", "the connection was cut")
        self.sent -= len(data)
        await self._inner.send(data)

    async def receive(self) -> bytes:
        if self.received <= 0:
            raise Unavailable("receive", ".", "the connection was cut")
        data = await self._inner.receive()
        if self.received < len(data):
            data = data[: int(self.received)]
        self.received -= len(data)
        return data

    async def close_stdin(self) -> None:
        await self._inner.close_stdin()

    async def exit(self) -> Exit:
        return await self._inner.exit()

    async def aclose(self) -> None:
        await self._inner.aclose()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return (tmp_path / "root").resolve()


@pytest.fixture
async def open_backend(root: Path) -> AsyncIterator[Callable[..., ExecBackend]]:
    """Makes a backend on the root, which is closed afterwards."""
    opened = []

    def make(transport: ExecTransport | None = None, directory: str | None = str(root), **options) -> ExecBackend:
        backend = ExecBackend(transport or ProcessTransport(), directory, **{"python": sys.executable, **options})
        opened.append(backend)
        return backend

    yield make
    for backend in opened:
        await backend.aclose()


def is_running(pid: int) -> bool:
    """Whether there is such a process, other than as a record of its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def leftovers(root: Path) -> list[str]:
    """Return the guest's own files beneath a directory."""
    return [
        os.path.join(directory, name)
        for directory, directories, files in os.walk(root)
        for name in directories + files
        if name.startswith(".devbox-mcp-")
    ]
