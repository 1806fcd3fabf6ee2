"""Each request gets a name, and is counted, traced and logged."""

from __future__ import annotations

import itertools
import re
import secrets
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from devbox_mcp.errors import DevboxError
from devbox_mcp.keys import Veil
from devbox_mcp.servers.access.refusing import refuse
from devbox_mcp.servers.guarding.measures import UNROUTED, Measures
from devbox_mcp.servers.guarding.routed import NOTES, Notes

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
#: Asked every few seconds by machines; told of only where they fail.
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
_GONE = 499


class Observe:
    """The outermost room: sets ``scope["state"]["request_id"]``, answers it, and tells of the request when it is over.
    What the application raises is answered here, and goes no further."""

    def __init__(self, app: ASGIApp, measures: Measures, log: FilteringBoundLogger, veil: Veil | None = None) -> None:
        self._app = app
        self._veil = veil or Veil()
        self._measures = measures
        self._log = log
        self._tracer = trace.get_tracer("devbox-mcp")
        # unique and cheap: asking the system for random bytes costs more than all the rest of this room
        self._names = map(f"{secrets.token_hex(8)}-{{}}".format, itertools.count(1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request = _Request(scope, receive, send, given_id(scope["headers"], self._veil) or next(self._names))
        method = scope["method"] if scope["type"] == "http" else "WEBSOCKET"
        self._measures.begun()
        started = time.perf_counter()
        span = self._tracer.start_span(method, request.parent(), SpanKind.SERVER)
        with _current(span):
            try:
                await self._answer(request)
            finally:
                notes = request.notes
                status = request.status or _GONE
                seconds = time.perf_counter() - started
                self._measures.ended(notes.route, method, status, request.received, request.sent, seconds)
                if span.is_recording():
                    _describe(span, method, notes, status)
                if notes.route not in _QUIET or status >= 400:
                    self._log.info(
                        "request",
                        request_id=request.id,
                        caller=notes.caller,
                        method=method,
                        route=notes.route or UNROUTED,
                        status=status,
                        bytes_in=request.received,
                        bytes_out=request.sent,
                        ms=round(seconds * 1e3, 3),
                    )

    async def _answer(self, request: _Request) -> None:
        try:
            await self._app(request.scope, request.receive, request.send)
        except Exception:
            # which error it is, is for the log alone
            self._log.exception("fault", request_id=request.id, route=request.notes.route)
            if request.status:
                # the connection breaks, so that nobody takes half an answer for a whole one
                if not request.complete:
                    raise
                return
            fault = DevboxError("request", "", "the server has a fault", hint="tell the operator the request's id")
            await refuse(fault, request.scope, request.receive, request.send)


class _Request:
    """One request as it passes by."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, name: str) -> None:
        self.scope = scope
        self.notes = Notes()
        self.id = name
        self.status = 0
        self.received = 0
        self.sent = 0
        self.complete = False
        self._receive = receive
        self._send = send
        state = scope.setdefault("state", {})
        state["request_id"] = self.id
        state[NOTES] = self.notes

    def parent(self) -> Context | None:
        """Return the trace that the caller goes on with."""
        told = {
            name.decode("ascii"): value.decode("latin-1")
            for name, value in self.scope["headers"]
            if name in (b"traceparent", b"tracestate")
        }
        return propagate.extract(told) if told else None

    async def receive(self) -> Message:
        message = await self._receive()
        kind = message["type"]
        if kind == "http.request":
            self.received += len(message.get("body", b""))
        elif kind == "websocket.receive":
            self.received += len(message.get("bytes") or message.get("text") or b"")
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.body":
            self.sent += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
        elif kind == "websocket.send":
            self.sent += len(message.get("bytes") or message.get("text") or b"")
        elif kind in ("http.response.start", "websocket.http.response.start"):
            self.status = message["status"]
            MutableHeaders(scope=message)["X-Request-Id"] = self.id
        elif kind == "websocket.accept":
            self.status = 101
            MutableHeaders(scope=message)["X-Request-Id"] = self.id
        elif kind == "websocket.close" and not self.status:
            self.status = 403
        await self._send(message)


def given_id(headers: Iterable[tuple[bytes, bytes]], veil: Veil) -> str | None:
    """Return what the caller calls its request, None where that is nothing, no name, more than one, or somebody's
    secret."""
    values = [value for name, value in headers if name == b"x-request-id"]
    if len(values) != 1 or not _REQUEST_ID.fullmatch(values[0]):
        return None
    given = values[0].decode("ascii")
    return given if veil.over(given) == given else None


def _current(span: Span) -> AbstractContextManager[object]:
    """Return what makes a span the current one, and ends it. Where nobody traces there is none, and making that the
    current one costs several times as much as finding out."""
    return trace.use_span(span, end_on_exit=True) if span.get_span_context().is_valid else nullcontext()


def _describe(span: Span, method: str, notes: Notes, status: int) -> None:
    route = notes.route or UNROUTED
    span.update_name(f"{method} {route}")
    span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})
    if notes.caller is not None:
        span.set_attribute("enduser.id", notes.caller)
    if status >= 500:
        span.set_status(StatusCode.ERROR)
