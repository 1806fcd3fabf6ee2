"""Reading text by lines, byte for byte."""

from __future__ import annotations

import random

import pytest

from devbox_mcp.errors import IsDirectory, NotFound
from devbox_mcp.models import Capability, Lines

from ..box import Box, at
from ..inside import DIRECTORY, Link
from .topic import Topic

TEN = b"".join(b"%d\n" % number for number in range(1, 11))


class TestLines(Topic):
    capability = Capability.LINES

    async def _lines(
        self, box: Box, first: int = 1, count: int | None = None, max_bytes: int = 1 << 16, path: str = "f"
    ) -> Lines:
        return await box.backend.read_lines(at(path), first=first, count=count, max_bytes=max_bytes)

    async def test_whole_file(self, box: Box) -> None:
        box.make({"f": TEN})
        lines = await self._lines(box)
        assert (lines.data, lines.first, lines.count, lines.total) == (TEN, 1, 10, 10)
        assert (lines.more, lines.cut, lines.binary) == (False, False, False)
        assert (lines.info.path, lines.info.size) == (at("f"), len(TEN))

    @pytest.mark.parametrize(
        ("first", "count", "expected"),
        [
            (1, 1, "1"),
            (3, 2, "34"),
            (9, 5, "9X"),
            (10, None, "X"),
            (-1, None, "X"),
            (-3, 2, "89"),
            (-10, 1, "1"),
        ],
    )
    async def test_window(self, box: Box, first: int, count: int | None, expected: str) -> None:
        box.make({"f": TEN.replace(b"10", b"X")})
        lines = await self._lines(box, first, count)
        assert lines.data.decode().replace("\n", "") == expected
        assert lines.count == len(expected)
        assert lines.first == (first if first > 0 else 11 + first)
        assert lines.more == (lines.first + lines.count <= 10)

    async def test_more_lines_from_the_end_than_there_are(self, box: Box) -> None:
        box.make({"f": TEN})
        lines = await self._lines(box, -100)
        assert (lines.first, lines.data) == (1, TEN)

    async def test_behind_the_end(self, box: Box) -> None:
        box.make({"f": TEN})
        lines = await self._lines(box, 11)
        assert (lines.data, lines.count, lines.total, lines.more) == (b"", 0, 10, False)

    @pytest.mark.parametrize(
        ("data", "total"),
        [
            (b"", 0),
            (b"\n", 1),
            (b"a", 1),
            (b"a\n", 1),
            (b"a\nb", 2),
            (b"\n\n\n", 3),
            (b"a\r\nb\r\n", 2),
            (b"a\rb\x0bc\x0c\xc2\x85\xe2\x80\xa8d\n", 1),
            (b"\xef\xbb\xbfbom\n", 1),
            (b"caf\xe9\nlatin\n", 2),
        ],
    )
    async def test_only_a_line_feed_ends_a_line_and_bytes_stay(self, box: Box, data: bytes, total: int) -> None:
        box.make({"f": data})
        lines = await self._lines(box)
        assert (lines.data, lines.count, lines.total, lines.more) == (data, total, total, False)

    @pytest.mark.parametrize("max_bytes", [64, 100, 1000, 1 << 20])
    async def test_pages_join_to_the_file(self, box: Box, max_bytes: int) -> None:
        chance = random.Random(max_bytes)
        data = b"".join(b"x" * chance.randrange(60) + chance.choice([b"\n", b"\r\n"]) for _ in range(300)) + b"end"
        box.make({"f": data})
        found, first = b"", 1
        while True:
            lines = await self._lines(box, first, None, max_bytes)
            assert len(lines.data) <= max_bytes
            assert (lines.first, lines.cut) == (first, False)
            assert lines.data.count(b"\n") + (not lines.data.endswith(b"\n")) == lines.count
            found += lines.data
            first += lines.count
            if not lines.more:
                break
            assert lines.count > 0
        assert found == data
        assert (first, lines.total) == (302, 301)

    async def test_a_line_over_the_limit_is_cut_and_said_so(self, box: Box) -> None:
        box.make({"f": b"a\n" + b"x" * 5000 + b"\nb\n"})
        lines = await self._lines(box, 1, None, 100)
        assert (lines.data, lines.count, lines.more) == (b"a\n", 1, True)
        lines = await self._lines(box, 2, None, 100)
        assert lines.cut
        assert (lines.count, lines.first, lines.more) == (1, 2, True)
        assert 0 < len(lines.data) <= 100
        lines = await self._lines(box, 3, None, 100)
        assert (lines.data, lines.cut, lines.more) == (b"b\n", False, False)

    @pytest.mark.parametrize("data", [b"\0", b"text\n\0", b"\x89PNG\r\n\x1a\n\0\0"])
    async def test_binary(self, box: Box, data: bytes) -> None:
        box.make({"f": data})
        lines = await self._lines(box)
        assert (lines.binary, lines.data) == (True, b"")

    async def test_a_change_is_seen_at_once(self, box: Box) -> None:
        box.make({"f": b"one\ntwo\n"})
        assert (await self._lines(box, 2)).data == b"two\n"
        await box.backend.write(at("f"), b"1\n2\n")
        assert (await self._lines(box, 2)).data == b"2\n"
        box.make({"f": b"3\n4\n5\n6\n"})
        lines = await self._lines(box, 2)
        assert (lines.data, lines.total) == (b"4\n5\n6\n", 4)

    async def test_far_into_a_large_file(self, box: Box) -> None:
        box.make({"f": b"".join(b"line %d\n" % number for number in range(1, 300_001))})
        for first in (250_000, 2, 299_999):
            assert (await self._lines(box, first, 1)).data == b"line %d\n" % first
        assert (await self._lines(box, -2)).data == b"line 299999\nline 300000\n"

    async def test_through_a_link(self, box: Box) -> None:
        box.make({"d/f": TEN, "l": Link("d/f")})
        assert (await self._lines(box, 2, 1, path="l")).data == b"2\n"

    async def test_no_file(self, box: Box) -> None:
        box.make({"d": DIRECTORY})
        with box.refuses(IsDirectory):
            await self._lines(box, path="d")
        with box.refuses(NotFound):
            await self._lines(box, path="gone")
