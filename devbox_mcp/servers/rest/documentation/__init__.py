"""What the API is, for machines at ``/openapi.json`` and for people at ``/docs``. Made once, when first asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache

from starlette.requests import Request
from starlette.responses import Response

from devbox_mcp.servers.plain import PlainRoute
from devbox_mcp.servers.rest.documentation.document import document
from devbox_mcp.servers.rest.documentation.page import page
from devbox_mcp.servers.rest.operations import Operation

#: The page needs its own style and nothing else.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def routes(operations: Sequence[tuple[str, Operation]]) -> list[PlainRoute]:
    """Return the routes of the description of these operations, each with its topic."""

    @cache
    def described() -> bytes:
        return json.dumps(document(operations), separators=(",", ":")).encode("utf-8")

    @cache
    def shown() -> bytes:
        return page(document(operations)).encode("utf-8")

    async def openapi(_request: Request) -> Response:
        return Response(described(), media_type="application/json")

    async def docs(_request: Request) -> Response:
        return Response(shown(), headers={"Content-Security-Policy": _POLICY}, media_type="text/html; charset=utf-8")

    return [
        PlainRoute("/openapi.json", openapi, methods=["GET"]),
        PlainRoute("/docs", docs, methods=["GET"]),
    ]
