"""Searching text."""

from __future__ import annotations

from typing import Any

import pytest

from devbox_mcp.errors import InvalidArgument, NotFound
from devbox_mcp.guest.names import OWN_PREFIX
from devbox_mcp.models import Capability, Gap

from ..box import Box, at
from ..inside import Link
from .topic import Topic

POEM = b"one fish\ntwo fish\nred fish\nblue fish\n"


async def _places(box: Box, pattern: str, path: str = ".", **options: Any) -> list[tuple[str, int]]:
    found = await box.backend.search(at(path), pattern, **options)
    assert (found.after, found.timed_out, found.unreadable) == (None, False, 0)
    return [(match.path.text, match.line) for match in found.matches]


class TestSearch(Topic):
    capability = Capability.SEARCH

    async def test_lines_in_order(self, box: Box) -> None:
        box.make({"b": POEM, "a/z": POEM, "c": b"no match"})
        found = await box.backend.search(at("."), "fish|FISH")
        assert [(match.path.text, match.line) for match in found.matches] == [
            (path, line) for path in ("a/z", "b") for line in (1, 2, 3, 4)
        ]
        assert found.matches[1].text == "two fish"

    @pytest.mark.parametrize(
        ("pattern", "options", "lines"),
        [
            (r"^\w{3} f", {}, [1, 2, 3]),
            (r"(?i)TWO", {}, [2]),
            ("TWO", {}, []),
            ("TWO", {"ignore_case": True}, [2]),
            ("fish$", {}, [1, 2, 3, 4]),
            ("w.", {"regex": False}, []),
            ("o f", {"regex": False}, [2]),
            (r"\bre", {}, [3]),
        ],
    )
    async def test_patterns(self, box: Box, pattern: str, options: dict[str, Any], lines: list[int]) -> None:
        box.make({"f": POEM})
        assert await _places(box, pattern, **options) == [("f", line) for line in lines]

    async def test_literal_text_has_no_special_characters(self, box: Box) -> None:
        box.make({"f": b"a.b\naxb\n(a|b)*[x\\\n$(touch canary) -e\n"})
        for text, line in ((".b", 1), ("(a|b)*[x\\", 3), ("$(touch canary)", 4), ("-e", 4)):
            assert await _places(box, text, regex=False) == [("f", line)]
        assert list(box.snapshot()) == ["f"]

    async def test_context(self, box: Box) -> None:
        box.make({"f": POEM})
        (match,) = (await box.backend.search(at("."), "two", context=2)).matches
        assert (match.before, match.text, match.after) == (["one fish"], "two fish", ["red fish", "blue fish"])

    async def test_line_endings(self, box: Box) -> None:
        box.make({"crlf": b"a\r\nneedle\r\n", "last": b"x\nneedle"})
        found = await box.backend.search(at("."), "needle$")
        assert [(match.path.text, match.line, match.text) for match in found.matches] == [
            ("crlf", 2, "needle"),
            ("last", 2, "needle"),
        ]

    async def test_glob_and_start(self, box: Box) -> None:
        box.make({"a/x.py": POEM, "a/x.txt": POEM, "b/x.py": POEM})
        assert await _places(box, "red", glob="*.py") == [("a/x.py", 3), ("b/x.py", 3)]
        assert await _places(box, "red", "a") == [("a/x.py", 3), ("a/x.txt", 3)]

    async def test_one_file(self, box: Box) -> None:
        box.make({"f": POEM, "g": POEM})
        assert await _places(box, "red", "f") == [("f", 3)]

    async def test_binary_files_are_skipped_and_counted(self, box: Box) -> None:
        box.make({"bin": b"needle\0\n", "late": b"needle\n" + b"x" * 100 + b"\0", "text": b"needle\n"})
        found = await box.backend.search(at("."), "needle")
        assert [match.path for match in found.matches] == [at("text")]
        assert found.skipped_binary == 2

    async def test_text_that_is_not_utf_8(self, box: Box) -> None:
        box.make({"latin": b"caf\xe9 needle\n"})
        (match,) = (await box.backend.search(at("."), "needle")).matches
        assert match.text.endswith("needle")
        match.text.encode()

    async def test_ignored_files_on_request_only(self, box: Box) -> None:
        box.make({".gitignore": b"*.log\n", "a.log": POEM, "b": POEM, ".git/c": POEM})
        assert await _places(box, "red") == [("b", 3)]
        assert await _places(box, "red", ignored=True) == [(".git/c", 3), ("a.log", 3), ("b", 3)]

    async def test_links_and_temporaries(self, box: Box) -> None:
        box.make({"../beside/f": POEM, "d/f": POEM, f"d/{OWN_PREFIX}part-1": POEM})
        box.make({"l": Link("d"), "m": Link("d/f"), "o": Link("../beside"), "p": Link("../beside/f")})
        assert await _places(box, "red") == [("d/f", 3)]

    @pytest.mark.parametrize("limit", [1, 2, 3, 4, 6, 7])
    async def test_pages_join_to_the_whole(self, box: Box, limit: int) -> None:
        box.make({"a": b"x\nx\nx\n", "b/c": b"x\n", "d": b"-\nx\nx\n"})
        whole = await _places(box, "x")
        found, after = [], None
        while True:
            page = await box.backend.search(at("."), "x", limit=limit, after=after)
            assert len(page.matches) <= limit
            found += [(match.path.text, match.line) for match in page.matches]
            after = page.after
            if after is None:
                break
        assert found == whole
        assert len(whole) == 6

    async def test_a_long_line_is_shortened_around_the_match(self, box: Box) -> None:
        box.make({"f": b"x" * 100_000 + b"needle" + b"y" * 100_000})
        (match,) = (await box.backend.search(at("."), "needle")).matches
        assert "needle" in match.text
        assert len(match.text) < 5000

    async def test_an_explosive_pattern_ends_by_the_deadline(self, box: Box) -> None:
        box.make({"f": b"a=b" + b"a" * 500_000 + b"!\n"})
        assert await _places(box, "a!") == [("f", 1)]  # whatever searches has started
        # while this is matched against a long word, not even a signal is looked out for
        found = await box.backend.search(at("."), r"\w+=\d", seconds=1)
        assert (found.timed_out, found.after) == (True, None)
        # and the next one is served as ever
        assert await _places(box, "a!") == [("f", 1)]

    async def test_a_line_that_explodes_is_given_up_and_told(self, box: Box) -> None:
        box.make({"a": b"a" * 60 + b"!\n", "b": b"a\n"})
        found = await box.backend.search(at("."), "(a+)+$", seconds=300)
        assert [(match.path.text, match.line) for match in found.matches] == [("b", 1)]
        assert found.gaps == [Gap(at("a"), 1, "slow")]
        assert (found.after, found.timed_out) == (None, False)

    async def test_a_line_that_is_not_searched_to_its_end_is_told(self, box: Box) -> None:
        box.make({"f": b"short\n" + b"x" * (1 << 20) + b"needle\nneedle\n"})
        found = await box.backend.search(at("."), "needle")
        assert [match.line for match in found.matches] == [3]
        assert found.gaps == [Gap(at("f"), 2, "long")]

    @pytest.mark.parametrize("pattern", ["(", "[", "*", "(?P<n>", "a{2,1}"])
    async def test_bad_pattern(self, box: Box, pattern: str) -> None:
        with box.refuses(InvalidArgument):
            await box.backend.search(at("."), pattern)

    async def test_missing(self, box: Box) -> None:
        with box.refuses(NotFound):
            await box.backend.search(at("gone"), "x")
