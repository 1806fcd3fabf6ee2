"""Processes that write for a directory when many write at once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.exec import ExecBackend
from devbox_mcp.backends.local import LocalBackend
from devbox_mcp.errors import DevboxError, Unavailable
from devbox_mcp.guest.frames import INLINE
from devbox_mcp.guest.names import is_own
from devbox_mcp.kinds import KINDS, Opening
from devbox_mcp.paths import SandboxPath
from devbox_mcp.transports.process import ProcessTransport
from devbox_mcp.writers import WritersLayer

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="a directory has no path by its handle")

COUNT = 2


def children() -> set[int]:
    """Return the processes that this one has started and that still run."""
    found = "".join(path.read_text() for path in Path("/proc/self/task").glob("*/children"))
    return {int(number) for number in found.split()}


@pytest.fixture
async def directory(tmp_path: Path) -> AsyncIterator[Path]:
    before = children()
    there = tmp_path / "box"
    there.mkdir()
    yield there
    assert children() == before, "a writer is left"


@pytest.fixture
async def open_box(directory: Path) -> AsyncIterator[Callable[[], Awaitable[Backend]]]:
    opened: list[Backend] = []

    async def open_() -> Backend:
        opened.append(await KINDS["local"].open(str(directory), Opening(writers=COUNT)))
        return opened[-1]

    yield open_
    for backend in opened:
        await backend.aclose()


async def write_many(backend: Backend, content: bytes, count: int = 32) -> list[str]:
    """Write as many files at once; return the names of those that are written. Others are unavailable."""

    async def write(name: str) -> str | None:
        try:
            written = await backend.write(SandboxPath(name), content)
        except Unavailable:
            return None
        assert written.info.size == len(content)
        return name

    names = await asyncio.gather(*(write(f"f{number}") for number in range(count)))
    return [name for name in names if name is not None]


async def until_there_are_writers(backend: Backend) -> set[int]:
    before = children()
    async with asyncio.timeout(30):
        while len(children() - before) < COUNT:
            await write_many(backend, b"first", 4)
        # one that has only just started is not asked yet
        await asyncio.sleep(0.3)
        await write_many(backend, b"second")
    return children() - before


async def test_who_writes_alone_starts_no_process(open_box: Callable[[], Awaitable[Backend]]) -> None:
    backend = await open_box()
    before = children()
    for number in range(20):
        await backend.write(SandboxPath("a"), b"%d" % number)
    assert children() == before


async def test_what_many_write_at_once_is_all_there(
    open_box: Callable[[], Awaitable[Backend]], directory: Path
) -> None:
    backend = await open_box()
    await until_there_are_writers(backend)
    names = await write_many(backend, b"third", 200)
    assert len(names) == 200
    assert {(directory / name).read_bytes() for name in names} == {b"third"}
    assert sorted(names) == sorted(os.listdir(directory)), "nothing is left beside them"


async def test_what_is_large_is_written_here(open_box: Callable[[], Awaitable[Backend]], directory: Path) -> None:
    backend = await open_box()
    writers = await until_there_are_writers(backend)
    for number in writers:
        os.kill(number, signal.SIGSTOP)
    try:
        async with asyncio.timeout(30):
            names = await write_many(backend, b"x" * (INLINE + 1), 4)
    finally:
        for number in writers:
            os.kill(number, signal.SIGCONT)
    assert [(directory / name).stat().st_size for name in names] == [INLINE + 1] * 4


async def test_writers_that_are_killed_lose_nothing_that_was_confirmed(
    open_box: Callable[[], Awaitable[Backend]], directory: Path
) -> None:
    backend = await open_box()
    for round_ in range(3):
        content = b"round %d" % round_
        writers = await until_there_are_writers(backend)
        writing = asyncio.create_task(write_many(backend, content, 400))
        await asyncio.sleep(0.02 * (round_ + 1))
        for number in writers:
            os.kill(number, signal.SIGKILL)
        names = await writing
        assert {(directory / name).read_bytes() for name in names} <= {content}
        known = {b"first", b"second", *(b"round %d" % past for past in range(round_ + 1))}
        # what a killed process had begun is hidden, and swept away later
        there = [name for name in os.listdir(directory) if not is_own(name)]
        assert {(directory / name).read_bytes() for name in there} <= known
    assert len(await write_many(backend, b"after")) == 32


async def test_a_directory_that_is_moved_takes_its_writers_along(
    open_box: Callable[[], Awaitable[Backend]], directory: Path
) -> None:
    backend = await open_box()
    moved = directory.with_name("moved")
    os.rename(directory, moved)
    os.mkdir(directory)
    await until_there_are_writers(backend)
    names = await write_many(backend, b"there", 64)
    assert len(names) == 64
    assert {(moved / name).read_bytes() for name in names} == {b"there"}
    assert os.listdir(directory) == [], "another directory of that name is none of its business"


async def test_what_is_denied_is_denied_there_too(directory: Path) -> None:
    backend = await KINDS["local"].open(str(directory), Opening(deny=("secret*",), writers=COUNT))
    try:
        await until_there_are_writers(backend)
        refused = await asyncio.gather(
            *(backend.write(SandboxPath(f"secret{number}"), b"x") for number in range(16)), return_exceptions=True
        )
    finally:
        await backend.aclose()
    assert {error.code for error in refused if isinstance(error, DevboxError)} == {"denied"}
    assert len(refused) == 16
    assert not [name for name in os.listdir(directory) if name.startswith("secret")]


async def test_a_directory_that_is_deleted_is_no_other_of_its_name(
    open_box: Callable[[], Awaitable[Backend]], directory: Path
) -> None:
    backend = await open_box()
    os.rmdir(directory)
    # what the kernel says in the place of a name that is gone is a name too
    others = [directory, directory.with_name("box (deleted)")]
    for other in others:
        os.mkdir(other)
    await until_there_are_writers(backend)
    assert await write_many(backend, b"nowhere") == []
    assert [os.listdir(other) for other in others] == [[], []]


@pytest.mark.parametrize("how", ["killed", "idle"])
async def test_where_no_writer_can_be_started_again_this_process_writes(
    tmp_path: Path, directory: Path, how: str
) -> None:
    python = tmp_path / "python"
    os.symlink(sys.executable, python)

    def writer() -> Backend:
        idle = 0.5 if how == "idle" else 300
        return ExecBackend(ProcessTransport(), str(directory), python=str(python), idle=idle, reopens=False)

    backend = WritersLayer(LocalBackend(str(directory)), writer, COUNT)
    try:
        writers = await until_there_are_writers(backend)
        os.unlink(python)
        if how == "killed":
            for number in writers:
                os.kill(number, signal.SIGKILL)
            # of what is sent to one that ends just then it is not known whether it happened
            await write_many(backend, b"perhaps")
        async with asyncio.timeout(30):
            while children() & writers:  # noqa: ASYNC110  nobody tells of their end
                await asyncio.sleep(0.05)
        for _ in range(3):
            assert len(await write_many(backend, b"all the same")) == 32
    finally:
        await backend.aclose()


async def test_what_is_under_way_when_it_is_closed_is_done(
    open_box: Callable[[], Awaitable[Backend]], directory: Path
) -> None:
    backend = await open_box()
    await until_there_are_writers(backend)
    writing = asyncio.create_task(write_many(backend, b"the last", 64))
    await asyncio.sleep(0.005)
    await backend.aclose()
    names = await writing
    assert {(directory / name).read_bytes() for name in names} == {b"the last"}
    assert sum((directory / name).read_bytes() == b"the last" for name in os.listdir(directory)) == len(names)


async def test_without_a_python_to_start_this_process_writes(directory: Path) -> None:
    asked = 0

    def writer() -> Backend:
        nonlocal asked
        asked += 1
        return ExecBackend(ProcessTransport(), str(directory), python="no-such-python")

    backend = WritersLayer(LocalBackend(str(directory)), writer, COUNT)
    try:
        for _ in range(3):
            assert len(await write_many(backend, b"all the same")) == 32
        assert asked == 1, "it is not tried again at once"
    finally:
        await backend.aclose()
