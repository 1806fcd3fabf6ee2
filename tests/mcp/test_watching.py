"""watch: what changed, by cursors that miss nothing and repeat nothing."""

import asyncio
import os
import time
from typing import Any

import pytest

from tests.mcp.door import Door


async def start(door: Door, **arguments: Any) -> str:
    """Return a cursor from now on."""
    answer = await door.call("watch", timeout=0, **arguments)
    assert answer.data["events"] == []
    assert answer.data["resync"] is False
    cursor: str = answer.data["cursor"]
    assert cursor in answer.text
    return cursor


async def changes(door: Door, cursor: str, until: int = 1, **arguments: Any) -> tuple[list[dict[str, Any]], str]:
    """Return events since a cursor, from as many calls as they take, and the cursor behind them."""
    events: list[dict[str, Any]] = []
    for _ in range(20):
        answer = await door.call("watch", cursor=cursor, timeout=2, **arguments)
        assert answer.data["resync"] is False
        events += answer.data["events"]
        cursor = answer.data["cursor"]
        if len(events) >= until and not answer.data["more"]:
            break
    return events, cursor


async def test_without_a_cursor_it_starts_now_and_timeout_0_answers_at_once(door: Door) -> None:
    door.make({"old.txt": "old"})
    started = time.monotonic()
    answer = await door.call("watch", timeout=0)
    assert time.monotonic() - started < 2
    assert answer.data["events"] == []
    assert answer.lines[0] == "(no change)"
    assert f"cursor={answer.data['cursor']}" in answer.lines[-1]


async def test_a_waiting_call_ends_with_the_first_change(door: Door) -> None:
    cursor = await start(door)
    started = time.monotonic()
    waiting = asyncio.create_task(door.call("watch", cursor=cursor, timeout=30))
    await asyncio.sleep(0.3)
    door.make({"new.txt": "x"})
    answer = await waiting
    assert time.monotonic() - started < 20
    assert answer.data["events"][0] == {"type": "created", "path": "new.txt"}
    assert answer.lines[0] == "created new.txt"


async def test_each_kind_of_change_is_told_with_its_names(door: Door) -> None:
    door.make({"a.txt": "a", "b.txt": "b", "c.txt": "c"})
    cursor = await start(door)
    (door.box / "a.txt").write_text("changed")
    events, cursor = await changes(door, cursor)
    assert events == [{"type": "modified", "path": "a.txt"}]
    (door.box / "b.txt").unlink()
    events, cursor = await changes(door, cursor)
    assert events == [{"type": "deleted", "path": "b.txt"}]
    (door.box / "c.txt").rename(door.box / "d.txt")
    events, cursor = await changes(door, cursor)
    assert events == [{"type": "moved", "path": "d.txt", "source": "c.txt"}]
    (door.box / "dir").mkdir()
    events, cursor = await changes(door, cursor)
    assert events == [{"type": "created", "path": "dir/"}]
    door.make({"dir/e.txt": "e"})
    events, cursor = await changes(door, cursor)
    assert events[0] == {"type": "created", "path": "dir/e.txt"}
    answer = await door.call("watch", cursor=cursor, timeout=0)
    assert answer.data["events"] == []


async def test_changes_by_the_tools_are_seen_and_temporaries_are_not(door: Door) -> None:
    cursor = await start(door)
    for tool, arguments, expected in [
        ("write_file", {"path": "a.txt", "content": "one"}, [("created", "a.txt")]),
        ("write_file", {"path": "a.txt", "content": "two"}, [("modified", "a.txt")]),
        ("edit_file", {"path": "a.txt", "edits": [{"old_text": "o", "new_text": "0"}]}, [("modified", "a.txt")]),
        ("move", {"source": "a.txt", "destination": "b.txt"}, [("moved", "b.txt")]),
        ("copy", {"source": "b.txt", "destination": "c.txt"}, [("created", "c.txt")]),
        ("delete", {"path": "b.txt"}, [("deleted", "b.txt")]),
    ]:
        await door.call(tool, **arguments)
        events, cursor = await changes(door, cursor)
        assert [(event["type"], event["path"]) for event in events] == expected


