"""The root deleted or moved away while it is open, and the backend closed."""

from __future__ import annotations

from devbox_mcp.errors import DevboxError, Unavailable

from ..box import Box
from ..inside import DIRECTORY, Entry
from .operations import CHANGES, NAMES, all_refuse, offered
from .topic import Topic


class TestGone(Topic):
    async def test_the_root_was_deleted(self, box: Box) -> None:
        box.make({"d/f": b"x", "f": b"x"})
        box.inside.remove(".")
        await all_refuse(box, ["f", "d/f"], Unavailable)
        await all_refuse(box, ["."], Unavailable, names=NAMES - CHANGES)

    async def test_another_directory_took_its_name(self, box: Box) -> None:
        box.make({"../other/f": b"theirs", "../other/source": b"theirs", "../other/d/f": b"theirs", "f": b"x"})
        box.inside.remove(".")
        box.inside.rename("../other", "../root")
        await all_refuse(box, ["f", "d/f"], Unavailable)

    async def test_moved_away_nothing_happens_at_its_old_name(self, box: Box) -> None:
        box.make({"f": b"mine", "source": b"mine"})
        box.inside.rename("../root", "../moved")
        theirs: dict[str, Entry] = {"f": b"theirs", "source": b"theirs", "d": DIRECTORY}
        box.make({f"../root/{path}": entry for path, entry in theirs.items()})
        for operation in offered(box):
            for path in ("f", "d/f", "new/f"):
                try:
                    result = await operation.run(box, path)
                except DevboxError:
                    continue
                assert "theirs" not in repr(result)
        assert box.snapshot("../root") == theirs

    async def test_closed(self, box: Box) -> None:
        box.make({"f": b"x"})
        await box.backend.aclose()
        await box.backend.aclose()
        await all_refuse(box, ["f"], Unavailable)
