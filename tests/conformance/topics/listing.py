"""Listing directories."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

import pytest

from devbox_mcp.errors import InvalidArgument, NotDirectory, NotFound
from devbox_mcp.guest.names import OWN_PREFIX

from ..box import Box, at
from ..inside import DIRECTORY, MADE, Kind, Link
from .topic import Topic


class TestList(Topic):
    async def test_empty_directory(self, box: Box) -> None:
        page = await box.backend.list(at("."))
        assert (page.entries, page.after, page.unreadable) == ([], None, [])

    async def test_names_in_the_order_of_their_bytes(self, box: Box) -> None:
        names = ["a", "B", "ä", "-x", ".hidden", " ", "a.b", "a b", "Z", "10", "9", "\U0001f600", "\uffee"]
        box.make(dict.fromkeys(names, b""))
        assert await box.names() == sorted(names, key=os.fsencode)

    async def test_depth_and_parents_first(self, box: Box) -> None:
        box.make({"a/b/c/d": b"", "a-b": b"", "a/b.txt": b"", "z": DIRECTORY})
        assert await box.names() == ["a", "a-b", "z"]
        assert await box.names(depth=2) == ["a", "a/b", "a/b.txt", "a-b", "z"]
        assert await box.names("a", depth=3) == ["a/b", "a/b/c", "a/b/c/d", "a/b.txt"]

    async def test_types_and_targets(self, box: Box) -> None:
        box.make({"d": DIRECTORY, "f": b"", "l": Link("d"), "p": Kind.FIFO, "s": Kind.SOCKET, "x": Link("gone")})
        page = await box.backend.list(at("."))
        assert [(entry.path.text, entry.type, entry.target) for entry in page.entries] == [
            ("d", "directory", None),
            ("f", "file", None),
            ("l", "symlink", "d"),
            ("p", "fifo", None),
            ("s", "socket", None),
            ("x", "symlink", "gone"),
        ]

    async def test_details(self, box: Box) -> None:
        box.make({"f": b"four", "l": Link("f")})
        box.inside.give("f", mode=0o600)
        file, link = (await box.backend.list(at("."), details=True)).entries
        assert (file.size, file.mode, file.links) == (4, 0o600, 1)
        assert file.modified == pytest.approx(MADE, abs=1e-3)
        assert (link.type, link.target) == ("symlink", "f")

    async def test_links_are_not_entered(self, box: Box) -> None:
        box.make({"d/f": b"", "l": Link("d"), "up": Link(".."), "here": Link(".")})
        assert await box.names(depth=9) == ["d", "d/f", "here", "l", "up"]

    async def test_through_a_link_entries_keep_the_name_that_was_asked_for(self, box: Box) -> None:
        box.make({"d/e/f": b"", "l": Link("d")})
        assert await box.names("l", depth=2) == ["l/e", "l/e/f"]
        page = await box.backend.list(at("l"), depth=2, limit=1)
        page = await box.backend.list(at("l"), depth=2, after=page.after)
        assert [entry.path.text for entry in page.entries] == ["l/e/f"]

    async def test_glob(self, box: Box) -> None:
        box.make({"a/x.py": b"", "a/x.txt": b"", "y.py": b"", "b/c/z.py": b""})
        page = await box.backend.list(at("."), depth=5, glob="*.py")
        assert [entry.path.text for entry in page.entries] == ["a/x.py", "b/c/z.py", "y.py"]
        page = await box.backend.list(at("b"), depth=5, glob="c/*")
        assert [entry.path.text for entry in page.entries] == ["b/c/z.py"]

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
    async def test_pages_join_to_the_whole(self, box: Box, limit: int) -> None:
        box.make({"a/1": b"", "a/2/x": b"", "b": b"", "c/\n": b"", "c-": b""})
        whole = await box.names(depth=3)
        assert len(whole) == 8
        found, after, pages = [], None, 0
        while True:
            page = await box.backend.list(at("."), depth=3, limit=limit, after=after)
            found += [entry.path.text for entry in page.entries]
            pages += 1
            if page.after is None:
                break
            assert len(page.entries) == limit
            after = page.after
        assert found == whole
        assert pages == -(-len(whole) // limit)

    async def test_resumes_behind_what_is_gone(self, box: Box) -> None:
        box.make({"a/1": b"", "a/2": b"", "b": b""})
        page = await box.backend.list(at("."), depth=2, limit=2)
        assert page.after == at("a/1")
        box.inside.remove("a")
        page = await box.backend.list(at("."), depth=2, after=page.after)
        assert [entry.path.text for entry in page.entries] == ["b"]

    async def test_pages_with_a_glob(self, box: Box) -> None:
        box.make({f"{name}.{end}": b"" for name in "abcd" for end in ("py", "txt")})
        page = await box.backend.list(at("."), glob="*.py", limit=3)
        assert [entry.path.text for entry in page.entries] == ["a.py", "b.py", "c.py"]
        page = await box.backend.list(at("."), glob="*.py", limit=3, after=page.after)
        assert [entry.path.text for entry in page.entries] == ["d.py"]
        assert page.after is None

    async def test_many_entries(self, box: Box) -> None:
        names = [f"{number:04}" for number in range(300)]
        box.make({f"d/{name}": b"" for name in names})
        page = await box.backend.list(at("d"), limit=300)
        assert [entry.path.name for entry in page.entries] == names

    async def test_own_temporaries_are_hidden(self, box: Box) -> None:
        box.make({f"{OWN_PREFIX}part-1": b"", f"d/{OWN_PREFIX}trash-2/x": b"", "d/f": b""})
        assert await box.names(depth=4) == ["d", "d/f"]

    async def test_a_deep_tree_is_listed_or_said_to_be_too_deep(self, box: Box) -> None:
        box.make({"/".join(["d"] * 300): DIRECTORY})
        page = await box.backend.list(at("."), depth=400)
        assert len(page.entries) == 300 or page.unreadable == [page.entries[-1].path]

    async def test_file(self, box: Box) -> None:
        box.make({"f": b"", "l": Link("f")})
        for path in ("f", "l"):
            with box.refuses(NotDirectory):
                await box.backend.list(at(path))

    async def test_missing(self, box: Box) -> None:
        box.make({"l": Link("gone")})
        for path in ("gone", "l", "gone/x"):
            with box.refuses(NotFound):
                await box.backend.list(at(path))

    async def test_bad_glob(self, box: Box) -> None:
        with box.refuses(InvalidArgument):
            await box.backend.list(at("."), glob="")

    async def test_cursor_of_another_listing(self, box: Box) -> None:
        box.make({"a/x": b"", "b/x": b""})
        with box.refuses(InvalidArgument):
            await box.backend.list(at("b"), after=at("a/x"))

    async def test_unreadable_directory_is_named(self, box: Box) -> None:
        box.make({"closed/x": b"", "open/x": b""})
        box.inside.give("closed", mode=0)
        box.make({"d/closed": DIRECTORY, "l": Link("d")})
        box.inside.give("d/closed", mode=0)
        with box.inside.unprivileged():
            page = await box.backend.list(at("."), depth=3)
            linked = await box.backend.list(at("l"), depth=3)
        assert [entry.path.text for entry in page.entries] == ["closed", "d", "d/closed", "l", "open", "open/x"]
        assert page.unreadable == [at("closed"), at("d/closed")]
        assert linked.unreadable == [at("l/closed")]

    async def test_no_mode_closes_a_directory_to_root(self, box: Box) -> None:
        await box.backend.write(at("d/closed/f"), b"x")
        if box.look("d/closed/f").uid != 0:
            pytest.skip("the backend is not root")
        box.inside.give("d/closed", mode=0)
        page = await box.backend.list(at("."), depth=3)
        assert [entry.path.text for entry in page.entries] == ["d", "d/closed", "d/closed/f"]
        assert page.unreadable == []
        assert await box.names("d/closed") == ["d/closed/f"]
        with box.refuses(NotFound):
            await box.backend.stat(at("d/closed/gone/f"))
        await box.backend.copy(at("d"), at("e"))
        assert await box.read("e/closed/f") == b"x"


class TestNamesOnly(Topic):
    """``names`` tells what ``list`` tells, and no more."""

    async def _agree(self, box: Box, path: str, depth: int, glob: str | None, limit: int) -> None:
        """Go through both page by page."""
        cursor, after = None, None
        while True:
            page = await box.backend.list(at(path), depth=depth, glob=glob, limit=limit, after=cursor)
            names = await box.backend.names(at(path), depth=depth, glob=glob, limit=limit, after=after)
            assert names.names == [
                entry.path.below(at(path)) + ("/" if entry.type == "directory" else "") for entry in page.entries
            ]
            assert names.targets == {
                entry.path.below(at(path)): entry.target for entry in page.entries if entry.target is not None
            }
            assert names.after == (None if page.after is None else page.after.below(at(path)))
            assert names.unreadable == page.unreadable
            cursor, after = page.after, names.after
            if after is None:
                return

    @pytest.mark.parametrize("path", [".", "a", "a/b", "l", "a/up"])
    async def test_the_same_as_in_a_list(self, box: Box, path: str) -> None:
        box.make(
            {"a/b/c": b"", "a/b-/c": b"", "a/B": b"", "a/\n": b"", "a/é": b"", "a/\udcff": b"", "a/empty": DIRECTORY}
        )
        box.make(
            {"z": Kind.FIFO, "l": Link("a"), "a/up": Link(".."), "gone": Link("nowhere"), "out": Link("../beside")}
        )
        box.make({f"{OWN_PREFIX}part-1": b"", f"a/{OWN_PREFIX}part-1": b""})
        for depth in (1, 2, 5):
            for glob in (None, "*b*", "b/*"):
                for limit in (1, 2, 3, 100):
                    await self._agree(box, path, depth, glob, limit)

    async def test_what_is_denied_is_hidden(self, open_box: Callable[..., Awaitable[Box]]) -> None:
        box = await open_box(deny=["secret", "*.key"])
        box.make({"a/secret/f": b"", "a/x.key": b"", "a/x": b"", "secret": b"", "y.key": b"", "y": b""})
        assert (await box.backend.names(at("."))).names == ["a/", "y"]
        assert (await box.backend.names(at("."), depth=3)).names == ["a/", "a/x", "y"]

    async def test_cursor_of_another_listing(self, box: Box) -> None:
        box.make({"a": b""})
        for after in ("..", "../x", "", "\0", "/a", "a/"):
            with box.refuses(InvalidArgument):
                await box.backend.names(at("."), after=after)
