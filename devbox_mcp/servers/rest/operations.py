"""A route and all that is told of it: the parser, the router and the description have it from here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from devbox_mcp.callers import Scope
from devbox_mcp.servers.plain import Endpoint, PlainRoute
from devbox_mcp.servers.rest.calls import Call
from devbox_mcp.servers.rest.parameters import Parameter

Handler = Callable[[Call], Awaitable[Response]]

#: What can go wrong with every request to a devbox.
ALWAYS = ("invalid_argument", "unauthenticated", "forbidden", "not_found", "rate_limited", "unavailable", "io_error")


@dataclass(frozen=True, slots=True)
class Header:
    """A header of a request, or of an answer."""

    name: str
    description: str
    example: str | None = None


@dataclass(frozen=True, slots=True)
class Body:
    """What a request or an answer may carry: by media type a type that tells the schema, or None for any bytes."""

    types: Mapping[str, Any]
    description: str = ""
    example: Any = None
    required: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is no error."""

    description: str
    body: Body | None = None
    headers: tuple[Header, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """``op`` is what errors call it, ``scope`` the right that it needs, ``errors`` the codes beyond those that any
    request may meet."""

    methods: tuple[str, ...]
    path: str
    name: str
    op: str
    scope: Scope | None
    summary: str
    description: str
    answers: Mapping[int, Answer]
    query: tuple[Parameter[Any], ...] = ()
    headers: tuple[Header, ...] = ()
    body: Body | None = None
    errors: tuple[str, ...] = ()
    statuses: Mapping[int, str] = field(default_factory=dict)
    """codes of errors by another status than their own"""

    def beneath(self, prefix: str) -> Operation:
        """Return the same with its whole path."""
        return replace(self, path=prefix + self.path)


def json_of(kind: type[BaseModel] | Any, example: Any = None) -> Body:
    """Return a body of JSON."""
    return Body({"application/json": kind}, example=example)


class Routes:
    """The operations of one topic, in order, each with its handler."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.operations: list[Operation] = []
        self._handlers: list[Handler] = []

    def add(self, operation: Operation) -> Callable[[Handler], Handler]:
        """Register the handler of an operation."""

        def register(handler: Handler) -> Handler:
            self.operations.append(operation)
            self._handlers.append(handler)
            return handler

        return register

    def routes(self, prefix: str = "") -> Iterator[PlainRoute]:
        """Yield the routes, beneath a prefix."""
        for operation, handler in zip(self.operations, self._handlers, strict=True):
            path = prefix + operation.path.replace("{path}", "{path:path}")
            yield PlainRoute(path, _endpoint(operation, handler), operation.methods)


def _endpoint(operation: Operation, handler: Handler) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        call = Call(request, operation.op, operation.query)
        await call.reach()
        return await handler(call)

    return endpoint
