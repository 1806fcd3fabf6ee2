"""The WebSocket: reads requests, runs them side by side, and cancels what its client gives up."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress

from starlette.types import Scope
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected, WebSocketState

from devbox_mcp.audit import keep
from devbox_mcp.callers import Caller
from devbox_mcp.errors import DevboxError, InvalidArgument, RateLimited, TooLarge
from devbox_mcp.servers.access.refusals import refusal
from devbox_mcp.servers.access.refusing import refuse
from devbox_mcp.servers.guarding.bodies import BODIES, Bodies
from devbox_mcp.servers.guarding.observe import given_id
from devbox_mcp.servers.guarding.room import no_room
from devbox_mcp.servers.problems import problem
from devbox_mcp.servers.rest.service import Service
from devbox_mcp.servers.rest.tunnel import frames
from devbox_mcp.servers.rest.tunnel.exchange import Exchange

_MOST_IN_FLIGHT = 128
#: Answers that wait for the client to read them.
_MOST_UNREAD = 16
_SMALL_BODY = 16 * 1024
#: Lines in the audit log of what was refused, until something is taken again: nonsense costs its sender nothing.
_MOST_LINES = 100
#: Seconds in which nothing is read for want of memory: the client's pongs are not either, and after 20 without one
#: the connection would be ended, with all that is under way.
_LONGEST_WAIT = 12.0
_UNACCEPTABLE, _POLICY = 1003, 1008
_LONGEST_REASON = 120


async def endpoint(socket: WebSocket) -> None:
    """Serve ``GET ws``. A devbox that does not exist for the caller, and a client that does not speak the protocol,
    are answered as HTTP."""
    service: Service = socket.scope["app"].state.service
    caller: Caller = socket.scope["state"]["caller"]
    try:
        await service.sandboxes.called_by(caller).reach(socket.path_params["devbox"], "connect")
        if frames.PROTOCOL not in socket.scope["subprotocols"]:
            raise InvalidArgument("connect", "ws", f"ask for the subprotocol {frames.PROTOCOL}")
    except DevboxError as error:
        await refuse(error, socket.scope, socket.receive, socket.send)
        return
    await socket.accept(frames.PROTOCOL)
    await _Tunnel(socket, service).serve()


class _Tunnel:
    """One connection with its requests under way, by number."""

    def __init__(self, socket: WebSocket, service: Service) -> None:
        self._socket = socket
        self._service = service
        self._under_way: dict[int, Exchange] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._lines = _MOST_LINES
        #: Seconds that are left to wait for memory, and when that was last said.
        self._wait = _LONGEST_WAIT
        self._waited = time.monotonic()

    async def serve(self) -> None:
        """Read until the client goes, or says what makes no sense."""
        try:
            while True:
                message = await self._socket.receive()
                if message["type"] != "websocket.receive":
                    return
                await self._read_on()
                data: bytes | None = message.get("bytes")
                if data is None:
                    await self._close(_UNACCEPTABLE, "messages are binary")
                    return
                await self._take(data)
        except frames.Malformed as error:
            await self._close(_POLICY, error.reason[:_LONGEST_REASON])
        except WebSocketDisconnect:
            return
        finally:
            await self._end_all()

    async def _read_on(self) -> None:
        """Wait while the client does not read: every answer that it leaves lying is held here."""
        while len(self._tasks) - len(self._under_way) > _MOST_UNREAD:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    async def _take(self, data: bytes) -> None:
        """Begin or end a request. Raises Malformed for what cannot be answered."""
        try:
            asked = frames.parse(data)
        except frames.Malformed as error:
            if error.number is None or error.number in self._under_way:
                raise
            await self._refuse(error.number, _refusal(error), self._socket.scope)
            return
        if isinstance(asked, frames.Cancel):
            if asked.number in self._under_way:
                self._under_way[asked.number].cancel()
        elif asked.number in self._under_way:
            raise frames.Malformed(f"the id {asked.number} is under way already")
        elif len(self._under_way) >= _MOST_IN_FLIGHT:
            busy = RateLimited("request", asked.path, f"{_MOST_IN_FLIGHT} requests are under way", hint="await some")
            await self._refuse(asked.number, busy, self._refused(asked))
        else:
            try:
                _require_no_body(asked)
                # the key may have been removed, or the token have expired, since the connection was opened
                caller: Caller = await self._socket.scope["state"]["still"]()
                # nothing more is read meanwhile
                held = await self._held(caller, len(asked.body))
            except DevboxError as error:
                await self._refuse(asked.number, error, self._refused(asked))
                return
            scope = self._scope(asked, caller, held)
            exchange = Exchange(asked, scope, self._send, lambda: self._answered(asked.number))
            self._under_way[asked.number] = exchange
            self._lines = min(self._lines + 1, _MOST_LINES)
            task = exchange.start(self._service.inside)
            self._tasks.add(task)
            task.add_done_callback(self._forget)
            task.add_done_callback(lambda _: held.give_back())

    async def _held(self, caller: Caller, size: int) -> Bodies:
        """Wait until there is memory for a body, unless it is small. Raises Unavailable."""
        held = self._service.rooms.bodies(caller.name, arrived=True)
        if size > _SMALL_BODY:
            began = time.monotonic()
            # time that is not waited makes up for what was
            self._wait = min(self._wait + began - self._waited, _LONGEST_WAIT)
            try:
                async with asyncio.timeout(self._wait):
                    # as much as it takes to read it as JSON, for nobody waits twice
                    await held.hold(2 * size, None)
            except TimeoutError:
                raise no_room("none is free for this connection") from None
            finally:
                self._waited = time.monotonic()
                self._wait = max(0.0, self._wait - (self._waited - began))
        return held

    def _answered(self, number: int) -> None:
        del self._under_way[number]

    def _forget(self, done: asyncio.Task[None]) -> None:
        self._tasks.discard(done)
        if not done.cancelled():
            done.exception()  # told by the application's own handler; here the connection has gone

    async def _refuse(self, number: int, error: DevboxError, scope: Scope) -> None:
        """Answer a request that goes no further, on record like one that came over HTTP."""
        if self._lines:
            self._lines -= 1
            self._record(scope, error.code)
        answer = problem(error, scope["state"].get("request_id"))
        await self._send(frames.answer(number, answer.status_code, answer.raw_headers, bytes(answer.body)))

    async def _close(self, code: int, reason: str) -> None:
        """Close the connection for a message that cannot be answered."""
        self._record(self._socket.scope, InvalidArgument.code)
        await self._socket.close(code, reason)

    def _record(self, scope: Scope, code: str) -> None:
        keep(self._service.sandboxes.audit, refusal(scope, code))

    async def _send(self, message: bytes) -> None:
        """Send a message; to a client that has gone, nothing."""
        if self._socket.client_state is WebSocketState.CONNECTED:
            # the second is for whoever sends after another has found out
            with suppress(WebSocketDisconnect, WebSocketDisconnected):
                await self._socket.send_bytes(message)

    def _refused(self, asked: frames.Asked) -> Scope:
        """Return what there is to tell of a request that goes no further; it is of whoever opened the connection."""
        state = self._socket.scope["state"]
        name = given_id(asked.headers, self._service.veil) or state.get("request_id")
        return {"path": self._address(asked), "state": {**state, "request_id": name}}

    def _address(self, asked: frames.Asked) -> str:
        prefix: str = self._socket.scope["raw_path"].decode("latin-1").removesuffix("/ws")
        return f"{prefix}/{asked.path}" if asked.path else prefix

    def _scope(self, asked: frames.Asked, caller: Caller, held: Bodies) -> Scope:
        above = self._socket.scope
        raw = self._address(asked)
        # the same in the answer, the log and the audit log
        request_id = given_id(asked.headers, self._service.veil) or secrets.token_hex(16)
        return {
            "type": "http",
            "asgi": above["asgi"],
            "http_version": "1.1",
            "method": asked.method,
            "scheme": "https" if above["scheme"] == "wss" else "http",
            "path": raw,
            "raw_path": raw.encode("latin-1"),
            "root_path": "",
            "query_string": asked.query,
            "headers": [(b"x-request-id", request_id.encode("ascii")), *self._headers(asked)],
            "client": above.get("client"),
            "server": above.get("server"),
            "state": {**above["state"], BODIES: held, "request_id": request_id, "caller": caller.asking(request_id)},
        }

    def _headers(self, asked: frames.Asked) -> list[tuple[bytes, bytes]]:
        """Return a request's headers but for its name, with what is the connection's: how this server is called."""
        given = [header for header in asked.headers if header[0] != b"x-request-id"]
        return [*given, *(header for header in self._socket.scope["headers"] if header[0] == b"host")]

    async def _end_all(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _require_no_body(asked: frames.Asked) -> None:
    """Raise InvalidArgument where nothing reads the body: of a stream of events it would be held all along."""
    if asked.body and asked.method in ("GET", "HEAD"):
        raise InvalidArgument("request", asked.path, f"{asked.method} takes no body", hint="send it without one")


def _refusal(error: frames.Malformed) -> DevboxError:
    if isinstance(error, frames.TooLong):
        return TooLarge("request", "", error.reason, hint="send it over HTTP", limit=frames.MOST_BODY)
    return InvalidArgument("request", "", error.reason)
