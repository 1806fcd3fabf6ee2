"""Special files are never opened blindly: the open of a fifo would hang, a device would never end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from devbox_mcp.errors import Exists, NotDirectory, Unsupported
from devbox_mcp.models import Capability

from ..box import Box, at
from ..inside import Kind, Link
from .operations import all_refuse
from .topic import Topic

_SECONDS = 10.0


@asynccontextmanager
async def _deadline(box: Box, fifo: str) -> AsyncIterator[None]:
    """Fail, and let go what hangs in the fifo, rather than wait for ever."""
    overdue = False

    async def release() -> None:
        nonlocal overdue
        await anyio.sleep(_SECONDS)
        overdue = True
        while True:
            box.inside.release(fifo)
            await anyio.sleep(0.1)

    async with anyio.create_task_group() as group:
        group.start_soon(release)
        try:
            yield
        finally:
            group.cancel_scope.cancel()
    assert not overdue, "it hung"


class TestSpecialFiles(Topic):
    @pytest.fixture(params=[Kind.FIFO, Kind.SOCKET, Kind.DEVICE], ids=lambda kind: kind.value)
    def kind(self, request: pytest.FixtureRequest) -> Kind:
        chosen: Kind = request.param
        return chosen

    async def test_its_content_is_out_of_reach(self, box: Box, kind: Kind) -> None:
        box.make({"s": kind, "l": Link("s"), "fifo": Kind.FIFO})
        async with _deadline(box, "s" if kind is Kind.FIFO else "fifo"):
            names = {"read", "write", "append", "in place", "lines", "batch"}
            await all_refuse(box, ["s", "l"], Unsupported, names=names)

    async def test_it_is_something_there(self, box: Box, kind: Kind) -> None:
        box.make({"s": kind, "f": b""})
        with box.refuses(Exists):
            await box.backend.write(at("s"), b"x", mode="create")
        with box.refuses(Exists):
            await box.backend.mkdir(at("s"))
        with box.refuses(Exists):
            await box.backend.move(at("f"), at("s"))

    async def test_it_is_no_directory(self, box: Box, kind: Kind) -> None:
        box.make({"s": kind, "source": b""})
        await all_refuse(box, ["s/x"], NotDirectory)

    async def test_searches_and_archives_pass_it_by(self, box: Box, kind: Kind) -> None:
        box.make({"d/s": kind, "d/f": b"needle\n", "d/l": Link("s")})
        backend = box.backend
        async with _deadline(box, "d/s") if kind is Kind.FIFO else anyio.create_task_group():
            if Capability.SEARCH in backend.capabilities:
                matches = await backend.search(at("d"), "needle")
                assert [match.path for match in matches.matches] == [at("d/f")]
                assert (await backend.find(at("d"), "s")).entries[0].type == kind.value
            if Capability.ARCHIVE in backend.capabilities:
                archive = await backend.archive([at("d")], max_bytes=1 << 20, max_files=10)
                assert [chunk async for chunk in archive]
                assert archive.skipped == [at("d/s")]

    async def test_a_copy_does_not_hang(self, box: Box, kind: Kind) -> None:
        box.make({"d/s": kind, "d/f": b"x"})
        async with _deadline(box, "d/s") if kind is Kind.FIFO else anyio.create_task_group():
            for source in ("d/s", "d"):
                with box.refuses(Unsupported):
                    await box.backend.copy(at(source), at("e"))
