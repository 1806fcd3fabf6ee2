"""The suite on the local backend, with openat2 and with the walk that does without."""

from __future__ import annotations

from pathlib import Path

import pytest

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.local import LocalBackend
from devbox_mcp.guest.policy import Policy

from .box import Harness
from .local_inside import LocalInside
from .suite import *  # noqa: F403 - the topics, which pytest collects here


class Local(Harness):
    def __init__(self, base: Path, use_openat2: bool) -> None:
        self.inside = LocalInside(base)
        self._root = self.inside.root
        self._use_openat2 = use_openat2

    async def open(self, policy: Policy) -> Backend:
        return LocalBackend(self._root, policy=policy, use_openat2=self._use_openat2)


@pytest.fixture(params=[True, False], ids=["openat2", "walk"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Harness:
    return Local(tmp_path, request.param)