async def test_cursors_miss_nothing_and_repeat_nothing(door: Door) -> None:
    cursor = await start(door)
    made: list[str] = []
    seen: list[str] = []
    for burst in range(5):
        for number in range(20):
            name = f"f{burst}-{number:02d}.txt"
            (door.box / name).mkdir()
            made.append(name + "/")
        for _ in range(10):
            answer = await door.call("watch", cursor=cursor, timeout=1, limit=7)
            assert len(answer.data["events"]) <= 7
            assert answer.data["resync"] is False
            assert answer.data["more"] == ("more events are waiting" in answer.text)
            seen += [event["path"] for event in answer.data["events"]]
            cursor = answer.data["cursor"]
            if not answer.data["more"]:
                break
    answer = await door.call("watch", cursor=cursor, timeout=0, limit=1000)
    seen += [event["path"] for event in answer.data["events"]]
    assert seen == made


async def test_an_old_cursor_can_be_used_again(door: Door) -> None:
    cursor = await start(door)
    door.make({"a.txt": "a"})
    first, _ = await changes(door, cursor)
    again, _ = await changes(door, cursor)
    assert first == again[: len(first)]


async def test_a_directory_can_be_watched_alone_or_with_what_is_beneath(door: Door) -> None:
    door.make({"in/deep": None, "beside": None})
    flat = await start(door, path="in", recursive=False)
    deep = await start(door, path="in")
    door.make({"beside/x.txt": "x", "in/deep/y.txt": "y"})
    (door.box / "in/z").mkdir()
    events, _ = await changes(door, flat, path="in", recursive=False)
    assert [event["path"] for event in events if event["type"] == "created"] == ["in/z/"]
    events, _ = await changes(door, deep, path="in", until=2)
    created = [event["path"] for event in events if event["type"] == "created"]
    assert created == ["in/deep/y.txt", "in/z/"]


async def test_an_unknown_cursor_says_resync(door: Door) -> None:
    cursor = await start(door)
    for strange in ("nonsense", cursor[::-1], cursor + "0" * 30, ""):
        answer = await door.mixed_or_refused("watch", cursor=strange, timeout=0)
        if not answer.result.is_error:
            assert answer.data["resync"] is True
            assert "list the directory again" in answer.text
        else:
            assert "[invalid_argument]" in answer.text


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"path": "missing"}, "not_found"),
        ({"path": "../"}, "escapes_root"),
        ({"path": "out"}, "escapes_root"),
        ({"timeout": -1}, "invalid_argument"),
        ({"timeout": 61}, "invalid_argument"),
        ({"limit": 0}, "invalid_argument"),
        ({"limit": 1001}, "invalid_argument"),
        ({"timeout": "soon"}, "invalid_argument"),
    ],
)
async def test_what_cannot_be_watched_is_refused(door: Door, arguments: dict[str, object], code: str) -> None:
    (door.box / "out").symlink_to("..")
    assert f"[{code}]" in await door.refused("watch", **arguments)


async def test_many_calls_wait_at_once_and_others_are_answered(door: Door) -> None:
    cursor = await start(door)
    waiting = [asyncio.create_task(door.call("watch", cursor=cursor, timeout=20)) for _ in range(12)]
    await asyncio.sleep(0.2)
    door.make({"a.txt": "a"})
    assert (await door.call("read_file", path="a.txt", line_numbers=False)).texts[0] == "a"
    for task in waiting:
        assert (await task).data["events"][0]["path"] == "a.txt"


async def test_names_that_are_no_line_of_text_come_as_uris(door: Door) -> None:
    cursor = await start(door)
    (door.box / "two\nlines").mkdir()
    os.mkdir(os.fsencode(door.box) + b"/\xff")
    events, _ = await changes(door, cursor, until=2)
    assert [event["path"] for event in events] == [door.uri("two%0Alines") + "/", door.uri("%FF") + "/"]
