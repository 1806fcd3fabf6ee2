"""A client of a tunnel that does not read, and one that goes away while it is answered."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from devbox_mcp.audit import NoAudit
from devbox_mcp.callers import OPERATOR
from devbox_mcp.keys import Veil
from devbox_mcp.sandboxes import Sandboxes
from devbox_mcp.servers.guarding.bodies import Rooms
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


def served(client: Client) -> asyncio.Task[None]:
    scope = {
        "type": "websocket", "asgi": {"version": "3.0"}, "scheme": "ws", "path": "/v1/devboxes/main/ws",
        "raw_path": b"/v1/devboxes/main/ws", "query_string": b"", "headers": [], "subprotocols": [],
        "state": {"still": still, "caller": OPERATOR},
    }  # fmt: skip

    async def serve() -> None:
        socket = WebSocket(scope, client.receive, client.send)
        await socket.accept()
        await _Tunnel(socket, Service(Sandboxes([], NoAudit()), answers, Rooms(1 << 20, 30), Veil())).serve()

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
