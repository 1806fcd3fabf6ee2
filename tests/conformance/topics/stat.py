"""Describing one entry."""

from __future__ import annotations

import pytest

from devbox_mcp.errors import NotDirectory, NotFound

from ..box import Box, at, sha256
from ..inside import DIRECTORY, MADE, Hard, Kind, Link
from .topic import Topic


class TestStat(Topic):
    async def test_file(self, box: Box) -> None:
        box.make({"src/app.py": b"print(1)\n"})
        box.inside.give("src/app.py", mode=0o640)
        info = await box.backend.stat(at("src/app.py"))
        assert info.path == at("src/app.py")
        assert (info.type, info.size, info.mode, info.links, info.target) == ("file", 9, 0o640, 1, None)
        assert info.modified == pytest.approx(MADE, abs=1e-3)

    async def test_directory(self, box: Box) -> None:
        box.make({"d": DIRECTORY})
        box.inside.give("d", mode=0o2775)
        info = await box.backend.stat(at("d"))
        assert (info.path, info.type, info.mode) == (at("d"), "directory", 0o2775)

    async def test_root(self, box: Box) -> None:
        info = await box.backend.stat(at("."))
        assert (info.path, info.type) == (at("."), "directory")

    @pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 20_000], ids=["empty", "small", "large"])
    async def test_hash_of_a_file(self, box: Box, data: bytes) -> None:
        box.make({"f": data})
        assert (await box.backend.stat(at("f"), sha256=True)).sha256 == sha256(data)

    async def test_a_directory_has_no_hash(self, box: Box) -> None:
        assert (await box.backend.stat(at("."), sha256=True)).sha256 is None

    async def test_link_is_described_with_what_it_leads_to(self, box: Box) -> None:
        box.make({"f": b"four", "l": Link("f")})
        info = await box.backend.stat(at("l"), sha256=True)
        assert (info.path, info.type, info.size, info.target) == (at("l"), "file", 4, "f")
        assert info.sha256 == sha256(b"four")

    async def test_link_itself(self, box: Box) -> None:
        box.make({"f": b"four", "l": Link("f")})
        info = await box.backend.stat(at("l"), follow=False)
        assert (info.path, info.type, info.target) == (at("l"), "symlink", "f")

    async def test_dangling_link(self, box: Box) -> None:
        box.make({"l": Link("nowhere")})
        assert (await box.backend.stat(at("l"), follow=False)).target == "nowhere"
        with box.refuses(NotFound):
            await box.backend.stat(at("l"))

    @pytest.mark.parametrize("path", ["x", "d/x", "x/y/z"])
    async def test_missing(self, box: Box, path: str) -> None:
        box.make({"d": DIRECTORY})
        with box.refuses(NotFound) as found:
            await box.backend.stat(at(path))
        assert found[0].path == path

    async def test_beneath_a_file(self, box: Box) -> None:
        box.make({"f": b""})
        with box.refuses(NotDirectory):
            await box.backend.stat(at("f/x"))

    @pytest.mark.parametrize("kind", [Kind.FIFO, Kind.SOCKET, Kind.DEVICE])
    async def test_special_file(self, box: Box, kind: Kind) -> None:
        box.make({"s": kind})
        info = await box.backend.stat(at("s"), sha256=True)
        assert (info.type, info.sha256) == (kind.value, None)

    async def test_hard_links_are_counted(self, box: Box) -> None:
        box.make({"f": b"", "g": Hard("f"), "h": Hard("f")})
        assert (await box.backend.stat(at("f"))).links == 3

    async def test_revision_follows_changes(self, box: Box) -> None:
        box.make({"f": b"one"})
        before = (await box.backend.stat(at("f"))).revision
        assert (await box.backend.stat(at("f"))).revision == before
        box.make({"f": b"two"})
        assert (await box.backend.stat(at("f"))).revision != before

    async def test_root_as_programs_inside_see_it(self, box: Box) -> None:
        box.make({"f": b"", "l": Link(f"{await box.backend.root()}/f")})
        assert (await box.backend.stat(at("l"))).type == "file"

    async def test_absolute_paths_become_relative(self, box: Box) -> None:
        box.make({"../alias": Link("root"), "d/f": b"", "../root-evil/f": b""})
        root = await box.backend.root()
        assert await box.backend.relative(root) == at(".")
        assert await box.backend.relative(f"{root}/d/f") == at("d/f")
        assert await box.backend.relative(f"{root}/not/there") == at("not/there")
        assert await box.backend.relative(f"{root}/../alias/d") == at("d")
        for outside in ("/", f"{root}-evil/f", f"{root}/..", f"{root}/../outside", f"{root}/d/../../x"):
            assert await box.backend.relative(outside) is None
