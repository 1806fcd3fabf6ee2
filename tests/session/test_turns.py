"""A call that is alone is done by the thread that has read it; another one reads on when it takes long."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from devbox_mcp.backends.exec import ExecBackend
from devbox_mcp.errors import DevboxError
from devbox_mcp.paths import SandboxPath
from tests.session.conftest import is_running, leftovers

pytestmark = pytest.mark.anyio

OpenBackend = Callable[..., ExecBackend]
F, G = SandboxPath("f"), SandboxPath("g")


class Lock:
    """Lets writers wait, as long as it is held."""

    def __init__(self, directory: Path) -> None:
        self._fd = os.open(directory, os.O_RDONLY)

    def hold(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def release(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
def lock(root: Path) -> Iterator[Lock]:
    lock = Lock(root)
    yield lock
    lock.close()


async def waits(root: Path) -> None:
    """Return when a writer has come as far as it can."""
    with anyio.fail_after(20):
        while not leftovers(root):  # noqa: ASYNC110  it is about what another process does
            await anyio.sleep(0.01)


async def nothing_left(root: Path) -> None:
    with anyio.fail_after(20):
        while leftovers(root):  # noqa: ASYNC110  as above
            await anyio.sleep(0.01)


async def test_what_comes_meanwhile_is_answered(open_backend: OpenBackend, root: Path, lock: Lock) -> None:
    (root / "f").write_bytes(b"there")
    backend = open_backend()
    await backend.root()
    for content in (b"first", b"second", b"third"):  # the threads have changed places, and back
        lock.hold()
        async with anyio.create_task_group() as group:
            group.start_soon(backend.write, G, content)
            await waits(root)
            with anyio.fail_after(20):
                assert (await backend.stat(F)).size == 5
                assert await backend.mkdir(SandboxPath(content.decode()))
            lock.release()
        assert (root / "g").read_bytes() == content


async def test_it_can_be_cancelled(open_backend: OpenBackend, root: Path, lock: Lock) -> None:
    backend = open_backend()
    await backend.root()
    lock.hold()
    async with anyio.create_task_group() as group:
        group.start_soon(backend.write, G, b"content")
        await waits(root)
        group.cancel_scope.cancel()
    assert not leftovers(root)
    lock.release()
    await backend.write(G, b"other")
    assert (root / "g").read_bytes() == b"other"


@pytest.mark.parametrize("told", [None, signal.SIGTERM], ids=["by closing", "by a signal"])
async def test_the_end_leaves_nothing(
    open_backend: OpenBackend, root: Path, lock: Lock, told: signal.Signals | None
) -> None:
    backend = open_backend(reopens=False)
    pid = (await backend._session.hello()).pid
    lock.hold()

    async def write() -> None:
        with pytest.raises(DevboxError):
            await backend.write(G, b"content")

    async with anyio.create_task_group() as group:
        group.start_soon(write)
        await waits(root)
        if told is None:
            await backend.aclose()
        else:
            os.kill(pid, told)
    await nothing_left(root)
    with anyio.fail_after(20):
        while is_running(pid):  # noqa: ASYNC110  as above
            await anyio.sleep(0.01)
    assert not (root / "g").exists()
