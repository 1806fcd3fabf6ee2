"""Watching: from a cursor on, nothing is missed and nothing comes twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from devbox_mcp.errors import InvalidArgument, NotFound
from devbox_mcp.models import Capability, Event

from ..box import Box, at
from ..inside import DIRECTORY, Link
from .topic import Topic

Change = tuple[str, str]


class Follower:
    """Follows the changes beneath a path, call by call."""

    def __init__(self, box: Box, path: str = ".", recursive: bool = True, limit: int = 1000) -> None:
        self._box = box
        self._path = path
        self._recursive = recursive
        self._limit = limit
        self._cursor: str | None = None
        self.events: list[Event] = []

    async def next(self, timeout: float) -> bool:
        """Ask once; whether something came."""
        found = await self._box.backend.watch(
            at(self._path), cursor=self._cursor, timeout=timeout, recursive=self._recursive, limit=self._limit
        )
        assert not found.resync
        assert len(found.events) <= self._limit
        self._cursor = found.cursor
        self.events += found.events
        return bool(found.events)

    async def until(self, *changes: Change) -> list[Change]:
        """Follow until each of the changes has come, and return all that came since the last call."""
        start = len(self.events)
        with anyio.move_on_after(20):
            while not set(changes) <= set(self.changes(start)):
                await self.next(1)
        found = self.changes(start)
        assert set(changes) <= set(found), found
        return found

    def changes(self, start: int = 0) -> list[Change]:
        return [(event.type, event.path.text) for event in self.events[start:]]


async def _follow(box: Box, path: str = ".", recursive: bool = True, limit: int = 1000) -> Follower:
    follower = Follower(box, path, recursive, limit)
    assert not await follower.next(0)
    return follower


class TestWatch(Topic):
    capability = Capability.WATCH

    async def test_starts_now(self, box: Box) -> None:
        box.make({"old": b""})
        await (await _follow(box)).until()

    async def test_what_another_program_does(self, box: Box) -> None:
        box.make({"d/f": b"1"})
        follower = await _follow(box)
        box.make({"d/new": b""})
        await follower.until(("created", "d/new"))
        box.make({"d/f": b"2"})
        await follower.until(("modified", "d/f"))
        box.inside.remove("d/f")
        await follower.until(("deleted", "d/f"))

    async def test_what_the_backend_does(self, box: Box) -> None:
        box.make({"f": b"1"})
        follower = await _follow(box)
        await box.backend.write(at("new"), b"x")
        await follower.until(("created", "new"))
        await box.backend.write(at("f"), b"2")
        await follower.until(("modified", "f"))
        await box.backend.delete(at("f"))
        await follower.until(("deleted", "f"))
        assert {event.path.text for event in follower.events} == {"new", "f"}

    async def test_a_move_has_both_names(self, box: Box) -> None:
        box.make({"a/f": b"", "b": DIRECTORY, "d/x": b""})
        follower = await _follow(box)
        box.inside.rename("a/f", "b/g")
        await follower.until(("moved", "b/g"))
        assert follower.events[-1].source == at("a/f")
        box.inside.rename("d", "e")
        await follower.until(("moved", "e"))
        assert (follower.events[-1].source, follower.events[-1].directory) == (at("d"), True)
        box.make({"e/new": b""})
        await follower.until(("created", "e/new"))

    async def test_in_and_out_of_what_is_watched(self, box: Box) -> None:
        box.make({"a/f": b"", "b/g": b""})
        follower = await _follow(box, "a")
        box.inside.rename("a/f", "f")
        await follower.until(("deleted", "a/f"))
        box.inside.rename("b/g", "a/g")
        await follower.until(("created", "a/g"))

    async def test_a_new_directory_with_all_that_came_into_it(self, box: Box) -> None:
        follower = await _follow(box)
        box.make({"a/b/c": b"", "a/b/d/e": b""})
        await follower.until(("created", "a"), ("created", "a/b"), ("created", "a/b/c"), ("created", "a/b/d/e"))
        box.make({"a/b/d/late": b""})
        await follower.until(("created", "a/b/d/late"))

    async def test_between_two_calls_nothing_is_missed_and_nothing_comes_twice(self, box: Box) -> None:
        follower = await _follow(box)
        expected = []
        for number in range(30):
            # in the order of their names, which is all that a backend which looks again can know
            box.make({f"f{number:02}": b""})
            expected.append(("created", f"f{number:02}"))
            if number % 7 == 0:
                await follower.next(0)
        await follower.until(expected[-1])
        created = [change for change in follower.changes() if change[0] == "created"]
        assert created == expected

    async def test_pages(self, box: Box) -> None:
        follower = await _follow(box, limit=4)
        box.make({f"f{number}": b"" for number in range(10)})
        await follower.until(("created", "f9"))
        assert [change for change in follower.changes() if change[0] == "created"] == [
            ("created", f"f{number}") for number in range(10)
        ]

    async def test_an_older_cursor_answers_the_same_again(self, box: Box) -> None:
        start = (await box.backend.watch(at("."), timeout=0)).cursor
        box.make({"f": b""})
        for _ in range(2):
            cursor, seen = start, set()
            with anyio.move_on_after(20):
                while ("created", "f") not in seen:
                    found = await box.backend.watch(at("."), cursor=cursor, timeout=1)
                    cursor = found.cursor
                    seen |= {(event.type, event.path.text) for event in found.events}
            assert ("created", "f") in seen

    async def test_waits_for_the_first_change(self, box: Box) -> None:
        cursor = (await box.backend.watch(at("."), timeout=0)).cursor

        async def change() -> None:
            await anyio.sleep(0.2)
            box.make({"f": b""})

        async with anyio.create_task_group() as group:
            group.start_soon(change)
            found = await box.backend.watch(at("."), cursor=cursor, timeout=30)
        assert ("created", "f") in [(event.type, event.path.text) for event in found.events]

    async def test_not_recursive(self, box: Box) -> None:
        box.make({"d/e/f": b""})
        follower = await _follow(box, "d", recursive=False)
        box.make({"d/e/new": b"", "d/new": b"", "new": b""})
        await follower.until(("created", "d/new"))
        assert "d/e/new" not in {event.path.text for event in follower.events}

    async def test_elsewhere_is_not_told(self, box: Box) -> None:
        box.make({"a/f": b"", "b/f": b"", "a-b/f": b""})
        follower = await _follow(box, "a")
        box.make({"b/new": b"", "a-b/new": b"", "a/new": b""})
        await follower.until(("created", "a/new"))
        assert {event.path.text for event in follower.events} == {"a/new"}

    async def test_links_are_not_followed(self, box: Box) -> None:
        box.make({"../beside/f": b"", "d/l": Link("../../beside")})
        follower = await _follow(box)
        box.make({"../beside/secret": b"", "d/new": b""})
        await follower.until(("created", "d/new"))
        assert not [event for event in follower.events if "secret" in event.path.text]

    async def test_an_unknown_cursor_answers_resync(self, box: Box, open_box: Callable[..., Awaitable[Box]]) -> None:
        other = await open_box()
        box.make({"d": DIRECTORY})
        for path in ("d", "."):
            cursor = (await other.backend.watch(at(path), timeout=0)).cursor
            found = await box.backend.watch(at("."), cursor=cursor, timeout=0)
            assert (found.resync, found.events) == (True, [])
            assert not (await box.backend.watch(at("."), cursor=found.cursor, timeout=0)).resync

    async def test_what_is_no_cursor(self, box: Box) -> None:
        good = (await box.backend.watch(at("."), timeout=0)).cursor
        for cursor in ("", "nonsense", "0", f"{good}x", f" {good}", "-1", "\0", "é" * 500, "9" * 5000):
            with box.refuses(InvalidArgument):
                await box.backend.watch(at("."), cursor=cursor, timeout=0)

    async def test_missing(self, box: Box) -> None:
        with box.refuses(NotFound):
            await box.backend.watch(at("gone"), timeout=0)
