"""What an MCP client reads to learn who issues tokens for this server (RFC 9728)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Scope as AsgiScope

from devbox_mcp.callers import Scope
from devbox_mcp.errors import NotFound
from devbox_mcp.servers.access.access import Access
from devbox_mcp.servers.problems import problem

_ROOT = "/.well-known/oauth-protected-resource"
#: The paths of the metadata, each with the part of this server that it is about.
METADATA = {_ROOT: "", f"{_ROOT}/mcp": "/mcp"}


def base_url(scope: AsgiScope, public_url: str | None) -> str:
    """Return where clients reach this server: as configured, or else as this request did."""
    if public_url is not None:
        return public_url
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    return f"{scope['scheme']}://{host}"


def metadata_routes(access: Access, public_url: str | None) -> list[Route]:
    """Return the routes of the metadata, which need no credentials."""

    async def answer(request: Request) -> Response:
        issuers = access.issuers
        if not issuers:
            error = NotFound(
                "metadata",
                request.scope["path"],
                "nobody issues tokens for this server",
                hint="use a key of the operator's",
            )
            return problem(error, request.scope.get("state", {}).get("request_id"))
        described = {
            "resource": base_url(request.scope, public_url) + METADATA[request.scope["path"]],
            "authorization_servers": issuers,
            "bearer_methods_supported": ["header"],
            "scopes_supported": [scope.value for scope in Scope],
            "resource_name": "devbox-mcp",
        }
        return JSONResponse(described, headers={"Cache-Control": "max-age=300"})

    return [Route(path, answer, methods=["GET"]) for path in METADATA]
