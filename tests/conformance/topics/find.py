"""Finding entries by name."""

from __future__ import annotations

import pytest

from devbox_mcp.errors import InvalidArgument, NotDirectory, NotFound
from devbox_mcp.guest.names import OWN_PREFIX
from devbox_mcp.models import Capability

from ..box import Box, at
from ..inside import DIRECTORY, MADE, Link
from .topic import Topic

PROJECT = {
    "src/app.py": b"",
    "src/deep/er/util.py": b"",
    "src/app.txt": b"",
    "test/app.py": b"",
    "README.md": b"",
}


async def _find(box: Box, pattern: str, path: str = ".", *, ignored: bool = False) -> list[str]:
    found = await box.backend.find(at(path), pattern, ignored=ignored)
    assert (found.after, found.timed_out, found.unreadable) == (None, False, 0)
    return [entry.path.text for entry in found.entries]


class TestFind(Topic):
    capability = Capability.SEARCH

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("*.py", ["src/app.py", "src/deep/er/util.py", "test/app.py"]),
            ("app.*", ["src/app.py", "src/app.txt", "test/app.py"]),
            ("src/*.py", ["src/app.py"]),
            ("src/**/*.py", ["src/app.py", "src/deep/er/util.py"]),
            ("**/er/*", ["src/deep/er/util.py"]),
            ("*/app.{py,txt}", ["src/app.py", "src/app.txt", "test/app.py"]),
            ("[!a]*.md", ["README.md"]),
            ("?ee?", ["src/deep"]),
            ("nothing", []),
        ],
    )
    async def test_patterns(self, box: Box, pattern: str, expected: list[str]) -> None:
        box.make(PROJECT)
        assert await _find(box, pattern) == expected

    async def test_anchored_where_the_search_starts(self, box: Box) -> None:
        box.make(PROJECT)
        assert await _find(box, "deep/**/*.py", "src") == ["src/deep/er/util.py"]
        assert await _find(box, "src/*.py", "src") == []

    async def test_entries_are_described(self, box: Box) -> None:
        box.make({"d/f": b"four", "d/l": Link("f")})
        file, link = (await box.backend.find(at("."), "d/*")).entries
        assert (file.path, file.type, file.size) == (at("d/f"), "file", 4)
        assert file.modified == pytest.approx(MADE, abs=1e-3)
        assert (link.type, link.target) == ("symlink", "f")

    async def test_newest_first(self, box: Box) -> None:
        box.make({"a": b"", "b": b"", "c/d": b""})
        for path, age in (("a", 30), ("b", 10), ("c/d", 20)):
            box.inside.give(path, modified=MADE + 100 - age)
        box.inside.give("c", modified=MADE)
        found = await box.backend.find(at("."), "*", sort="newest")
        assert [entry.path.text for entry in found.entries] == ["b", "c/d", "a", "c"]

    @pytest.mark.parametrize("limit", [1, 2, 3, 5, 6])
    async def test_pages_join_to_the_whole(self, box: Box, limit: int) -> None:
        box.make(dict.fromkeys(("a/1", "a/2", "a-", "b/c/3", "\n"), b""))
        box.make({"b/x": DIRECTORY})
        whole = await _find(box, "*")
        found, after = [], None
        while True:
            page = await box.backend.find(at("."), "*", limit=limit, after=after)
            assert len(page.entries) <= limit
            found += [entry.path.text for entry in page.entries]
            after = page.after
            if after is None:
                break
        assert found == whole
        assert len(whole) == 9

    async def test_ignored_files_on_request_only(self, box: Box) -> None:
        box.make({".gitignore": b"*.log\n/build/\n!keep.log\n", "a.log": b"", "keep.log": b"", "build/x.py": b""})
        box.make({"sub/build/y.py": b"", "sub/.gitignore": b"y.py\n", "sub/z.py": b"", ".git/config.py": b""})
        assert await _find(box, "*.py") == ["sub/z.py"]
        assert await _find(box, "*.log") == ["keep.log"]
        assert await _find(box, "*.py", ignored=True) == [".git/config.py", "build/x.py", "sub/build/y.py", "sub/z.py"]

    async def test_ignore_rules_above_the_start_count(self, box: Box) -> None:
        box.make({".gitignore": b"*.log\n/sub/secret/\n", "sub/a.log": b"", "sub/b": b"", "sub/secret/c": b""})
        assert await _find(box, "*", "sub") == ["sub/b"]

    async def test_links_and_temporaries(self, box: Box) -> None:
        box.make({"d/f": b"", "l": Link("d"), "up": Link(".."), f"d/{OWN_PREFIX}part-1": b""})
        assert await _find(box, "*") == ["d", "d/f", "l", "up"]
        (through,) = await _find(box, "*", "l")
        assert await box.read(through) == b""

    async def test_wrong_start(self, box: Box) -> None:
        box.make({"f": b""})
        with box.refuses(NotDirectory):
            await box.backend.find(at("f"), "*")
        with box.refuses(NotFound):
            await box.backend.find(at("gone"), "*")

    async def test_bad_pattern(self, box: Box) -> None:
        for pattern in ("", "\0"):
            with box.refuses(InvalidArgument):
                await box.backend.find(at("."), pattern)

    async def test_a_pattern_cannot_take_for_ever(self, box: Box) -> None:
        box.make({"a" * 200: b""})
        assert await _find(box, "*a" * 60 + "b") == []
