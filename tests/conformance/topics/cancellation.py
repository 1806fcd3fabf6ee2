"""A call that is given up leaves nothing half done behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

import anyio
import anyio.lowlevel
import pytest

from devbox_mcp.errors import DevboxError
from devbox_mcp.models import BatchItem, Capability

from ..box import Box, at
from ..inside import DIRECTORY
from .topic import Topic

PIECE = b"x" * (2 << 20)


class TestCancellation(Topic):
    @pytest.mark.parametrize("mode", ["overwrite", "create", "append"])
    @pytest.mark.parametrize("pieces", [0, 1, 3])
    async def test_a_streamed_write(self, box: Box, mode: str, pieces: int) -> None:
        box.make({"d": DIRECTORY} if mode == "create" else {"d/f": b"old"})
        before = box.snapshot()
        waiting = anyio.Event()

        async def body() -> AsyncIterator[bytes]:
            for _ in range(pieces):
                yield PIECE
            waiting.set()
            await anyio.sleep_forever()

        async with anyio.create_task_group() as group:
            group.start_soon(lambda: box.backend.write(at("d/f"), body(), mode=mode))  # type: ignore[arg-type]
            await waiting.wait()
            group.cancel_scope.cancel()
        assert box.snapshot() == before
        await box.backend.write(at("d/f"), b"new", mode="overwrite")
        assert box.snapshot()["d/f"] == b"new"

    async def test_nobody_is_left_in_the_stream_of_a_write(self, box: Box) -> None:
        waiting = anyio.Event()

        async def body() -> AsyncIterator[bytes]:
            try:
                yield PIECE
                waiting.set()
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.2)  # what it comes from takes that long to end

        stream = body()
        async with anyio.create_task_group() as group:
            group.start_soon(box.backend.write, at("f"), stream)
            await waiting.wait()
            group.cancel_scope.cancel()
        await stream.aclose()  # type: ignore[attr-defined]  # a generator, and RuntimeError while it runs
        assert box.snapshot() == {}

    async def test_a_streamed_write_to_a_new_place(self, box: Box) -> None:
        waiting = anyio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield PIECE
            waiting.set()
            await anyio.sleep_forever()

        async with anyio.create_task_group() as group:
            group.start_soon(box.backend.write, at("new/parents/f"), body())
            await waiting.wait()
            group.cancel_scope.cancel()
        assert box.snapshot() == {}

    async def test_a_write_whose_sender_never_pauses(self, box: Box) -> None:
        flowing = anyio.Event()

        async def body() -> AsyncIterator[bytes]:
            for number in range(1_000_000):
                if number == 5:
                    flowing.set()
                yield PIECE

        async with anyio.create_task_group() as group:
            group.start_soon(box.backend.write, at("f"), body())
            await flowing.wait()
            group.cancel_scope.cancel()
        assert box.snapshot() == {}

    async def test_a_read(self, box: Box) -> None:
        box.make({"f": PIECE})
        for after in range(30):
            async with anyio.create_task_group() as group:
                group.start_soon(box.backend.read, at("f"))
                for _ in range(after % 3):
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
        assert await box.read("f") == PIECE

    @pytest.mark.parametrize("after", [0, 1, 5, 20])
    async def test_a_copy(self, box: Box, after: int) -> None:
        box.make({f"d/{number}/f": PIECE[: 1 << 16] for number in range(40)})
        before = box.snapshot()
        async with anyio.create_task_group() as group:
            group.start_soon(box.backend.copy, at("d"), at("e"))
            for _ in range(after):
                await anyio.sleep(0.001)
            group.cancel_scope.cancel()
        # whichever was quicker: all of it or none of it
        now = box.snapshot()
        assert now == before or box.snapshot("e") == box.snapshot("d")
        assert set(now) - set(before) == {path for path in now if path.split("/")[0] == "e"}

    @pytest.mark.parametrize("after", [0, 1, 5, 20])
    async def test_an_atomic_batch(self, box: Box, after: int) -> None:
        if Capability.BATCH not in box.backend.capabilities:
            pytest.skip("not offered")
        box.make({f"f{number}": b"old" for number in range(50)})
        before = box.snapshot()
        items = [BatchItem(at(f"f{number}"), b"new") for number in range(60)]
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: box.backend.write_batch(items, atomic=True))
            for _ in range(after):
                await anyio.sleep(0.001)
            group.cancel_scope.cancel()
        assert box.snapshot() in (before, {f"f{number}": b"new" for number in range(60)})

    async def test_a_search(self, box: Box) -> None:
        if Capability.SEARCH not in box.backend.capabilities:
            pytest.skip("not offered")
        box.make({"f": b"a" * 60 + b"!\n"})
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: box.backend.search(at("."), "(a+)+$", seconds=300))
            await anyio.sleep(0.3)
            group.cancel_scope.cancel()
        assert (await box.backend.search(at("."), "a!")).matches

    async def test_a_watch(self, box: Box) -> None:
        if Capability.WATCH not in box.backend.capabilities:
            pytest.skip("not offered")
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: box.backend.watch(at("."), timeout=300))
            await anyio.sleep(0.1)
            group.cancel_scope.cancel()
        assert (await box.backend.watch(at("."), timeout=0)).cursor

    async def test_closing_ends_what_waits(self, box: Box) -> None:
        if Capability.WATCH not in box.backend.capabilities:
            pytest.skip("not offered")

        async def wait() -> None:
            with suppress(DevboxError):
                await box.backend.watch(at("."), timeout=300)

        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                await anyio.sleep(0.1)
                await box.backend.aclose()
