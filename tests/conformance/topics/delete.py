"""Deleting: the entry itself, and nothing that it points at."""

from __future__ import annotations

import pytest

from devbox_mcp.errors import DevboxError, InvalidArgument, NotDirectory, NotEmpty, NotFound
from devbox_mcp.guest.names import OWN_PREFIX

from ..box import Box, at, sha256
from ..inside import DIRECTORY, Hard, Kind, Link
from .topic import Topic


class TestDelete(Topic):
    async def test_file(self, box: Box) -> None:
        box.make({"d/f": b"x", "d/g": b"y"})
        assert await box.backend.delete(at("d/f")) == 1
        assert box.snapshot() == {"d": DIRECTORY, "d/g": b"y"}

    async def test_empty_directory(self, box: Box) -> None:
        box.make({"d": DIRECTORY})
        assert await box.backend.delete(at("d")) == 1
        assert box.snapshot() == {}

    async def test_directory_with_entries(self, box: Box) -> None:
        box.make({"d/f": b"x"})
        with box.refuses(NotEmpty):
            await box.backend.delete(at("d"))

    async def test_recursive(self, box: Box) -> None:
        box.make({"d/a/b/f": b"x", "d/g": b"y", "d/e": DIRECTORY, "d/l": Link("g"), "keep": b"z"})
        assert await box.backend.delete(at("d"), recursive=True) == 7
        assert box.snapshot() == {"keep": b"z"}

    async def test_recursive_of_a_file(self, box: Box) -> None:
        box.make({"f": b"x"})
        assert await box.backend.delete(at("f"), recursive=True) == 1

    async def test_the_link_goes_and_its_target_stays(self, box: Box) -> None:
        box.make({"d/f": b"x", "l": Link("d"), "m": Link("d/f"), "n": Link("gone"), "o": Link("../beside")})
        box.make({"../beside/f": b"theirs"})
        for path in ("l", "m", "n", "o"):
            assert await box.backend.delete(at(path), recursive=True) == 1
        assert box.snapshot("..") == {
            "root": DIRECTORY,
            "root/d": DIRECTORY,
            "root/d/f": b"x",
            "beside": DIRECTORY,
            "beside/f": b"theirs",
        }

    async def test_recursion_does_not_follow_links(self, box: Box) -> None:
        box.make({"../beside/f": b"theirs", "kept/f": b"x"})
        box.make({"d/l": Link("../../beside"), "d/m": Link("../kept"), "d/n": Link("..")})
        assert await box.backend.delete(at("d"), recursive=True) == 4
        assert box.snapshot() == {"kept": DIRECTORY, "kept/f": b"x"}
        assert box.snapshot("../beside") == {"f": b"theirs"}

    async def test_through_a_link_on_the_way(self, box: Box) -> None:
        box.make({"d/f": b"x", "l": Link("d")})
        await box.backend.delete(at("l/f"))
        assert box.snapshot() == {"d": DIRECTORY, "l": Link("d")}

    async def test_one_of_several_hard_links(self, box: Box) -> None:
        box.make({"f": b"x", "g": Hard("f")})
        await box.backend.delete(at("f"))
        assert box.snapshot() == {"g": b"x"}

    @pytest.mark.parametrize("kind", [Kind.FIFO, Kind.SOCKET, Kind.DEVICE])
    async def test_special_file(self, box: Box, kind: Kind) -> None:
        box.make({"s": kind, "d/s": kind})
        await box.backend.delete(at("s"))
        await box.backend.delete(at("d"), recursive=True)
        assert box.snapshot() == {}

    async def test_very_deep(self, box: Box) -> None:
        box.make({"/".join(["d"] * 300) + "/f": b"x"})
        assert await box.backend.delete(at("d"), recursive=True) == 301
        assert box.snapshot() == {}

    async def test_wide(self, box: Box) -> None:
        box.make({f"d/{number}/f": b"" for number in range(120)})
        assert await box.backend.delete(at("d"), recursive=True) == 241
        assert box.snapshot() == {}

    async def test_left_over_temporaries_go_with_their_directory(self, box: Box) -> None:
        box.make({f"d/{OWN_PREFIX}part-1": b"", f"d/{OWN_PREFIX}trash-2/x": b"", "d/f": b""})
        await box.backend.delete(at("d"), recursive=True)
        assert box.snapshot() == {}

    @pytest.mark.parametrize("recursive", [False, True])
    async def test_never_the_root(self, box: Box, recursive: bool) -> None:
        with box.refuses(InvalidArgument):
            await box.backend.delete(at("."), recursive=recursive)
        box.make({"d/f": b"x", "l": Link(".."), "d/up": Link("..")})
        with box.refuses(InvalidArgument):
            await box.backend.delete(at("."), recursive=recursive)

    async def test_missing(self, box: Box) -> None:
        box.make({"d/f": b"x"})
        for path in ("gone", "d/gone", "gone/f"):
            with box.refuses(NotFound):
                await box.backend.delete(at(path), recursive=True)
        with box.refuses(NotDirectory):
            await box.backend.delete(at("d/f/g"))

    async def test_a_directory_has_no_version_to_match(self, box: Box) -> None:
        box.make({"d": DIRECTORY})
        with box.refuses(*DevboxError.__subclasses__()):
            await box.backend.delete(at("d"), if_match=sha256(b""))

    async def test_a_name_that_was_deleted_is_free(self, box: Box) -> None:
        box.make({"f": b"x"})
        await box.backend.delete(at("f"))
        await box.backend.mkdir(at("f"))
        assert box.snapshot() == {"f": DIRECTORY}
