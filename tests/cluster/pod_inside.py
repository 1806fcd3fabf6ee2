"""The sandbox of a pod as another program in it sees it: ``LocalInside``, at work in a container of the same pod that
shares the volume. It is the same for every image under test, whatever tools that has, and asks over one warm session
with an event loop of its own, for the suite asks from within its own."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from devbox_mcp.transports.base import Channel, ExecTransport
from tests.conformance import inside, local_inside
from tests.conformance.inside import Entry, Inside, Seen, Tree

_HELPER = Path(__file__).with_name("pod_helper.py")
_BOOT = "import sys; exec(compile(sys.stdin.buffer.read({size}), 'pod_helper', 'exec'))"
_PATIENCE = 60.0


class Helper:
    """The program in the pod. One question at a time."""

    def __init__(self, portal: BlockingPortal, channel: Channel) -> None:
        self._portal = portal
        self._channel = channel
        self._arrived = bytearray()

    def ask(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        """Have a method of the pod's ``LocalInside`` called. Raises what it raises."""
        kind, answer = self._portal.call(self._exchange, (method, arguments, keywords))
        if kind == "skip":
            pytest.skip(answer)
        if kind == "error":
            raise answer
        return answer

    async def _exchange(self, request: object) -> tuple[str, Any]:
        with anyio.fail_after(_PATIENCE):
            await self._channel.send(_message(request))
            (size,) = struct.unpack("!Q", await self._exactly(8))
            kind, answer = pickle.loads(await self._exactly(size))
            return kind, answer

    async def _exactly(self, size: int) -> bytes:
        while len(self._arrived) < size:
            data = await self._channel.receive()
            assert data, f"the helper ended: {await self._channel.exit()}"
            self._arrived += data
        data = bytes(self._arrived[:size])
        del self._arrived[:size]
        return data


@contextmanager
def helping(transport: ExecTransport, work: str) -> Iterator[Helper]:
    """Start the helper in a container that has Python; its directories are beneath ``work``."""
    source = _HELPER.read_bytes()
    needed = {module.__name__: Path(str(module.__file__)).read_text("utf-8") for module in (inside, local_inside)}

    async def start() -> Channel:
        boot = _BOOT.format(size=len(source))
        channel = await transport.start(["python3", "-I", "-S", "-B", "-c", boot, work])
        await channel.send(source + _message(needed))
        return channel

    with start_blocking_portal("asyncio") as portal:
        channel = portal.call(start)
        try:
            yield Helper(portal, channel)
        finally:
            portal.call(channel.aclose)


def _message(content: object) -> bytes:
    data = pickle.dumps(content)
    return struct.pack("!Q", len(data)) + data


class PodInside(Inside):
    """A new directory, ``root``, in the pod; the one before is no more. ``unprivileged`` makes the backend act as
    somebody whom file permissions bind."""

    def __init__(
        self, helper: Helper, unprivileged: Callable[[], AbstractContextManager[None]], keeps_attributes: bool = True
    ) -> None:
        self._ask = helper.ask
        self._keeps_attributes = keeps_attributes
        self._unprivileged = unprivileged
        self.root: str = helper.ask("new")

    def make(self, tree: Tree) -> None:
        self._ask("make", dict(tree))

    def snapshot(self, path: str = ".") -> dict[str, Entry]:
        found: dict[str, Entry] = self._ask("snapshot", path)
        return found

    def look(self, path: str) -> Seen:
        seen: Seen = self._ask("look", path)
        return seen

    def give(
        self,
        path: str,
        *,
        mode: int | None = None,
        owner: tuple[int, int] | None = None,
        attributes: Mapping[str, bytes] | None = None,
        modified: float | None = None,
    ) -> None:
        if attributes and not self._keeps_attributes:
            pytest.skip("no tool of busybox copies extended attributes")
        self._ask("give", path, mode=mode, owner=owner, attributes=attributes, modified=modified)

    def rename(self, source: str, destination: str) -> None:
        self._ask("rename", source, destination)

    def remove(self, path: str) -> None:
        self._ask("remove", path)

    def release(self, fifo: str) -> None:
        self._ask("release", fifo)

    def umask(self) -> int:
        umask: int = self._ask("umask")
        return umask

    def unprivileged(self) -> AbstractContextManager[None]:
        return self._unprivileged()
