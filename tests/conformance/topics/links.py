"""Symbolic links: followed while they stay beneath the root, whatever they are written like."""

from __future__ import annotations

import pytest

from devbox_mcp.errors import EscapesRoot, TooManyLinks

from ..box import Box, at
from ..inside import DIRECTORY, Link
from .operations import all_refuse
from .topic import Topic


class TestLinks(Topic):
    @pytest.mark.parametrize(
        ("link", "target"),
        [
            ("l", "d/e/f"),
            ("l", "./d//e/./f"),
            ("l", "d/e/../e/f"),
            ("d/l", "e/f"),
            ("d/e/l", "../../d/e/f"),
            ("l", "{root}/d/e/f"),
            ("d/e/l", "{root}/d/../d/e/f"),
            ("l", "{root}/../alias/d/e/f"),
            ("l", "{root}/d/turn/../e/f"),
            ("l", "d/turn/../e/f"),
        ],
    )
    async def test_followed_beneath_the_root(self, box: Box, link: str, target: str) -> None:
        # `turn/..` is the parent of what the link leads to, not the link's own
        box.make({"d/e/f": b"data", "d/sub": DIRECTORY, "d/turn": Link("sub"), "../alias": Link("root")})
        box.make({link: Link(target.format(root=await box.backend.root()))})
        assert await box.read(link) == b"data"

    async def test_dots_count_from_where_a_link_leads(self, box: Box) -> None:
        root = await box.backend.root()
        box.make({"a/f": b"right", "f": b"wrong", "a/b": DIRECTORY, "turn": Link("a/b")})
        box.make({"relative": Link("turn/../f"), "absolute": Link(f"{root}/turn/../f")})
        assert await box.read("relative") == b"right"
        assert await box.read("absolute") == b"right"

    @pytest.mark.parametrize("start", ["", "{root}/"])
    async def test_at_most_40_in_a_row(self, box: Box, start: str) -> None:
        start = start.format(root=await box.backend.root())
        box.make({"0": b"data", **{str(number): Link(f"{start}{number - 1}") for number in range(1, 42)}})
        assert await box.read("40") == b"data"
        with box.refuses(TooManyLinks):
            await box.backend.read(at("41"))

    async def test_a_loop_ends(self, box: Box) -> None:
        box.make({"source": b"", "a": Link("b"), "b": Link("a"), "self": Link("self"), "up": Link("up/up")})
        await all_refuse(box, ["a/x", "self/x", "up/x"], TooManyLinks)

    async def test_to_the_root_and_to_the_way_back(self, box: Box) -> None:
        root = await box.backend.root()
        box.make({"d/e/f": b"", "d/e/up": Link(".."), "d/top": Link("../"), "top": Link(root), "here": Link(".")})
        assert await box.names("d/e/up") == ["d/e/up/e", "d/e/up/top"]
        for path in ("d/top", "top", "here", "d/top/top/here"):
            assert await box.names(path) == [f"{path}/d", f"{path}/here", f"{path}/top"]
        assert await box.read("d/e/up/top/top/d/e/f") == b""

    @pytest.mark.parametrize(
        "target",
        [
            "../beside",
            "{root}/../beside",
            "{root}-evil",
            "/",
            "..",
            "d/../../beside",
            "/proc/self/root",
            "/proc/self/cwd/..",
        ],
    )
    async def test_never_followed_out(self, box: Box, target: str) -> None:
        root = await box.backend.root()
        base, name = root.split("/")[-2:]
        box.make({"../beside/f": b"theirs", f"../{name}-evil/f": b"theirs", "d/up": Link(".."), "source": b"mine"})
        box.make({"l": Link(target.format(root=root)), "d/l": Link("../l")})
        for error in await all_refuse(box, ["l/f", "l/new/f", "d/l/f"], EscapesRoot):
            assert base not in str(error)
            assert "beside" not in str(error)

    async def test_a_last_link_out_is_not_followed_either(self, box: Box) -> None:
        box.make({"../beside/f": b"theirs", "l": Link("../beside"), "m": Link("../beside/f"), "n": Link("../gone")})
        followed = {
            "stat",
            "hash",
            "list",
            "names",
            "read",
            "write",
            "append",
            "in place",
            "mkdir",
            "chmod",
            "lines",
            "batch",
        }
        await all_refuse(box, ["l", "m", "n"], EscapesRoot, names=followed)
        await all_refuse(box, ["l"], EscapesRoot, names={"find", "search", "watch"})
