"""Connections that go no further are dropped, on both of the server's parsers."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack, suppress

import pytest
import websockets
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from devbox_mcp.servers.serving.connections import MOST_HEAD
from devbox_mcp.servers.serving.refusing import OnRefusal
from tests.guarding.serving_app import Answer, ask, body_of, connected, echo, quick, request, respond, running


@pytest.fixture(autouse=True, params=["httptools", "h11"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "h11":
        # as where httptools is not installed
        monkeypatch.setitem(sys.modules, "devbox_mcp.servers.serving.fast", None)
    return str(request.param)


@pytest.mark.parametrize("begun", [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: 1"])
async def test_a_head_that_does_not_arrive_is_not_waited_for(begun: bytes) -> None:
    async with running(echo, timeouts=quick()) as port, connected(port) as connection:
        await connection.send(begun)
        answer = await connection.answer()
        assert (answer.status, answer.json()["code"]) == (408, "timeout")
        assert answer.headers["content-type"] == "application/problem+json"
        assert await connection.closed() == b""


async def test_a_head_that_drips_is_not_waited_for() -> None:
    async with running(echo, timeouts=quick()) as port, connected(port) as connection:

        async def drip() -> None:
            for number in range(10_000):
                await connection.send(b"GET / HTTP/1.1\r\n" if number == 0 else b"X-Drip: 1\r\n")
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        assert (await connection.answer()).status == 408
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)


async def test_who_says_nothing_is_hung_up_on() -> None:
    async with running(echo, timeouts=quick()) as port, connected(port) as connection:
        assert await connection.closed() == b""


async def test_the_second_request_of_a_connection_has_the_same_time() -> None:
    async with running(echo, timeouts=quick()) as port, connected(port) as connection:
        for body in (b"one", b"two"):
            await connection.send(request("PUT", "/", body))
            assert (await connection.answer()).body == body
        await connection.send(b"PUT / HTTP/1.1\r\n")
        assert (await connection.answer()).status == 408


async def test_a_slow_answer_is_no_slow_head() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(1.2)
        await respond(send, b"late")

    async with running(slow, timeouts=quick()) as port, connected(port) as connection:
        for _ in range(2):
            await connection.send(request("GET", "/"))
            assert (await connection.answer()).body == b"late"


async def test_a_slow_body_is_no_slow_head() -> None:
    async with running(echo, timeouts=quick()) as port, connected(port) as connection:
        await connection.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
        for letter in b"slow!":
            await asyncio.sleep(0.25)
            await connection.send(bytes([letter]))
        assert (await connection.answer()).body == b"slow!"


@pytest.mark.parametrize("pieces", [1, 40])
async def test_a_head_over_the_bound_is_refused(pieces: int) -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 1000) for n in range(60))
    size = -(-len(head) // pieces)
    async with running(echo, timeouts=quick(head=20)) as port, connected(port) as connection:
        try:
            for at in range(0, len(head), size):
                await connection.send(head[at : at + size])
        except ConnectionError:
            pass  # it was refused before it had come
        answer = await connection.answer()
        assert answer.status in (400, 431, 0)
        if pieces == 1:
            assert (answer.status, answer.json()["code"]) == (431, "too_large")
        assert (await ask(port, request("PUT", "/", b"others"))).body == b"others"


async def test_a_whole_head_over_the_bound_in_one_piece_is_refused(parser: str) -> None:
    if parser == "h11":
        pytest.skip("h11 bounds what is incomplete; a whole head is bounded by what is read at once")
    padding = "a" * (MOST_HEAD + 1)
    async with running(echo) as port:
        answer = await ask(port, request("GET", "/", x_padding=padding))
        assert answer.status == 431
        assert (await ask(port, request("GET", "/?" + padding))).status == 431


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + bytes(60_000), "too_large"),
        (b"\x16\x03\x01 nonsense\r\n\r\n", "invalid_argument"),
        (b"GET / HT", "timeout"),
    ],
)
async def test_what_never_becomes_a_request_is_told(sent: bytes, code: str) -> None:
    told: list[str] = []
    options = {"timeouts": quick(), "on_refusal": lambda code, _: told.append(code)}
    async with running(echo, **options) as port, connected(port) as connection:
        await connection.send(sent)
        await connection.closed()
        assert (await ask(port, request("PUT", "/", b"others"))).body == b"others"
    assert told == [code]


async def test_a_head_within_the_bound_comes_with_a_body_over_it() -> None:
    body = b"x" * (4 * MOST_HEAD)
    async with running(echo) as port:
        answer = await ask(port, request("PUT", "/", body, x_padding="a" * (MOST_HEAD - 1000)))
        assert (answer.status, answer.body) == (200, body)


async def test_fields_behind_a_body_are_bounded_as_a_head_is() -> None:
    async with running(echo, timeouts=quick()) as port, connected(port) as connection:
        await connection.send(b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n")
        with suppress(ConnectionError):  # it is refused before all of it has come
            for _ in range(200):
                await connection.send(b"X-Behind: " + b"a" * 1000 + b"\r\n")
            await connection.send(b"\r\n")
        assert (await connection.answer()).status in (400, 431, 0)


async def test_fields_behind_a_body_do_not_become_headers() -> None:
    async def headers(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        await PlainTextResponse(str(Headers(scope=scope).getlist("x-behind")))(scope, receive, send)

    sent = b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Behind: 1\r\n\r\n"
    async with running(headers) as port:
        assert (await ask(port, sent)).body == b"[]"


@pytest.mark.parametrize("sent", [b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00"])
async def test_what_is_no_request_is_a_problem(sent: bytes) -> None:
    async with running(echo, timeouts=quick()) as port:
        answer = await ask(port, sent)
        assert answer.status in (400, 408)
        assert answer.json()["status"] == answer.status


async def test_an_answer_that_nobody_reads_is_given_up() -> None:
    ended = asyncio.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            # sending to a connection that is gone does nothing, and returns at once
            for _ in range(1000):
                await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
            await send({"type": "http.response.body"})
        finally:
            ended.set()

    async with running(endless, timeouts=quick()) as port, connected(port) as connection:
        await connection.send(request("GET", "/"))
        await asyncio.wait_for(ended.wait(), 20)
        assert len(await connection.closed()) < 50_000_000


async def test_a_refused_body_does_not_keep_its_connection() -> None:
    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, b"no", 413)

    async with running(refuse, timeouts=quick()) as port, connected(port) as connection:
        await connection.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        assert (await connection.answer()).status == 413
        # the rest is taken, but not for ever, and nothing more is said
        await connection.send(b"x" * 100)
        assert await connection.closed() == b""


async def test_requests_in_one_piece_are_answered_in_order() -> None:
    async with running(echo, timeouts=quick()) as port, connected(port) as connection:
        await connection.send(b"".join(request("PUT", "/", b"%d" % number) for number in range(5)))
        assert [(await connection.answer()).body for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_websocket_lives_on_beyond_the_time_of_a_head() -> None:
    async def chat(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "bytes": message["bytes"]})

    async with (
        running(chat, timeouts=quick()) as port,
        websockets.connect(f"ws://127.0.0.1:{port}/") as client,
    ):
        for _ in range(3):
            await asyncio.sleep(0.4)
            await client.send(b"still here")
            assert await client.recv() == b"still here"


async def test_many_that_stall_leave_others_alone() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/large":
            await respond(send, b"x" * 8_000_000)
        elif (body := await body_of(receive)) is not None:
            await respond(send, body)

    stalls = (
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nbegun",
        request("GET", "/large"),
    )
    async with running(app, timeouts=quick(20, 20)) as port:
        stalled = [await asyncio.open_connection("127.0.0.1", port, limit=1024) for _ in range(200)]
        for number, (_, writer) in enumerate(stalled):
            writer.write(stalls[number % 3])
        for number in range(50):
            body = b"%d" % number * 1000
            assert (await ask(port, request("PUT", "/", body))).body == body
        for _, writer in stalled:
            writer.close()


@pytest.mark.parametrize("size", [10, MOST_HEAD + 5000], ids=["small", "large"])
async def test_a_chunk_that_makes_no_sense_is_no_head_and_told_by_the_application_alone(size: int) -> None:
    told: list[str] = []
    bodies: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def reads(_scope: Scope, receive: Receive, _send: Send) -> None:
        bodies.put_nowait(await body_of(receive))

    head = b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with running(reads, on_refusal=lambda code, _: told.append(code)) as port:
        answer = await ask(port, head + b"%x\r\n%s\r\nnonsense\r\n" % (size, b"x" * size))
        assert (answer.status, answer.json()["code"]) == (400, "invalid_argument")
        async with asyncio.timeout(60):
            assert await bodies.get() is None
    assert told == []


@pytest.fixture
def told() -> list[tuple[str, str]]:
    """The code and the path of each refusal."""
    return []


@pytest.fixture
def on_refusal(told: list[tuple[str, str]]) -> OnRefusal:
    return lambda code, scope: told.append((code, scope["path"]))


async def test_a_request_over_the_number_of_connections_is_refused_and_told(
    told: list[tuple[str, str]], on_refusal: OnRefusal
) -> None:
    async with running(echo, most=2, on_refusal=on_refusal) as port, AsyncExitStack() as held:
        answers = [Answer()]
        # the one that asked whether the server is there may still be counted
        while answers[-1].status != 503 or len(answers) < 4:
            connection = await held.enter_async_context(connected(port))
            await connection.send(request("PUT", f"/file%20{len(answers)}", b"in"))
            answers.append(await connection.answer())
        assert (answers[1].status, answers[1].body) == (200, b"in")
        refused = answers[-1]
        assert refused.json()["code"] == "unavailable"
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["retry-after"] == "1"
    assert told[-1] == ("unavailable", f"/file {len(answers) - 1}")


HANDSHAKE = {
    "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "changed", "path"),
    [
        ("GET", {"Sec-WebSocket-Version": "12"}, "/a socket"),
        ("GET", {"Sec-WebSocket-Key": "short"}, "/a socket"),
        ("POST", {}, "/a socket"),
        ("GET", {f"X-{number}": "1" for number in range(200)}, ""),
    ],
    ids=["version", "key", "method", "many headers"],
)
async def test_a_handshake_that_makes_no_sense_is_answered_and_told(
    told: list[tuple[str, str]], on_refusal: OnRefusal, method: str, changed: dict[str, str], path: str
) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "x", **HANDSHAKE, **changed}.items())
    async with running(echo, on_refusal=on_refusal) as port, connected(port) as connection:
        await connection.send(f"{method} /a%20socket?signed=secret HTTP/1.1\r\n{head}\r\n".encode())
        assert (await connection.answer()).status in (400, 405)
        assert await connection.closed() == b""
    assert told == [("invalid_argument", path)]
