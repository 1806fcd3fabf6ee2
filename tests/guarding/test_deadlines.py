"""A body that stops arriving: 408, and what was begun is undone."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from devbox_mcp.servers.guarding import Measures
from devbox_mcp.servers.guarding.deadlines import Deadlines
from tests.guarding.serving_app import ask, body_of, connected, echo, request, respond, running

SECONDS = 0.8
BEGUN = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nbegun"


def patient(app: ASGIApp) -> ASGIApp:
    return Deadlines(app, SECONDS, Measures())


async def test_a_body_that_stops_is_408_and_a_client_that_went_away() -> None:
    seen: list[bytes | None] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(await body_of(receive))

    async with running(patient(app)) as port, connected(port) as connection:
        await connection.send(BEGUN)
        answer = await connection.answer()
        assert (answer.status, answer.json()["code"]) == (408, "timeout")
        assert answer.headers["connection"] == "close"
        assert await connection.closed() == b""
    assert seen == [None]


@pytest.mark.parametrize("raises", [RuntimeError("gone"), ValueError("what is this")])
async def test_what_the_application_makes_of_it_is_not_told(raises: Exception) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if await body_of(receive) is None:
            await respond(send, b"half a body!", 500)
            raise raises

    async with running(patient(app)) as port:
        assert (await ask(port, BEGUN)).status == 408


async def test_an_answer_that_has_begun_breaks_off() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        await send({"type": "http.response.body", "body": b"12345", "more_body": True})
        await body_of(receive)

    async with running(patient(app)) as port, connected(port) as connection:
        await connection.send(BEGUN)
        assert (await connection.closed()).endswith(b"\r\n\r\n12345")


async def test_a_body_that_comes_steadily_may_take_long() -> None:
    async with running(patient(echo)) as port, connected(port) as connection:
        await connection.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n")
        for letter in b"steady":
            await asyncio.sleep(SECONDS / 4)
            await connection.send(bytes([letter]))
        assert (await connection.answer()).body == b"steady"


async def test_a_body_that_drips_is_cut() -> None:
    pause = 0.5  # long enough for a busy machine to send a drop within it
    drips = Deadlines(echo, pause, Measures())
    async with running(drips) as port, connected(port) as connection:
        await connection.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        answer = asyncio.ensure_future(connection.answer())
        for _ in range(200):
            await asyncio.sleep(pause / 5)
            if answer.done():
                break
            await connection.send(b"x")
        else:
            pytest.fail("it dripped on to its end")
        assert (await answer).status == 408
        assert "less than 240 bytes a second" in answer.result().json()["detail"]


async def test_who_only_listens_is_not_hurried() -> None:
    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        async def events() -> object:
            for number in range(3):
                await asyncio.sleep(SECONDS * 0.7)
                yield b"%d" % number

        # listens all the while whether the client goes away
        await StreamingResponse(events())(scope, receive, send)

    async with running(patient(stream)) as port:
        assert (await ask(port, request("GET", "/"))).body == b"012"


async def test_a_body_in_pieces_of_the_framework_is_cut_too() -> None:
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async for _ in Request(scope, receive).stream():
                pass
        finally:
            ended.set()

    async with running(patient(app)) as port:
        assert (await ask(port, BEGUN)).status == 408
        assert ended.is_set()
