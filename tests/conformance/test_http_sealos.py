"""The suite on Sealos' own server, of which ``tests/http/sealos_double.py`` is a double written from its documentation,
over a real socket. What that server cannot do is left out, test by test, and says why."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.http.sealos import SealosBackend
from devbox_mcp.guest.policy import Policy
from devbox_mcp.layers import ReadOnlyLayer
from tests.http.gateway import listening
from tests.http.sealos_double import SealosDouble

from .box import Harness
from .local_inside import LocalInside
from .suite import *  # noqa: F403 - the topics, which pytest collects here

TOKEN = "a-token-of-sealos"

LEFT_OUT: dict[str, str] = {}


class Sealos(Harness):
    def __init__(self, base: Path, stack: AsyncExitStack) -> None:
        self.inside = LocalInside(base)
        self._root = self.inside.root
        self._stack = stack

    async def open(self, policy: Policy) -> Backend:
        double = SealosDouble(self._root, TOKEN)
        url = await self._stack.enter_async_context(listening(double.app))
        backend = await SealosBackend.open(url, TOKEN, self._root)
        return ReadOnlyLayer(backend) if policy.read_only else backend


@pytest.fixture
async def harness(request: pytest.FixtureRequest, memory: Path) -> AsyncIterator[Harness]:
    topic = request.node.cls.__name__
    reason = LEFT_OUT.get(topic) or LEFT_OUT.get(f"{topic}.{request.node.originalname}")
    if reason is not None:
        pytest.skip(reason)
    async with AsyncExitStack() as stack:
        yield Sealos(memory, stack)
