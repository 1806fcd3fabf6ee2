"""Others at work in the same directory: another kind of backend, what a crash left behind, a hostile program."""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import hashlib
import os
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.local import LocalBackend
from devbox_mcp.backends.shell import ShellBackend
from devbox_mcp.errors import Conflict, DevboxError
from devbox_mcp.paths import SandboxPath

F = SandboxPath("f")
_RENAME_EXCHANGE = 2


def exchange(one: Path, other: Path) -> None:
    """Let two names change places in one step."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None or renameat2(-100, bytes(one), -100, bytes(other), _RENAME_EXCHANGE) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


async def test_no_update_is_lost_among_shell_and_guest(backend: ShellBackend, root: Path, shell: str) -> None:
    if shell != "busybox" and shutil.which("flock") is None:
        pytest.skip("flock is not installed")
    if shell == "busybox":
        pytest.skip("without flock only shells exclude one another")
    local = LocalBackend(str(root))
    (root / "f").write_bytes(b"")
    told: list[bytes] = []

    async def writer(name: int, through: Backend) -> None:
        for number in range(20):
            line = b"%d.%d\n" % (name, number)
            while line not in told:
                data = await (await through.read(F)).read()
                with suppress(Conflict):
                    await through.write(F, data + line, if_match=hashlib.sha256(data).hexdigest())
                    told.append(line)
            if through is local:  # which would be done before a shell has begun
                await asyncio.sleep(0.01)

    await asyncio.gather(*(writer(name, (backend, local)[name % 2]) for name in range(4)))
    await local.aclose()
    assert sorted((root / "f").read_bytes().splitlines(keepends=True)) == sorted(told)
    assert len(told) == 80


async def test_a_change_waits_for_the_lock_that_the_guest_takes(backend: ShellBackend, root: Path, shell: str) -> None:
    if shell == "busybox" or shutil.which("flock") is None:
        pytest.skip("no flock among the tools")
    directory = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        writing = asyncio.create_task(backend.write(F, b"x"))
        done, _ = await asyncio.wait([writing], timeout=0.7)
        assert not done
        assert not (root / "f").exists()
    finally:
        os.close(directory)
    assert (await writing).created


@pytest.mark.parametrize("owner", ["", "pid:[1] 1\n"], ids=["old", "old, of another container"])
async def test_a_lock_left_behind_is_broken(backend: ShellBackend, root: Path, owner: str) -> None:
    lock = root / ".devbox-mcp-lock"
    lock.write_text(owner or f"{os.readlink('/proc/self/ns/pid')} 999999999\n")
    os.utime(lock, (time.time() - 3600, time.time() - 3600))
    assert (await backend.write(F, b"x")).created
    assert (root / "f").read_bytes() == b"x"


async def test_young_temporaries_stay(backend: ShellBackend, root: Path) -> None:
    # the old ones cannot be made: a ctime cannot be set back
    (root / ".devbox-mcp-part-1").write_bytes(b"somebody's")
    await backend.write(F, b"x")
    assert (root / ".devbox-mcp-part-1").exists()


async def test_a_directory_that_turns_into_a_link_lets_nothing_out(backend: ShellBackend, root: Path) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "f").write_bytes(b"theirs")
    (root / "d").mkdir()
    (root / "d/f").write_bytes(b"mine")
    (root / "l").symlink_to(outside)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            exchange(root / "d", root / "l")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for number in range(40):
            with suppress(DevboxError):
                assert await (await backend.read(SandboxPath("d/f"))).read() != b"theirs"
            with suppress(DevboxError):
                await backend.write(SandboxPath("d/f"), b"mine")
            with suppress(DevboxError):
                await backend.write(SandboxPath(f"d/new{number}"), b"mine")
            with suppress(DevboxError):
                await backend.delete(SandboxPath("d/f"))
    finally:
        stop.set()
        thread.join()
    assert os.listdir(outside) == ["f"]
    assert (outside / "f").read_bytes() == b"theirs"


async def test_a_name_that_turns_into_a_link_is_not_read_through(backend: ShellBackend, root: Path) -> None:
    (root.parent / "theirs").write_bytes(b"theirs")
    (root / "f").write_bytes(b"mine")
    (root / "l").symlink_to(root.parent / "theirs")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            exchange(root / "f", root / "l")

    thread = threading.Thread(target=swap)
    thread.start()
    seen = set()
    try:
        for _ in range(150):
            with suppress(DevboxError):
                seen.add(await (await backend.read(F)).read())
    finally:
        stop.set()
        thread.join()
    assert seen <= {b"mine"}
