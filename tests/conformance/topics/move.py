"""Moving: one rename, of the entry itself."""

from __future__ import annotations

import pytest

from devbox_mcp.errors import DevboxError, EscapesRoot, Exists, InvalidArgument, NotDirectory, NotEmpty, NotFound

from ..box import Box, at
from ..inside import DIRECTORY, Hard, Kind, Link
from .topic import Topic


class TestMove(Topic):
    async def test_file(self, box: Box) -> None:
        box.make({"f": b"four"})
        before = box.look("f")
        info = await box.backend.move(at("f"), at("g"))
        assert (info.path, info.type, info.size) == (at("g"), "file", 4)
        assert box.snapshot() == {"g": b"four"}
        assert box.look("g") == before

    async def test_directory(self, box: Box) -> None:
        box.make({"d/a/f": b"x", "d/l": Link("a/f")})
        info = await box.backend.move(at("d"), at("e"))
        assert (info.path, info.type) == (at("e"), "directory")
        assert box.snapshot() == {"e": DIRECTORY, "e/a": DIRECTORY, "e/a/f": b"x", "e/l": Link("a/f")}

    async def test_missing_parents_are_made(self, box: Box) -> None:
        box.make({"f": b"x"})
        await box.backend.move(at("f"), at("a/b/f"))
        assert box.snapshot() == {"a": DIRECTORY, "a/b": DIRECTORY, "a/b/f": b"x"}

    async def test_links_move_as_they_are(self, box: Box) -> None:
        box.make({"../beside/f": b"theirs", "d/f": b"x"})
        box.make({"l": Link("d/f"), "m": Link("gone"), "n": Link("../beside/f"), "o": Link("d")})
        for name in "lmno":
            info = await box.backend.move(at(name), at(f"d/{name}"))
            assert info.type == "symlink"
        assert box.snapshot("../root") == {
            "d": DIRECTORY,
            "d/f": b"x",
            "d/l": Link("d/f"),
            "d/m": Link("gone"),
            "d/n": Link("../beside/f"),
            "d/o": Link("d"),
        }
        assert box.snapshot("../beside") == {"f": b"theirs"}

    @pytest.mark.parametrize("kind", [Kind.FIFO, Kind.SOCKET, Kind.DEVICE])
    async def test_special_file(self, box: Box, kind: Kind) -> None:
        box.make({"s": kind})
        await box.backend.move(at("s"), at("t"))
        assert box.snapshot() == {"t": kind}

    async def test_something_is_there(self, box: Box) -> None:
        box.make({"f": b"x", "g": b"y", "d": DIRECTORY, "l": Link("g"), "m": Link("gone")})
        for path in ("g", "d", "l", "m"):
            with box.refuses(Exists):
                await box.backend.move(at("f"), at(path))

    async def test_overwrite_a_file(self, box: Box) -> None:
        box.make({"f": b"x", "g": b"y"})
        await box.backend.move(at("f"), at("g"), overwrite=True)
        assert box.snapshot() == {"g": b"x"}

    async def test_overwrite_with_nothing_there(self, box: Box) -> None:
        box.make({"f": b"x"})
        await box.backend.move(at("f"), at("g"), overwrite=True)
        assert box.snapshot() == {"g": b"x"}

    async def test_overwrite_replaces_a_link_itself(self, box: Box) -> None:
        box.make({"f": b"x", "g": b"y", "l": Link("g"), "../beside/f": b"theirs", "m": Link("../beside/f")})
        await box.backend.move(at("f"), at("l"), overwrite=True)
        await box.backend.move(at("l"), at("m"), overwrite=True)
        assert box.snapshot() == {"g": b"y", "m": b"x"}
        assert box.snapshot("../beside") == {"f": b"theirs"}

    async def test_overwrite_an_empty_directory(self, box: Box) -> None:
        box.make({"d/f": b"x", "e": DIRECTORY})
        await box.backend.move(at("d"), at("e"), overwrite=True)
        assert box.snapshot() == {"e": DIRECTORY, "e/f": b"x"}

    async def test_never_over_a_directory_with_entries(self, box: Box) -> None:
        box.make({"d/f": b"x", "e/g": b"y", "h": b"z"})
        with box.refuses(NotEmpty):
            await box.backend.move(at("d"), at("e"), overwrite=True)
        with box.refuses(*DevboxError.__subclasses__()):
            await box.backend.move(at("h"), at("e"), overwrite=True)

    async def test_into_itself(self, box: Box) -> None:
        box.make({"d/e": DIRECTORY, "l": Link("d")})
        for path in ("d/x", "d/e/x", "d/new/x", "l/x", "l/new/x"):
            with box.refuses(InvalidArgument):
                await box.backend.move(at("d"), at(path), overwrite=True)

    @pytest.mark.parametrize("overwrite", [False, True])
    async def test_onto_itself(self, box: Box, overwrite: bool) -> None:
        # a rename to another name of the same file would do nothing, and say that it did
        box.make({"f": b"x", "d/g": b"y", "h": Hard("f"), "l": Link("d")})
        for source, destination in (("f", "f"), ("d", "d"), ("d/g", "l/g")):
            with box.refuses(InvalidArgument):
                await box.backend.move(at(source), at(destination), overwrite=overwrite)
        with box.refuses(InvalidArgument, Exists):
            await box.backend.move(at("f"), at("h"), overwrite=overwrite)

    @pytest.mark.parametrize("overwrite", [False, True])
    async def test_onto_a_parent(self, box: Box, overwrite: bool) -> None:
        box.make({"d/e/f": b"x"})
        with box.refuses(*DevboxError.__subclasses__()):
            await box.backend.move(at("d/e"), at("d"), overwrite=overwrite)

    async def test_never_the_root(self, box: Box) -> None:
        box.make({"d/f": b"x"})
        with box.refuses(InvalidArgument):
            await box.backend.move(at("."), at("e"))
        with box.refuses(*DevboxError.__subclasses__()):
            await box.backend.move(at("d"), at("."), overwrite=True)

    async def test_missing(self, box: Box) -> None:
        box.make({"f": b"x"})
        for path in ("gone", "gone/x"):
            with box.refuses(NotFound):
                await box.backend.move(at(path), at("a/b"))

    async def test_beneath_a_file(self, box: Box) -> None:
        box.make({"f": b"x", "g": b"y"})
        with box.refuses(NotDirectory):
            await box.backend.move(at("f"), at("g/f"))
        with box.refuses(NotDirectory):
            await box.backend.move(at("g/f"), at("h"))

    async def test_not_through_a_link_out(self, box: Box) -> None:
        box.make({"../beside/f": b"theirs", "l": Link("../beside"), "f": b"x"})
        with box.refuses(EscapesRoot):
            await box.backend.move(at("f"), at("l/g"))
        with box.refuses(EscapesRoot):
            await box.backend.move(at("l/f"), at("g"))
