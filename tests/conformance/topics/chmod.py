"""Permission bits."""

from __future__ import annotations

from devbox_mcp.errors import EscapesRoot, InvalidArgument, NotFound

from ..box import Box, at
from ..inside import Link
from .topic import Topic


class TestChmod(Topic):
    async def test_file(self, box: Box) -> None:
        box.make({"f": b"x"})
        assert await box.backend.chmod(at("f"), 0o751) == 1
        assert box.look("f").mode == 0o751

    async def test_directory_alone(self, box: Box) -> None:
        box.make({"d/f": b"x"})
        before = box.look("d/f").mode
        assert await box.backend.chmod(at("d"), 0o700) == 1
        assert (box.look("d").mode, box.look("d/f").mode) == (0o700, before)

    async def test_recursive_and_never_through_links(self, box: Box) -> None:
        box.make({"kept": b"x", "../beside/f": b"theirs", "d/a/f": b"x"})
        box.make({"d/l": Link("../kept"), "d/m": Link("../../beside"), "d/n": Link("gone")})
        kept, theirs = box.look("kept"), box.look("../beside/f")
        assert await box.backend.chmod(at("d"), 0o750, recursive=True) == 3
        assert [box.look(path).mode for path in ("d", "d/a", "d/a/f")] == [0o750] * 3
        assert (box.look("kept"), box.look("../beside/f")) == (kept, theirs)

    async def test_the_path_itself_is_followed(self, box: Box) -> None:
        box.make({"f": b"x", "l": Link("f")})
        await box.backend.chmod(at("l"), 0o600)
        assert box.look("f").mode == 0o600

    async def test_not_through_a_link_out(self, box: Box) -> None:
        box.make({"../beside/f": b"theirs", "l": Link("../beside/f"), "m": Link("../beside")})
        before = box.look("../beside/f").mode
        for path in ("l", "m", "m/f"):
            with box.refuses(EscapesRoot):
                await box.backend.chmod(at(path), 0o777, recursive=True)
        assert box.look("../beside/f").mode == before

    async def test_no_other_bits_than_permissions(self, box: Box) -> None:
        box.make({"f": b"x"})
        before = box.look("f").mode
        for mode in (0o4755, 0o2755, 0o6755, 0o10644, 0o100644, -1):
            with box.refuses(InvalidArgument):
                await box.backend.chmod(at("f"), mode)
        assert box.look("f").mode == before

    async def test_missing(self, box: Box) -> None:
        box.make({"l": Link("gone")})
        for path in ("gone", "l"):
            with box.refuses(NotFound):
                await box.backend.chmod(at(path), 0o600)
