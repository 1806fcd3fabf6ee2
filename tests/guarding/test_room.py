"""Room that requests share: nobody waits for ever, nobody takes all, and what is given back is there again."""

from __future__ import annotations

import asyncio
import random

import pytest
from starlette.types import Message

from devbox_mcp.errors import Cancelled, Unavailable
from devbox_mcp.servers.guarding.room import Room, Share

LONG = 3600.0


async def _settled() -> None:
    """Let every task run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


def _taking(share: Share, size: int) -> asyncio.Task[None]:
    return asyncio.create_task(share.take(size))


async def test_who_finds_room_does_not_wait_and_who_does_not_waits_for_it() -> None:
    room = Room(100, LONG)
    first, second = room.share("a"), room.share("b")
    await first.take(60)
    waiting = _taking(second, 60)
    await _settled()
    assert not waiting.done()
    assert room.is_wanted
    first.give_back()
    await waiting
    assert not room.is_wanted


async def test_what_needs_more_than_there_is_gets_all_there_is_alone() -> None:
    room = Room(100, LONG)
    first, second = room.share("a"), room.share("b")
    await first.take(1000)
    waiting = _taking(second, 1)
    await _settled()
    assert not waiting.done()
    first.give_back()
    await waiting


async def test_a_caller_who_holds_some_gets_no_more_than_half() -> None:
    room = Room(100, LONG)
    mine = [room.share("a") for _ in range(3)]
    for share in mine[:2]:
        await share.take(25)
    waiting = _taking(mine[2], 1)
    await _settled()
    assert not waiting.done()
    # there is room all the same, for others
    await room.share("b").take(50)
    mine[0].give_back()
    await waiting


async def test_who_holds_least_comes_first() -> None:
    room = Room(100, LONG)
    greedy = [room.share("a") for _ in range(4)]
    await greedy[0].take(40)
    await greedy[1].take(10)
    full = room.share("c")
    await full.take(50)
    waits = [_taking(greedy[2], 10), _taking(greedy[3], 10)]
    await _settled()
    modest = _taking(room.share("b"), 10)
    await _settled()
    greedy[1].give_back()
    await modest
    await _settled()
    assert [task.done() for task in waits] == [False, False]
    full.give_back()
    await _settled()
    assert [task.done() for task in waits] == [True, False]
    waits[1].cancel()
    await asyncio.wait(waits)


async def test_many_who_need_little_do_not_pass_by_who_needs_much() -> None:
    room = Room(100, LONG)
    small = [room.share(f"s{number}") for number in range(10)]
    for share in small:
        await share.take(10)
    large = _taking(room.share("large"), 90)
    await _settled()
    late = [_taking(room.share(f"late{number}"), 10) for number in range(3)]
    for share in small[:8]:
        share.give_back()
    await _settled()
    assert not large.done()
    assert not any(task.done() for task in late)
    small[8].give_back()
    await large
    assert not any(task.done() for task in late)
    for task in late:
        task.cancel()
    await asyncio.wait(late)


async def test_who_waits_too_long_is_told_and_leaves_nothing_behind() -> None:
    room = Room(100, 0.01)
    holder = room.share("a")
    await holder.take(100)
    with pytest.raises(Unavailable, match="room"):
        await room.share("b").take(100)
    assert not room.is_wanted
    holder.give_back()
    await room.share("c").take(100)


async def test_who_goes_away_stops_waiting() -> None:
    room = Room(100, LONG)
    holder = room.share("a")
    await holder.take(100)
    gone = asyncio.Event()

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    waiting = asyncio.create_task(room.share("b").take(100, receive))
    await _settled()
    gone.set()
    with pytest.raises(Cancelled):
        await waiting
    assert not room.is_wanted


async def test_who_is_cancelled_at_the_moment_it_gets_room_gives_it_back() -> None:
    room = Room(100, LONG)
    holder, share = room.share("a"), room.share("b")
    await holder.take(100)
    waiting = _taking(share, 100)
    await _settled()
    holder.give_back()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await room.share("c").take(100)


async def test_who_does_not_want_to_wait_is_told_whether_there_is_room() -> None:
    room = Room(100, LONG)
    first, second, third = room.share("a"), room.share("a"), room.share("b")
    assert first.takes(50)
    assert first.takes(40)
    # no more than half for one caller
    assert not second.takes(1)
    assert not third.takes(60)
    waiting = _taking(room.share("c"), 80)
    await _settled()
    # nobody comes before who waits
    assert not third.takes(10)
    first.give_back()
    await waiting
    assert third.takes(20)


async def test_who_needs_more_than_he_has_does_not_hold_it_while_he_waits() -> None:
    room = Room(100, LONG)
    shares = [room.share("a"), room.share("b")]
    for share in shares:
        await share.take(50)
    # each wants all: whoever held on to his half would wait for the other for ever
    grown = [_taking(share, 100) for share in shares]
    await asyncio.wait(grown, return_when=asyncio.FIRST_COMPLETED)
    shares[[task.done() for task in grown].index(True)].give_back()
    await asyncio.gather(*grown)


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_is_asked_and_given_up_all_room_is_there_in_the_end(seed: int) -> None:
    chance = random.Random(seed)
    room = Room(100, LONG)

    async def use(who: str) -> None:
        share = room.share(who)
        try:
            for _ in range(5):
                await share.take(chance.randrange(1, 130))
                await asyncio.sleep(0)
        finally:
            share.give_back()

    tasks = [asyncio.create_task(use(chance.choice("abc"))) for _ in range(30)]
    for _ in range(60):
        await asyncio.sleep(0)
        chance.choice(tasks).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not room.is_wanted
    await room.share("last").take(100)
