"""The suite on the shell dialect, over shells of this machine: dash and bash with the tools there are, and busybox
with nothing but its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.shell import ShellBackend
from devbox_mcp.backends.shell.pool import Pool
from devbox_mcp.guest.policy import Policy
from devbox_mcp.transports.base import Channel
from devbox_mcp.transports.process import ProcessTransport
from tests.shell import shells

from .box import Harness
from .local_inside import LocalInside
from .suite import *  # noqa: F403 - the topics, which pytest collects here

_NOBODY = "65534"


class Here(ProcessTransport):
    """Runs programs of this machine, as somebody else where file permissions are to bind them."""

    def __init__(self, command: Sequence[str]) -> None:
        super().__init__(command)
        self.unprivileged = False

    async def start(self, argv: Sequence[str]) -> Channel:
        if self.unprivileged and os.geteuid() == 0:
            argv = [shutil.which("setpriv") or "setpriv", f"--reuid={_NOBODY}", "--clear-groups", "--", *argv]
        return await super().start(argv)


class ShellInside(LocalInside):
    """Permissions bind a shell that is started as nobody, so the others are replaced by such."""

    def __init__(self, base: Path, transport: Here, keeps_attributes: bool) -> None:
        super().__init__(base)
        self._transport = transport
        self._keeps_attributes = keeps_attributes
        self.pools: list[Pool] = []
        base.chmod(0o711)

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
        super().give(path, mode=mode, owner=owner, attributes=attributes, modified=modified)

    @contextmanager
    def unprivileged(self) -> Iterator[None]:
        self._transport.unprivileged = True
        for pool in self.pools:
            pool.retire()
        try:
            yield
        finally:
            self._transport.unprivileged = False


class Shell(Harness):
    inside: ShellInside

    def __init__(self, base: Path, command: Sequence[str], shell: str) -> None:
        self._transport = Here(command)
        self._shell = shell
        self.inside = ShellInside(base, self._transport, keeps_attributes=shell != "sh")
        self._root = self.inside.root

    async def open(self, policy: Policy) -> Backend:
        backend = ShellBackend(self._transport, self._root, policy=policy, shell=[self._shell])
        self.inside.pools.append(backend.pool)
        await backend.root()
        return backend


@pytest.fixture(scope="session")
def applets() -> Iterator[Path]:
    with shells.tools_of_busybox() as directory:
        yield directory


@pytest.fixture(params=shells.NAMES)
def harness(request: pytest.FixtureRequest, memory: Path) -> Harness:
    applets = request.getfixturevalue("applets") if request.param == "busybox" else memory
    return Shell(memory, *shells.command(request.param, applets))
