"""Routes that give a request to their endpoint as it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]


class PlainRoute(Route):
    """A route for these methods and no others. Nothing is injected, and what the endpoint raises is told where all is
    that the application raises: to do that around each endpoint as well is a tenth of a small request."""

    def __init__(self, path: str, endpoint: Endpoint, methods: Iterable[str]) -> None:
        super().__init__(path, _Answering(endpoint))
        self.methods = set(methods)  # given to Starlette, GET would bring HEAD along

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        if match is not Match.NONE:
            found["route"] = self  # for the metrics; not every version of Starlette tells it
        return match, found


class _Answering:
    """An endpoint as an application."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._endpoint(Request(scope, receive, send))
        await answer(scope, receive, send)
