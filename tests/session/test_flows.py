"""What may be on its way of a stream, as the server's end sees it."""

from __future__ import annotations

import pytest

from devbox_mcp.errors import Unavailable
from devbox_mcp.guest.frames import EXTRA_DOWN, EXTRA_UP, ROOM, WINDOW, FrameError
from devbox_mcp.guest.streams import Room
from devbox_mcp.session.flows import Inflow, Outflow

HALF = bytes(WINDOW // 2)


def inflow(granted: list[int], room: Room) -> Inflow:
    return Inflow("read", "f", granted.append, room)


async def begun(room: Room) -> tuple[Inflow, list[int]]:
    """A stream of which half a window was taken."""
    granted: list[int] = []
    stream = inflow(granted, room)
    stream.feed(HALF)
    await stream.next()
    return stream, granted


async def test_a_stream_begins_with_a_window_and_gets_more_once_it_is_long() -> None:
    stream, granted = await begun(Room())
    assert granted == [len(HALF) + EXTRA_DOWN]
    for _ in range((WINDOW + EXTRA_DOWN) // len(HALF)):
        stream.feed(HALF)
    with pytest.raises(FrameError):
        stream.feed(b"x")


async def test_a_stream_that_is_not_taken_gets_nothing() -> None:
    granted: list[int] = []
    stream = inflow(granted, Room())
    for _ in range(2):
        stream.feed(HALF)
    assert granted == []
    with pytest.raises(FrameError):
        stream.feed(b"x")


async def test_many_streams_share_what_they_get_beyond_their_windows() -> None:
    room = Room()
    streams = [await begun(room) for _ in range(ROOM // EXTRA_DOWN + 2)]
    assert sum(sum(granted) for _, granted in streams) == len(streams) * len(HALF) + ROOM
    streams[0][0].end({"length": len(HALF), "sha256": ""})
    streams[1][0].fail(Unavailable("read", "f", "gone"))
    assert room.take(ROOM) == 2 * EXTRA_DOWN


def test_more_credit_than_a_guest_would_give_makes_no_sense() -> None:
    Outflow().add(WINDOW + EXTRA_UP)
    with pytest.raises(FrameError):
        Outflow().add(WINDOW + EXTRA_UP + 1)
