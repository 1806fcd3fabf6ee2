"""Copying: all or nothing, links as links."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from devbox_mcp.errors import (
    DevboxError,
    EscapesRoot,
    Exists,
    InvalidArgument,
    NotDirectory,
    NotFound,
    PermissionDenied,
)
from devbox_mcp.guest.names import OWN_PREFIX

from ..box import Box, at
from ..inside import DIRECTORY, Entry, Hard, Link
from .topic import Topic

LARGE = random.Random(9).randbytes(3 * 1024 * 1024 + 1)


class TestCopy(Topic):
    @pytest.mark.parametrize("data", [b"", b"four", LARGE], ids=["empty", "small", "large"])
    async def test_file(self, box: Box, data: bytes) -> None:
        box.make({"f": data})
        box.inside.give("f", mode=0o750)
        info = await box.backend.copy(at("f"), at("a/g"))
        assert (info.path, info.type, info.size, info.mode) == (at("a/g"), "file", len(data), 0o750)
        assert box.snapshot() == {"f": data, "a": DIRECTORY, "a/g": data}
        assert box.look("a/g").mode == 0o750
        assert box.look("a/g").inode != box.look("f").inode

    async def test_directory(self, box: Box) -> None:
        tree: dict[str, Entry] = {
            "a": DIRECTORY,
            "a/f": b"x",
            "a/e": DIRECTORY,
            "a/l": Link("f"),
            "a/m": Link("gone"),
            "g": LARGE,
        }
        box.make({f"d/{path}": entry for path, entry in tree.items()})
        box.make({"../beside/f": b"theirs", "d/n": Link("../../beside/f"), "d/o": Link("..")})
        box.inside.give("d/a/f", mode=0o700)
        box.inside.give("d/a/e", mode=0o711)
        info = await box.backend.copy(at("d"), at("e/copy"))
        assert (info.path, info.type) == (at("e/copy"), "directory")
        assert box.snapshot("e/copy") == {**tree, "n": Link("../../beside/f"), "o": Link("..")}
        assert box.snapshot("d") == box.snapshot("e/copy")
        assert (box.look("e/copy/a/f").mode, box.look("e/copy/a/e").mode) == (0o700, 0o711)

    async def test_a_copy_of_hard_links_is_another_file(self, box: Box) -> None:
        box.make({"d/f": b"x", "d/g": Hard("d/f")})
        await box.backend.copy(at("d"), at("e"))
        await box.backend.write(at("d/f"), b"changed", in_place=True)
        assert box.snapshot("e") == {"f": b"x", "g": b"x"}

    async def test_temporaries_are_left_out(self, box: Box) -> None:
        box.make({"d/f": b"x", f"d/{OWN_PREFIX}part-1": b"half"})
        await box.backend.copy(at("d"), at("e"))
        assert box.snapshot("e") == {"f": b"x"}

    async def test_something_is_there(self, box: Box) -> None:
        box.make({"f": b"x", "g": b"y", "d": DIRECTORY, "e/x": b"", "l": Link("g")})
        for source, destination in (("f", "g"), ("f", "d"), ("f", "l"), ("e", "d"), ("e", "f")):
            with box.refuses(Exists):
                await box.backend.copy(at(source), at(destination))

    async def test_overwrite_a_file(self, box: Box) -> None:
        box.make({"f": b"x", "g": b"y"})
        await box.backend.copy(at("f"), at("g"), overwrite=True)
        assert box.snapshot() == {"f": b"x", "g": b"x"}

    async def test_overwrite_never_merges_or_drops_a_directory_with_entries(self, box: Box) -> None:
        box.make({"d/f": b"x", "e/g": b"y", "h": b"z"})
        for source in ("d", "h"):
            with box.refuses(*DevboxError.__subclasses__()):
                await box.backend.copy(at(source), at("e"), overwrite=True)

    async def test_into_itself(self, box: Box) -> None:
        box.make({"d/f": b"x", "l": Link("d")})
        for path in ("d/x", "d/new/x", "l/x", "l/new/x"):
            with box.refuses(InvalidArgument):
                await box.backend.copy(at("d"), at(path))
        with box.refuses(InvalidArgument):
            await box.backend.copy(at("."), at("e"))

    @pytest.mark.parametrize("overwrite", [False, True])
    async def test_onto_itself_loses_nothing(self, box: Box, overwrite: bool) -> None:
        box.make({"f": b"x", "d/g": b"y", "h": Hard("f")})
        before = box.snapshot()
        for source, destination in (("f", "f"), ("d", "d"), ("f", "h")):
            with suppress(DevboxError):
                await box.backend.copy(at(source), at(destination), overwrite=overwrite)
            assert box.snapshot() == before

    async def test_missing(self, box: Box) -> None:
        box.make({"f": b"x"})
        for path in ("gone", "gone/x"):
            with box.refuses(NotFound):
                await box.backend.copy(at(path), at("a/b"))
        with box.refuses(NotDirectory):
            await box.backend.copy(at("f/x"), at("g"))
        with box.refuses(NotDirectory):
            await box.backend.copy(at("f"), at("f/x"))

    async def test_not_through_a_link_out(self, box: Box) -> None:
        box.make({"../beside/f": b"theirs", "l": Link("../beside"), "f": b"x"})
        with box.refuses(EscapesRoot):
            await box.backend.copy(at("f"), at("l/g"))
        with box.refuses(EscapesRoot):
            await box.backend.copy(at("l/f"), at("g"))

    async def test_what_cannot_be_read_whole_is_not_copied_at_all(self, box: Box) -> None:
        box.make({"w": DIRECTORY, "w/d/a": b"x", "w/d/closed/f": b"y"})
        box.inside.give("w", mode=0o777)
        box.inside.give("w/d/closed", mode=0)
        before = box.snapshot()
        with box.inside.unprivileged(), pytest.raises(PermissionDenied):
            await box.backend.copy(at("w/d"), at("w/e"))
        assert box.snapshot() == before

    async def test_very_deep(self, box: Box) -> None:
        box.make({"/".join(["d"] * 200) + "/f": b"x"})
        await box.backend.copy(at("d"), at("e"))
        assert box.snapshot("e") == box.snapshot("d")
