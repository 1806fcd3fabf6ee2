"""The suite on the layers around a backend, which change nothing but what they are for."""

from __future__ import annotations

from pathlib import Path

import pytest

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.local import LocalBackend
from devbox_mcp.guest.policy import Policy
from devbox_mcp.layers import FileSizeLayer, ReadOnlyLayer

from .box import Harness
from .local_inside import LocalInside
from .suite import *  # noqa: F403 - the topics, which pytest collects here

MOST = 1 << 30


class Layered(Harness):
    def __init__(self, base: Path) -> None:
        self.inside = LocalInside(base)
        self._root = self.inside.root

    async def open(self, policy: Policy) -> Backend:
        backend = FileSizeLayer(LocalBackend(self._root, policy=Policy(policy.deny)), MOST)
        return ReadOnlyLayer(backend) if policy.read_only else backend


@pytest.fixture
def harness(memory: Path) -> Harness:
    return Layered(memory)
