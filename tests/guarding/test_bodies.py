"""Bodies that are needed whole: on disk while they come, in memory only as many as there is room for."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from devbox_mcp.errors import Cancelled, DevboxError
from devbox_mcp.servers.access.refusing import refuse
from devbox_mcp.servers.guarding.bodies import SMALL, Holding, Rooms, bodies_of
from devbox_mcp.servers.rest.incoming import small_or_stream
from tests.guarding.serving_app import as_caller, ask, connected, request, respond, running

LARGE = 4 * SMALL


class Door:
    """Takes each body as a whole, tells who has one, and answers once it is ``open``."""

    def __init__(self, size: int = 2 * LARGE, patience: float = 3600, most: int = LARGE) -> None:
        """``size`` is the memory there is: twice a body's length is charged. ``most`` is allowed of a body."""
        self.most = most
        self.open = asyncio.Event()
        self.inside: asyncio.Queue[str] = asyncio.Queue()
        self.rooms = Rooms(size, patience)
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.app: ASGIApp = as_caller(Holding(self._answer, self.rooms))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = Request(scope, receive)
        path: str = scope["path"]
        try:
            declared = int(asked.headers.get("content-length", self.most))
            body = await bodies_of(scope).whole(self._pieces(asked), declared, receive)
        except DevboxError as error:
            self.ended.put_nowait(error.code)
            await refuse(error, scope, receive, send)
            return
        self.inside.put_nowait(path)
        if path != "/now":
            await self.open.wait()
        await respond(send, str(len(body)).encode())
        self.ended.put_nowait("ok")

    async def _pieces(self, asked: Request) -> AsyncIterator[bytes]:
        try:
            async for piece in asked.stream():
                yield piece
        except ClientDisconnect:
            raise Cancelled("request", "", "") from None


