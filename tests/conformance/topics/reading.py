"""Reading bytes: ranges, and one version from the first byte to the last."""

from __future__ import annotations

import random

import anyio
import pytest

from devbox_mcp.errors import Conflict, IsDirectory, NotDirectory, NotFound

from ..box import Box, at
from ..inside import DIRECTORY, MADE, Link
from .topic import Topic

LARGE = random.Random(7).randbytes(9 * 1024 * 1024 + 17)


class TestRead(Topic):
    @pytest.mark.parametrize("data", [b"", b"x", b"\r\n\x00\xff", LARGE], ids=["empty", "one", "binary", "large"])
    async def test_whole_file(self, box: Box, data: bytes) -> None:
        box.make({"d/f": data})
        content = await box.backend.read(at("d/f"))
        assert await content.read() == data
        assert (content.offset, content.info.path, content.info.size) == (0, at("d/f"), len(data))
        assert content.info.type == "file"
        assert content.info.modified == pytest.approx(MADE, abs=1e-3)

    async def test_range(self, box: Box) -> None:
        data = b"0123456789"
        box.make({"f": data})
        for offset in (0, 2, 9, 10, 11, 1 << 40):
            for length in (None, 0, 1, 5, 1 << 40):
                end = None if length is None else offset + length
                assert await box.read("f", offset, length) == data[offset:end]

    async def test_range_of_a_large_file(self, box: Box) -> None:
        box.make({"f": LARGE})
        for offset in (0, 1, (1 << 20) - 1, 1 << 20, 3 << 20):
            for length in (1, 1 << 20, (1 << 20) + 1, 5 << 20):
                assert await box.read("f", offset, length) == LARGE[offset : offset + length]

    async def test_through_links(self, box: Box) -> None:
        box.make({"d/f": b"data", "l": Link("d/f"), "e": Link("d")})
        assert await box.read("l") == b"data"
        assert await box.read("e/f") == b"data"

    async def test_directory(self, box: Box) -> None:
        box.make({"d": DIRECTORY, "l": Link("d")})
        for path in ("d", "l", "."):
            with box.refuses(IsDirectory):
                await box.backend.read(at(path))

    async def test_missing(self, box: Box) -> None:
        box.make({"f": b"", "l": Link("gone")})
        for path in ("gone", "gone/f", "l"):
            with box.refuses(NotFound):
                await box.backend.read(at(path))
        with box.refuses(NotDirectory):
            await box.backend.read(at("f/g"))

    async def test_many_at_once(self, box: Box) -> None:
        box.make({str(number): LARGE[number : number + (3 << 20)] for number in range(12)})

        async def check(number: int) -> None:
            assert await box.read(str(number)) == LARGE[number : number + (3 << 20)]

        async with anyio.create_task_group() as group:
            for number in range(12):
                group.start_soon(check, number)

    async def test_given_up_before_the_first_byte(self, box: Box) -> None:
        box.make({"f": LARGE})
        content = await box.backend.read(at("f"))
        await content.aclose()

    async def test_given_up_midway(self, box: Box) -> None:
        box.make({"f": LARGE})
        content = await box.backend.read(at("f"))
        assert LARGE.startswith(await anext(content.chunks))
        await content.aclose()

    async def test_replaced_meanwhile_the_old_version_is_read_whole(self, box: Box) -> None:
        box.make({"f": LARGE})
        content = await box.backend.read(at("f"))
        first = await anext(content.chunks)
        await box.backend.write(at("f"), LARGE[::-1])
        assert first + await content.read() == LARGE

    async def test_deleted_meanwhile_the_old_version_is_read_whole(self, box: Box) -> None:
        box.make({"f": LARGE})
        content = await box.backend.read(at("f"))
        first = await anext(content.chunks)
        await box.backend.delete(at("f"))
        assert first + await content.read() == LARGE

    @pytest.mark.parametrize("data", [LARGE[::-1], LARGE[:-1], LARGE + b"x", b""], ids=["same", "less", "more", "no"])
    async def test_changed_in_place_meanwhile(self, box: Box, data: bytes) -> None:
        box.make({"f": LARGE})
        content = await box.backend.read(at("f"))
        first = await anext(content.chunks)
        assert len(first) < len(LARGE) / 2
        box.make({"f": data})
        with pytest.raises(Conflict):
            await content.read()
