"""The suite on the local backend: with openat2, on disk, and with the walk that does without, in memory where there
is such a place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
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


@pytest.fixture(params=["openat2", "walk"])
def harness(request: pytest.FixtureRequest, tmp_path: Path, memory: Path) -> Iterator[Harness]:
    before = _handles()
    if request.param == "openat2":
        yield Local(tmp_path, use_openat2=True)
    else:
        yield Local(memory, use_openat2=False)
    assert _handles() == before, "files were left open"


def _handles() -> list[str]:
    """Return what is open in this process."""
    found = []
    for fd in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []:
        with suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return sorted(found)
