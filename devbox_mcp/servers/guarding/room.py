"""Memory and disk that requests share: each waits until there is room for what it has to hold."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from dataclasses import dataclass

from starlette.types import Receive

from devbox_mcp.errors import Cancelled, Unavailable


@dataclass(slots=True)
class _Waiter:
    who: str
    size: int
    number: int
    granted: asyncio.Future[None]


class Room:
    """So many bytes for everybody. A caller who holds some gets no more than half of them in all, and of those who
    wait, who holds least comes first, then who came first; nobody is passed by because he needs much."""

    def __init__(self, size: int, patience: float) -> None:
        """``patience`` is how many seconds a request waits for room at most."""
        self._size = size
        self._patience = patience
        self._free = size
        self._held: Counter[str] = Counter()
        self._waiting: list[_Waiter] = []
        self._numbers = itertools.count()

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    def share(self, who: str) -> Share:
        """Return what a request of a caller holds: nothing yet."""
        return Share(self, who)

    def fitting(self, size: int) -> int:
        """Return what is charged for so many bytes: one that needs more than there is gets all there is."""
        return min(size, self._size)

    def takes(self, who: str, size: int) -> bool:
        """Take room if there is any right now, and return whether there was."""
        waiter = _Waiter(who, size, 0, asyncio.get_running_loop().create_future())
        if self._waiting or size > self._free or not self._may(waiter):
            return False
        self._grant(waiter)
        return True

    async def take(self, who: str, size: int, receive: Receive | None) -> None:
        """Wait for room. Raises Unavailable where none comes, Cancelled where the client, to which ``receive`` listens
        after its whole body, goes away first."""
        waiter = _Waiter(who, size, next(self._numbers), asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._admit()
        if waiter.granted.done():
            return
        gone = None if receive is None else asyncio.ensure_future(_gone(receive))
        try:
            awaited = [one for one in (waiter.granted, gone) if one is not None]
            await asyncio.wait(awaited, timeout=self._patience, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            if waiter.granted.done():
                self.give_back(who, size)
            raise
        finally:
            left = gone is not None and gone.done()
            if gone is not None:
                gone.cancel()
            if not waiter.granted.done():
                self._waiting.remove(waiter)
                self._admit()
        if waiter.granted.done():
            return
        if left:
            raise Cancelled("request", "", "the client went away")
        raise no_room(f"none was free for {self._patience:g} seconds")

    def grows(self, who: str, held: int, size: int) -> bool:
        """Let who holds so much have ``size`` in all if it is there right now, and return whether it was. Those who
        wait are passed by: they get it the sooner."""
        others = self._held[who] - held
        if size - held > self._free or (others and others + size > self._size // 2):
            return False
        self._free -= size - held
        self._held[who] += size - held
        return True

    def give_back(self, who: str, size: int) -> None:
        """Let others have it."""
        self._free += size
        self._held[who] -= size
        if not self._held[who]:
            del self._held[who]
        self._admit()

    def _admit(self) -> None:
        while (waiter := self._next()) is not None and waiter.size <= self._free:
            self._waiting.remove(waiter)
            self._grant(waiter)

    def _grant(self, waiter: _Waiter) -> None:
        self._free -= waiter.size
        self._held[waiter.who] += waiter.size
        waiter.granted.set_result(None)

    def _next(self) -> _Waiter | None:
        return min(filter(self._may, self._waiting), key=lambda one: (self._held[one.who], one.number), default=None)

    def _may(self, waiter: _Waiter) -> bool:
        held = self._held[waiter.who]
        return not held or held + waiter.size <= self._size // 2


class Share:
    """What one request holds of a room."""

    def __init__(self, room: Room, who: str) -> None:
        self.room = room
        self.size = 0
        self._who = who

    async def take(self, size: int, receive: Receive | None = None) -> None:
        """Hold so many bytes in all; see ``Room.take``. Nobody waits for more while he holds some: two who did would
        wait for each other."""
        size = self.room.fitting(size)
        if size > self.size:
            self.give_back()
            await self.room.take(self._who, size, receive)
            self.size = size

    def takes(self, size: int) -> bool:
        """Hold so many bytes if there is room right now, and return whether there was."""
        size = self.room.fitting(size)
        if size > self.size:
            self.give_back()
            if not self.room.takes(self._who, size):
                return False
            self.size = size
        return True

    def grow(self, size: int, most: int) -> None:
        """Hold at least ``size`` bytes: twice as much each time, up to ``most``, and without waiting, for what is held
        is kept. Raises Unavailable."""
        if size <= self.size or self.size == self.room.fitting(most):
            return
        for wish in (max(2 * self.size, size), size):
            wanted = self.room.fitting(min(wish, most))
            if self.room.grows(self._who, self.size, wanted):
                self.size = wanted
                return
        raise no_room("none is free")

    def give_back(self) -> None:
        """Hold nothing any more."""
        size, self.size = self.size, 0
        if size:
            self.room.give_back(self._who, size)


def no_room(found: str) -> Unavailable:
    """Return the error for a body that there is no room for."""
    return Unavailable(
        "request",
        "",
        f"other requests hold the room that there is for bodies, and {found}",
        hint="try again, with a smaller body if that can be",
    )


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
