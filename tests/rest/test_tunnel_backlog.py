"""A client of a tunnel that does not read, and one that goes away while it is answered."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from devbox_mcp.audit import NoAudit
from devbox_mcp.callers import OPERATOR
from devbox_mcp.keys import Veil
from devbox_mcp.sandboxes import Sandboxes
from devbox_mcp.servers.guarding.bodies import Rooms, bodies_of
from devbox_mcp.servers.rest.service import Service
from devbox_mcp.servers.rest.tunnel.endpoint import _Tunnel

SENT = 300


async def answers(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": bytes(1000)})


async def still() -> Any:
    return OPERATOR


class Client:
    """Asks without end, and reads nothing: what is sent to it waits until ``gone`` is set."""

    def __init__(self, **asked: Any) -> None:
        self.asked = asked
        self.taken = 0
        self.answered = asyncio.Event()
        self.gone = asyncio.Event()

    async def receive(self) -> Message:
        if self.taken == 0:
            self.taken += 1
            return {"type": "websocket.connect"}
        await asyncio.sleep(0)
        if self.taken > SENT:
            return {"type": "websocket.disconnect", "code": 1006}
        self.taken += 1
        return {"type": "websocket.receive", "bytes": json.dumps({"id": self.taken, **self.asked}).encode() + b"\n"}

    async def send(self, message: Message) -> None:
        if message["type"] == "websocket.send":
            self.answered.set()
            await self.gone.wait()
            raise OSError("the connection is lost")


class Sender:
    """Sends some requests with large bodies, and stays until all are answered."""

    def __init__(self, *bodies: bytes) -> None:
        self._messages = [
            json.dumps({"id": number, "method": "PUT", "path": "files/a"}).encode() + b"\n" + body
            for number, body in enumerate(bodies)
        ]
        self._number = len(bodies)
        self._connected = False
        self.answers: dict[int, int] = {}
        self._all = asyncio.Event()

    async def receive(self) -> Message:
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        if self._messages:
            return {"type": "websocket.receive", "bytes": self._messages.pop(0)}
        await self._all.wait()
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(self, message: Message) -> None:
        if message["type"] == "websocket.send":
            told = json.loads(message["bytes"].partition(b"\n")[0])
            self.answers[told["id"]] = told["status"]
            if len(self.answers) == self._number:
                self._all.set()


def served(client: Client | Sender, app: ASGIApp = answers, rooms: Rooms | None = None) -> asyncio.Task[None]:
    scope = {
        "type": "websocket", "asgi": {"version": "3.0"}, "scheme": "ws", "path": "/v1/devboxes/main/ws",
        "raw_path": b"/v1/devboxes/main/ws", "query_string": b"", "headers": [], "subprotocols": [],
        "state": {"still": still, "caller": OPERATOR},
    }  # fmt: skip

    async def serve() -> None:
        socket = WebSocket(scope, client.receive, client.send)
        await socket.accept()
        service = Service(Sandboxes([], NoAudit()), app, rooms or Rooms(1 << 20, 30), Veil())
        await _Tunnel(socket, service).serve()

    return asyncio.create_task(serve())


async def test_who_does_not_read_is_not_read_from() -> None:
    client = Client()
    serving = served(client)
    for _ in range(20 * SENT):
        await asyncio.sleep(0)
    assert client.taken < 100
    client.gone.set()
    await serving


async def test_a_connection_that_breaks_while_it_is_answered_is_no_fault() -> None:
    client = Client(unknown=1)
    serving = served(client)
    await client.answered.wait()
    client.gone.set()
    await serving
    assert client.taken > SENT


async def test_bodies_that_no_memory_comes_free_for_do_not_keep_pongs_from_being_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.modules[_Tunnel.__module__], "_LONGEST_WAIT", 0.05)
    rooms = Rooms(4 << 20, 3600)
    others = rooms.memory.share("others")
    await others.take(4 << 20)
    client = Sender(*[bytes(1 << 20)] * 5, b"small")
    async with asyncio.timeout(60):
        await served(client, rooms=rooms)
    assert client.answers == {**dict.fromkeys(range(5), 503), 5: 200}
    others.give_back()
    client = Sender(bytes(1 << 20))
    async with asyncio.timeout(60):
        await served(client, rooms=rooms)
    assert client.answers == {0: 200}
    await rooms.memory.share("others").take(4 << 20)


async def test_a_body_that_came_over_a_tunnel_waits_for_no_disk() -> None:
    async def read(scope: Scope, receive: Receive, send: Send) -> None:
        asked = Request(scope, receive)
        assert await bodies_of(scope).whole(asked.stream(), 1 << 20, receive) == bytes(1 << 20)
        await answers(scope, receive, send)

    rooms = Rooms(4 << 20, 3600)
    await rooms.disk.share("others").take(16 << 20)
    client = Sender(bytes(1 << 20))
    async with asyncio.timeout(60):
        await served(client, read, rooms)
    assert client.answers == {0: 200}
