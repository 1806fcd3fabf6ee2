"""Making directories."""

from __future__ import annotations

from devbox_mcp.errors import EscapesRoot, Exists, NotDirectory

from ..box import Box, at
from ..inside import DIRECTORY, Kind, Link
from .topic import Topic


class TestMkdir(Topic):
    async def test_new(self, box: Box) -> None:
        assert await box.backend.mkdir(at("d")) is True
        assert box.snapshot() == {"d": DIRECTORY}
        assert box.look("d").mode == 0o777 & ~box.inside.umask()

    async def test_with_parents(self, box: Box) -> None:
        assert await box.backend.mkdir(at("a/b/c")) is True
        assert box.snapshot() == {"a": DIRECTORY, "a/b": DIRECTORY, "a/b/c": DIRECTORY}

    async def test_there_already(self, box: Box) -> None:
        box.make({"d/f": b"x", "l": Link("d")})
        for path in ("d", "l", "."):
            assert await box.backend.mkdir(at(path)) is False
        assert box.snapshot() == {"d": DIRECTORY, "d/f": b"x", "l": Link("d")}

    async def test_something_else_is_there(self, box: Box) -> None:
        box.make({"f": b"", "l": Link("f"), "p": Kind.FIFO})
        for path in ("f", "l", "p"):
            with box.refuses(Exists):
                await box.backend.mkdir(at(path))

    async def test_beneath_a_file(self, box: Box) -> None:
        box.make({"f": b""})
        for path in ("f/d", "f/d/e"):
            with box.refuses(NotDirectory):
                await box.backend.mkdir(at(path))

    async def test_through_a_link(self, box: Box) -> None:
        box.make({"d": DIRECTORY, "l": Link("d")})
        assert await box.backend.mkdir(at("l/a/b")) is True
        assert box.snapshot() == {"d": DIRECTORY, "l": Link("d"), "d/a": DIRECTORY, "d/a/b": DIRECTORY}

    async def test_not_through_a_link_out(self, box: Box) -> None:
        box.make({"../beside": DIRECTORY, "l": Link("../beside"), "m": Link("../beside/new")})
        for path in ("l/a", "l", "m", "m/a"):
            with box.refuses(EscapesRoot):
                await box.backend.mkdir(at(path))

    async def test_very_deep(self, box: Box) -> None:
        path = "/".join(["d"] * 300)
        assert await box.backend.mkdir(at(path)) is True
        assert box.snapshot()[path] is DIRECTORY
