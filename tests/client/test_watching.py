"""Watching: nothing that changes after it began is missed, or it says so."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from pathlib import Path

import pytest

from devbox_mcp import AsyncDevbox, Devbox, Event, errors


def test_a_decorated_function_is_called_with_every_change(box: Devbox, root: Path) -> None:
    seen: queue.SimpleQueue[Event] = queue.SimpleQueue()

    @box.fs.watch(".")
    def on_change(event: Event) -> None:
        seen.put(event)

    assert callable(on_change)
    box.fs.write_file("a.txt", "x")
    event = seen.get(timeout=30)
    assert (event.type, event.path, event.directory) == ("created", "a.txt", False)
    box.fs.move("a.txt", "b.txt")
    moved = seen.get(timeout=30)
    while moved.type == "modified":
        moved = seen.get(timeout=30)
    assert (moved.type, moved.path, moved.source) == ("moved", "b.txt", "a.txt")


def test_a_handler_may_use_the_box_and_may_fail(box: Devbox, caplog: pytest.LogCaptureFixture) -> None:
    seen: queue.SimpleQueue[str] = queue.SimpleQueue()
    caplog.set_level(logging.ERROR)

    box.fs.make_dir("in")

    @box.fs.watch("in")
    def on_change(event: Event) -> None:
        if event.path == "in/bad":
            raise ZeroDivisionError
        seen.put(box.fs.read_file(event.path))

    box.fs.write_file("in/bad", "")
    box.fs.write_file("in/good", "hello")
    assert seen.get(timeout=30) == "hello"
    assert "a handler of changes failed at created in/bad" in caplog.text


def test_an_iteration_begins_where_the_watch_was_made(box: Devbox, root: Path) -> None:
    with box.fs.watch() as changes:
        for name in ("a", "b", "c"):
            (root / name).mkdir()
        assert [(event.type, event.path) for event in (next(changes) for _ in range(3))] == [
            ("created", "a"), ("created", "b"), ("created", "c"),
        ]  # fmt: skip
        threading.Timer(0.1, changes.close).start()
        assert list(changes) == []
    assert list(changes) == []


def test_what_is_not_below_is_not_told(box: Devbox) -> None:
    box.fs.make_dir("in/deep")
    with box.fs.watch("in", recursive=False) as changes:
        box.fs.write_file("out", "x")
        box.fs.write_file("in/deep/x", "x")
        box.fs.make_dir("in/new")
        while (event := next(changes)).path == "in/deep":
            continue
        assert event.path == "in/new"


def test_what_cannot_be_watched_is_told_at_once(box: Devbox) -> None:
    with pytest.raises(errors.NotFound):
        box.fs.watch("missing")


def test_lost_changes_are_an_event(box: Devbox, root: Path) -> None:
    with box.fs.watch() as changes, Devbox(root) as other, other.fs.watch() as elsewhere:
        changes._feed._cursor = elsewhere._feed._cursor  # of another journal, as after a restart
        assert next(changes) == Event("resync", ".", directory=True)
        (root / "a").mkdir()
        assert next(changes).path == "a"


@pytest.mark.anyio
async def test_the_asynchronous_face_watches_in_three_ways(devbox: str, root: Path) -> None:
    async with AsyncDevbox(devbox) as box:
        handled: asyncio.Queue[str] = asyncio.Queue()
        started = box.fs.watch()

        async with box.fs.watch() as changes:

            @started
            async def on_change(event: Event) -> None:
                await handled.put(event.path)

            await started._feed.start()
            (root / "a").mkdir()
            async for event in changes:
                assert event.path == "a"
                break
        assert await handled.get() == "a"
        assert [event async for event in changes] == []
        waiting = asyncio.ensure_future(anext(box.fs.watch()))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
