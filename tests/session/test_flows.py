"""What may be on its way of a stream, as the server's end sees it."""

from __future__ import annotations

import pytest

from devbox_mcp.errors import Integrity, Unavailable
from devbox_mcp.guest.frames import EXTRA_UP, ROOM, WINDOW, FrameError
from devbox_mcp.guest.streams import Intake, Room
from devbox_mcp.session.flows import Inflow, Outflow

EXTRA = 3 * WINDOW
HALF = bytes(WINDOW // 2)


def inflow(granted: list[int], room: Room | None = None) -> Inflow:
    return Inflow("read", "f", granted.append, Intake(room or Room(), EXTRA, lambda: 0.0))


async def test_a_stream_begins_with_a_window_and_gets_more_where_it_is_fast() -> None:
    granted: list[int] = []
    stream = inflow(granted)
    stream.feed(HALF)
    await stream.next()
    assert granted == [len(HALF) + EXTRA]
    for _ in range((WINDOW + EXTRA) // len(HALF)):
        stream.feed(HALF)
    with pytest.raises(FrameError):
        stream.feed(b"x")


async def test_a_stream_that_is_not_taken_gets_nothing() -> None:
    granted: list[int] = []
    stream = inflow(granted)
    for _ in range(2):
        stream.feed(HALF)
    assert granted == []
    with pytest.raises(FrameError):
        stream.feed(b"x")


@pytest.mark.parametrize("how", ["ended", "failed", "dropped"])
async def test_a_stream_leaves_its_room_to_others_when_nothing_of_it_is_held_any_more(how: str) -> None:
    room = Room()
    stream = inflow([], room)
    stream.feed(HALF)
    await stream.next()
    assert room.take(ROOM) == ROOM - EXTRA
    stream.feed(HALF)
    if how == "failed":
        stream.fail(Unavailable("read", "f", "gone"))
    else:
        stream.end({"length": 2 * len(HALF), "sha256": ""})
    assert room.take(ROOM) == 0
    if how == "dropped":
        stream.drop()
    else:
        assert await stream.next() == HALF
        with pytest.raises(Unavailable if how == "failed" else Integrity):
            await stream.next()
    assert room.take(ROOM) == EXTRA


def test_more_credit_than_a_guest_would_give_makes_no_sense() -> None:
    Outflow().add(WINDOW + EXTRA_UP)
    with pytest.raises(FrameError):
        Outflow().add(WINDOW + EXTRA_UP + 1)
