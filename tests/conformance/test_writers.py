"""What the suite says of writing, done by processes beside this one."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.exec import ExecBackend
from devbox_mcp.backends.local import LocalBackend
from devbox_mcp.errors import Conflict, ReadOnly
from devbox_mcp.guest.policy import Policy
from devbox_mcp.paths import SandboxPath
from devbox_mcp.session.bundle import bundle
from devbox_mcp.transports.process import ProcessTransport
from devbox_mcp.writers import WritersLayer

from .box import Harness
from .local_inside import LocalInside
from .suite import (  # noqa: F401 - what writes, which pytest collects here
    TestCancellation,
    TestDenied,
    TestErrors,
    TestGone,
    TestLinks,
    TestNames,
    TestOldFiles,
    TestReadOnly,
    TestSpecialFiles,
    TestVersions,
    TestWrite,
)

_NOBODYS = "0" * 64


class Writers(Harness):
    def __init__(self, base: Path, at_once: bool) -> None:
        self.inside = LocalInside(base)
        self._root = self.inside.root
        self._at_once = at_once
        bundle()  # whoever this process may become, it can be read now

    async def open(self, policy: Policy) -> Backend:
        writing: asyncio.Queue[Backend] = asyncio.Queue()

        def writer() -> Backend:
            backend = ExecBackend(ProcessTransport(), self._root, policy=policy, python=sys.executable)
            writing.put_nowait(backend)
            return backend

        layer = WritersLayer(LocalBackend(self._root, policy=policy), writer, 1, alone=0)
        if self._at_once:
            with suppress(Conflict, ReadOnly):  # the first one has them opened
                await layer.write(SandboxPath("nothing"), b"", if_match=_NOBODYS)
            async with asyncio.timeout(30):
                await (await writing.get()).root()
        return layer


@pytest.fixture
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Harness:
    # a writer stays the user that it was started as, so where file permissions are to bind it there is none
    return Writers(tmp_path, "unprivileged" not in request.function.__code__.co_names)
