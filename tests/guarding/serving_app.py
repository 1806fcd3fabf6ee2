"""What the tests of connections share: small applications on the real server, and a client of plain sockets."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from devbox_mcp.callers import Caller
from devbox_mcp.servers.serving import Timeouts, bind, serve


@asynccontextmanager
async def running(app: ASGIApp, **options: Any) -> AsyncIterator[int]:
    """Serve an application on the real server, and yield its port; it is told to end by a signal, as ever."""
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    task = asyncio.create_task(serve(with_life(app), listener, **options))
    try:
        # it listens already; what it has not started to handle waits
        while not task.done():
            answer = await ask(port, b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", options.get("tls"))
            if answer.status:
                break
        yield port
    finally:
        if not task.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await task


def with_life(app: ASGIApp) -> ASGIApp:
    """Answer the server's questions about the application's life, and whether it is there."""

    async def living(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for _ in range(2):
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
        elif scope.get("path") == "/ready":
            await respond(send, b"ready")
        else:
            await app(scope, receive, send)

    return living


async def respond(send: Send, body: bytes = b"", status: int = 200) -> None:
    """Answer with a whole body."""
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def body_of(receive: Receive) -> bytes | None:
    """Return a request's whole body, None where the client went away."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return body


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the request's body."""
    body = await body_of(receive)
    if body is not None:
        await respond(send, body)


def as_caller(app: ASGIApp, name: str = "alice") -> ASGIApp:
    """Have a request come from somebody, named by its ``X-Caller`` or else by ``name``."""

    async def identified(scope: Scope, receive: Receive, send: Send) -> None:
        told = dict(scope.get("headers", [])).get(b"x-caller", name.encode()).decode()
        if told != "nobody":
            scope.setdefault("state", {})["caller"] = Caller(told)
        await app(scope, receive, send)

    return identified


@dataclass
class Answer:
    """What a client was sent: ``status`` is 0 where the connection was closed without an answer."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """A client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> Answer:
        """Read one answer."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return Answer()
        first, *lines = head.decode("latin-1").rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        answer = Answer(int(first.split()[1]), headers)
        if "content-length" in headers:
            answer.body = await self.reader.readexactly(int(headers["content-length"]))
        elif headers.get("transfer-encoding") == "chunked":
            while size := int(await self.reader.readline(), 16):
                answer.body += await self.reader.readexactly(size)
                await self.reader.readline()
            await self.reader.readline()
        return answer

    async def closed(self) -> bytes:
        """Wait until the server closes the connection, and return what it said before."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""

    def close(self) -> None:
        self.writer.close()


@asynccontextmanager
async def connected(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Connection]:
    """Open a connection, and close it whatever happens to it."""
    client = None
    if tls is not None:
        client = ssl.create_default_context()
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
    connection = Connection(reader, writer)
    try:
        yield connection
    finally:
        connection.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


async def ask(port: int, request: bytes, tls: ssl.SSLContext | None = None) -> Answer:
    """Send one request on a connection of its own."""
    async with connected(port, tls) as connection:
        await connection.send(request)
        return await connection.answer()


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """Return a whole request; ``x_caller="bob"`` is the header ``x-caller: bob``."""
    lines = [f"{method} {path} HTTP/1.1", "host: x", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def quick(head: float = 0.8, body: float = 0.8) -> Timeouts:
    """Return time-outs that a test can wait for."""
    return Timeouts(head, body)
