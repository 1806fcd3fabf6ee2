"""The suite on the guest as it works in a container: its source sent over stdin to a Python of its own, which is a
local process here."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.exec import ExecBackend
from devbox_mcp.guest.policy import Policy
from devbox_mcp.session.bundle import bundle
from devbox_mcp.transports.process import ProcessTransport

from .box import Harness
from .local_inside import LocalInside
from .suite import *  # noqa: F403 - the topics, which pytest collects here


class Guest(Harness):
    def __init__(self, base: Path, use_openat2: bool, at_once: bool) -> None:
        self.inside = LocalInside(base)
        self._root = self.inside.root
        self._use_openat2 = use_openat2
        self._at_once = at_once
        bundle()  # whoever this process may become, it can be read now

    async def open(self, policy: Policy) -> Backend:
        python = sys.executable if self._at_once else "python3"  # which other users may not be able to start
        backend = ExecBackend(
            ProcessTransport(), self._root, policy=policy, use_openat2=self._use_openat2, python=python
        )
        if self._at_once:
            await backend.root()
        return backend


@pytest.fixture(params=["openat2", "walk"])
def harness(request: pytest.FixtureRequest, memory: Path) -> Iterator[Harness]:
    # a guest stays the user that it was started as, so where file permissions are to bind it, it starts only then
    at_once = "unprivileged" not in request.function.__code__.co_names
    os.chmod(memory, 0o755)
    before = _children()
    yield Guest(memory, request.param == "openat2", at_once)
    assert _children() == before, "a guest is left"


def _children() -> str:
    """Return this process's own."""
    return "".join(path.read_text() for path in Path("/proc/self/task").glob("*/children"))