def chunked(path: str, caller: str, *sizes: int) -> bytes:
    """Return a request whose body does not say how long it is, without its end."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Caller: {caller}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%s\r\n" % (size, b"x" * size) for size in sizes)


def large(path: str, caller: str = "alice") -> bytes:
    return request("POST", path, b"x" * LARGE, x_caller=caller)


async def _until_wanted(door: Door) -> None:
    """Wait until somebody waits for memory."""
    async with asyncio.timeout(60):
        while not door.rooms.memory.is_wanted:  # noqa: ASYNC110  there is no event for it
            await asyncio.sleep(0)


async def test_a_second_one_waits_until_the_first_is_answered() -> None:
    door = Door()
    async with running(door.app) as port:
        first = asyncio.create_task(ask(port, large("/first", "alice")))
        assert await door.inside.get() == "/first"
        second = asyncio.create_task(ask(port, large("/second", "bob")))
        await _until_wanted(door)
        assert door.inside.empty()
        # a small one needs no room
        assert (await ask(port, request("POST", "/now", b"x" * SMALL))).body == str(SMALL).encode()
        assert await door.inside.get() == "/now"
        door.open.set()
        assert [(await task).body for task in (first, second)] == [str(LARGE).encode()] * 2


async def test_who_waits_too_long_is_told_to_come_again() -> None:
    door = Door(patience=0.05)
    async with running(door.app) as port:
        first = asyncio.create_task(ask(port, large("/first", "alice")))
        await door.inside.get()
        answer = await ask(port, large("/second", "bob"))
        assert (answer.status, answer.json()["code"], answer.json()["retryable"]) == (503, "unavailable", True)
        assert int(answer.headers["retry-after"]) >= 1
        door.open.set()
        assert (await first).status == 200
        assert (await ask(port, large("/third", "bob"))).status == 200


async def test_who_goes_away_while_he_waits_makes_room_for_the_next() -> None:
    door = Door()
    async with running(door.app) as port:
        first = asyncio.create_task(ask(port, large("/first", "alice")))
        await door.inside.get()
        async with connected(port) as connection:
            await connection.send(large("/gone", "bob"))
            await _until_wanted(door)
        assert await door.ended.get() == "cancelled"
        assert not door.rooms.memory.is_wanted
        door.open.set()
        assert (await first).status == 200


async def test_a_body_that_stops_arriving_holds_no_memory_and_is_forgotten_when_it_is_cut() -> None:
    door = Door()
    door.open.set()
    async with running(door.app) as port:
        async with connected(port) as stalled:
            await stalled.send(large("/stalled", "alice")[:-1])
            assert (await ask(port, large("/second", "bob"))).status == 200
            assert await door.inside.get() == "/second"
            assert await door.ended.get() == "ok"
        assert await door.ended.get() == "cancelled"
        # all disk is there again
        rooms = door.rooms
        await rooms.disk.share("alice").take(8 * LARGE)


async def test_one_that_drips_is_given_up_where_others_wait_for_its_place() -> None:
    door = Door(size=LARGE // 4, patience=0.2)  # there is disk for one body
    door.open.set()
    async with running(door.app) as port, connected(port) as slow:
        await slow.send(large("/slow", "alice")[: -LARGE // 2])

        async def drip() -> None:
            while True:
                await slow.send(b"x")
                await asyncio.sleep(0.02)

        async def wait_for_it() -> None:
            while True:
                await ask(port, large("/other", "bob"))

        tasks = [asyncio.create_task(drip()), asyncio.create_task(wait_for_it())]
        async with asyncio.timeout(60):
            answer = await slow.answer()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (answer.status, answer.json()["code"]) == (429, "rate_limited")
        assert "comes slowly" in answer.json()["detail"]
        assert (await ask(port, large("/other", "bob"))).status == 200


async def test_a_disk_that_takes_nothing_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    door = Door()
    door.open.set()
    async with running(door.app) as port:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
        answer = await ask(port, large("/", "alice"))
        assert (answer.status, answer.json()["code"]) == (503, "unavailable")
        assert "no place for the body" in answer.json()["detail"]
        monkeypatch.undo()
        assert (await ask(port, large("/", "alice"))).status == 200


async def test_one_that_does_not_say_its_length_takes_no_more_disk_than_it_needs() -> None:
    door = Door(most=8 * LARGE)  # that is all disk
    door.open.set()
    async with running(door.app) as port, connected(port) as slow:
        await slow.send(chunked("/slow", "alice", 2 * SMALL))
        async with asyncio.timeout(60):
            while door.rooms.disk.takes("bob", 8 * LARGE):  # the slow one has begun once not all is there
                door.rooms.disk.give_back("bob", 8 * LARGE)
                await asyncio.sleep(0)
            answer = await ask(port, chunked("/second", "alice", LARGE) + b"0\r\n\r\n")
        assert (answer.status, answer.body) == (200, str(LARGE).encode())
        await slow.send(b"0\r\n\r\n")
        assert (await slow.answer()).body == str(2 * SMALL).encode()
    await door.rooms.disk.share("bob").take(8 * LARGE)


async def test_one_that_does_not_say_its_length_is_refused_where_it_outgrows_the_disk() -> None:
    door = Door(most=8 * LARGE)
    door.open.set()
    others = door.rooms.disk.share("bob")
    await others.take(5 * LARGE)
    async with running(door.app) as port:
        async with asyncio.timeout(60):
            answer = await ask(port, chunked("/long", "alice", *[LARGE] * 4) + b"0\r\n\r\n")
        assert (answer.status, answer.json()["code"]) == (503, "unavailable")
        # three are there
        answer = await ask(port, chunked("/fits", "alice", *[LARGE] * 2, SMALL) + b"0\r\n\r\n")
        assert answer.status == 200
    others.give_back()
    await door.rooms.disk.share("bob").take(8 * LARGE)


async def test_what_has_gone_on_as_a_stream_holds_no_memory_for_gathering() -> None:
    rooms = Rooms(4 << 20, 3600)
    sent, whole = 3 << 19, 2 << 20
    passed_on = asyncio.Event()

    async def upload(scope: Scope, receive: Receive, send: Send) -> None:
        asked = Request(scope, receive)
        body = await small_or_stream(asked, asked.stream())
        assert not isinstance(body, bytes)
        arrived = 0
        async for piece in body:
            arrived += len(piece)
            if arrived >= sent:
                passed_on.set()
        await respond(send, str(arrived).encode())

    async with running(as_caller(Holding(upload, rooms))) as port, connected(port) as slow:
        asked = request("PUT", "/", b"x" * whole)
        await slow.send(asked[: sent - whole])
        async with asyncio.timeout(60):
            await passed_on.wait()
        assert rooms.gathering.takes("bob", 4 << 20)
        await slow.send(asked[sent - whole :])
        assert (await slow.answer()).body == str(whole).encode()
