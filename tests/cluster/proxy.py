"""A TCP proxy on loopback between a client and the apiserver, whose connections break where a test says."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml

Direction = Literal["up", "down"]
How = Literal["close", "reset", "stall", "hole"]
_AT_ONCE = 1 << 16
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Fault:
    """``after`` so many more bytes in a ``direction``, counted from the fault before it, the connection that carries
    them is closed, reset, stalled for a few seconds, or left open for ever without another byte."""

    direction: Direction
    after: int
    how: How
    seconds: float = 3.0


class Proxy:
    """Forwards what connects to ``address``. ``faults`` happen one after the other; ``happened`` counts them. While
    it is ``dark``, new connections are taken and nothing is forwarded."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self._upstream = upstream
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._counted = 0
        self.faults: deque[Fault] = deque()
        self.happened = 0
        self.dark = False
        self.address: tuple[str, int] = ("", 0)

    def arm(self, *faults: Fault) -> None:
        """Let these faults happen, counted from now."""
        self.faults = deque(faults)
        self._counted = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection, until it ends or breaks."""
        self._writers.add(writer)
        self._tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        there: asyncio.StreamWriter | None = None
        try:
            if self.dark:
                await asyncio.Event().wait()
            back, there = await asyncio.open_connection(*self._upstream)
            self._writers.add(there)
            connection = _Connection(self, writer, there)
            await asyncio.gather(connection.pump("up", reader, there), connection.pump("down", back, writer))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            for end in (writer, there):
                if end is not None:
                    end.transport.abort()
                    self._writers.discard(end)
            self._tasks.discard(asyncio.current_task())  # type: ignore[arg-type]

    def due(self, direction: Direction, size: int) -> tuple[int, Fault | None]:
        """Count bytes that are about to be forwarded: how many of them still are, and what happens then."""
        if not self.faults or self.faults[0].direction != direction:
            return size, None
        self._counted += size
        fault = self.faults[0]
        if self._counted < fault.after:
            return size, None
        allowed = size - (self._counted - fault.after)
        self.faults.popleft()
        self._counted = 0
        self.happened += 1
        return allowed, fault

    async def aclose(self) -> None:
        """End every connection."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Connection:
    """Both directions of one connection; ``free`` is not set while nothing is forwarded."""

    def __init__(self, proxy: Proxy, here: asyncio.StreamWriter, there: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._ends = (here, there)
        self._free = asyncio.Event()
        self._free.set()

    async def pump(self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(_AT_ONCE):
                await self._free.wait()
                allowed, fault = self._proxy.due(direction, len(data))
                writer.write(data[:allowed])
                await writer.drain()
                if fault is not None:
                    await self._break(fault)
                    writer.write(data[allowed:])
        except ConnectionError:
            pass
        await self._free.wait()  # a connection that is left open is not closed for the other end either
        if not writer.is_closing():
            with contextlib.suppress(ConnectionError, OSError):
                writer.write_eof()

    async def _break(self, fault: Fault) -> None:
        if fault.how in ("stall", "hole"):
            self._free.clear()
            if fault.how == "hole":
                await asyncio.Event().wait()
            await asyncio.sleep(fault.seconds)
            self._free.set()
            return
        for end in self._ends:
            if fault.how == "reset":
                with contextlib.suppress(OSError):
                    end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.transport.abort()
            else:
                end.close()
        raise ConnectionAbortedError


@contextlib.asynccontextmanager
async def proxied(kubeconfig: str, directory: Path) -> AsyncIterator[tuple[Proxy, str]]:
    """Start a proxy to the cluster of a kubeconfig; give it, and the path of a kubeconfig that leads through it."""
    here = Path(kubeconfig)
    config = yaml.safe_load(here.read_text(encoding="utf-8"))  # noqa: ASYNC240  nobody waits yet
    clusters = {entry["name"]: entry["cluster"] for entry in config["clusters"]}
    contexts = {entry["name"]: entry["context"] for entry in config["contexts"]}
    cluster: dict[str, Any] = clusters[contexts[config["current-context"]]["cluster"]]
    server = urlsplit(cluster["server"])
    assert server.hostname
    proxy = Proxy((server.hostname, server.port or 443))
    listening = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    cluster.setdefault("tls-server-name", server.hostname)
    cluster["server"] = f"https://127.0.0.1:{port}"
    if "certificate-authority" in cluster:
        cluster["certificate-authority"] = str(here.parent / cluster["certificate-authority"])
    path = directory / "kubeconfig-through-a-proxy"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    try:
        yield proxy, str(path)
    finally:
        listening.close()
        await proxy.aclose()
