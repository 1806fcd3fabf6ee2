"""The suite on the HTTP backend, over a real socket to a real gateway, which serves a directory of this machine; with
the WebSocket for small requests, and with HTTP for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.http import Address, HttpBackend
from devbox_mcp.backends.local import LocalBackend
from devbox_mcp.guest.policy import Policy
from tests.http_backend.gateway import gateway

from .box import Harness
from .local_inside import LocalInside
from .suite import *  # noqa: F403 - the topics, which pytest collects here


class Remote(Harness):
    def __init__(self, base: Path, stack: AsyncExitStack, tunnel: bool) -> None:
        self.inside = LocalInside(base)
        self._root = self.inside.root
        self._stack = stack
        self._tunnel = tunnel

    async def open(self, policy: Policy) -> Backend:
        served = LocalBackend(self._root, policy=policy)
        self._stack.push_async_callback(served.aclose)
        url = await self._stack.enter_async_context(gateway(served))
        return await HttpBackend.open(Address.parse(f"{url}/v1/devboxes/box"), tunnel=self._tunnel)


@pytest.fixture(params=["websocket", "http"])
async def harness(request: pytest.FixtureRequest, memory: Path) -> AsyncIterator[Harness]:
    async with AsyncExitStack() as stack:
        yield Remote(memory, stack, request.param == "websocket")
