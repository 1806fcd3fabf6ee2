"""Routes that give a request to their endpoint as it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response


class PlainRoute(APIRoute):
    """A route whose endpoint takes the request as it is: nothing is injected, so nothing is looked for."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]  # a coroutine function is what is meant
        endpoint: Callable[[Request], Awaitable[Response]] = self.endpoint
        return endpoint
