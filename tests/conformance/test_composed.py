"""The suite on a backend that has nothing but the small contract, and composes the rest."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.composed import Composed
from devbox_mcp.backends.local import LocalBackend
from devbox_mcp.guest.policy import Policy
from devbox_mcp.models import Content, FileInfo, Page, WriteMode, Written
from devbox_mcp.paths import SandboxPath

from .box import Harness
from .local_inside import LocalInside
from .suite import *  # noqa: F403 - the topics, which pytest collects here


class SmallOnly(Composed):
    """Forwards the small contract to another backend, and nothing else."""

    def __init__(self, inner: Backend) -> None:
        super().__init__()
        self.inner = inner

    async def root(self) -> str:
        return await self.inner.root()

    async def relative(self, absolute: str) -> SandboxPath | None:
        return await self.inner.relative(absolute)

    async def stat(self, path: SandboxPath, *, follow: bool = True, sha256: bool = False) -> FileInfo:
        return await self.inner.stat(path, follow=follow, sha256=sha256)

    async def list(
        self,
        path: SandboxPath,
        *,
        depth: int = 1,
        glob: str | None = None,
        limit: int = 1000,
        after: SandboxPath | None = None,
        details: bool = False,
    ) -> Page:
        return await self.inner.list(path, depth=depth, glob=glob, limit=limit, after=after, details=details)

    async def read(self, path: SandboxPath, *, offset: int = 0, length: int | None = None) -> Content:
        return await self.inner.read(path, offset=offset, length=length)

    async def write(
        self,
        path: SandboxPath,
        data: bytes | AsyncIterator[bytes],
        *,
        mode: WriteMode = "overwrite",
        if_match: str | None = None,
        executable: bool | None = None,
        in_place: bool = False,
    ) -> Written:
        return await self.inner.write(
            path, data, mode=mode, if_match=if_match, executable=executable, in_place=in_place
        )

    async def mkdir(self, path: SandboxPath) -> bool:
        return await self.inner.mkdir(path)

    async def delete(self, path: SandboxPath, *, recursive: bool = False, if_match: str | None = None) -> int:
        return await self.inner.delete(path, recursive=recursive, if_match=if_match)

    async def move(
        self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False, if_match: str | None = None
    ) -> FileInfo:
        return await self.inner.move(source, destination, overwrite=overwrite, if_match=if_match)

    async def copy(self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False) -> FileInfo:
        return await self.inner.copy(source, destination, overwrite=overwrite)

    async def chmod(self, path: SandboxPath, mode: int, *, recursive: bool = False) -> int:
        return await self.inner.chmod(path, mode, recursive=recursive)

    async def aclose(self) -> None:
        await super().aclose()
        await self.inner.aclose()


class Small(Harness):
    def __init__(self, base: Path) -> None:
        self.inside = LocalInside(base)
        self._root = self.inside.root

    async def open(self, policy: Policy) -> Backend:
        return SmallOnly(LocalBackend(self._root, policy=policy))


@pytest.fixture
def harness(memory: Path) -> Iterator[Harness]:
    before = _handles()
    yield Small(memory)
    assert _handles() == before, "files were left open"


def _handles() -> list[str]:
    """Return what is open in this process."""
    found = []
    for fd in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []:
        with suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return sorted(found)
