"""Sealos' routes as one application."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from devbox_mcp import __version__
from devbox_mcp.errors import DevboxError, Forbidden, InvalidArgument, NotFound, printable
from devbox_mcp.sandbox import Sandbox
from devbox_mcp.sandboxes import Sandboxes
from devbox_mcp.servers.access.refusals import refused
from devbox_mcp.servers.plain import PlainRoute
from devbox_mcp.servers.sealos import batches, files, searching
from devbox_mcp.servers.sealos.answering import failed, succeeded
from devbox_mcp.servers.sealos.asking import Devboxes, NoDevbox
from devbox_mcp.settings import Settings

_HEALTH, _READY = "/health", "/health/ready"
_PREFIX = "/api/v1"

Handler = Callable[[Sandbox, Request], Awaitable[Response]]
_ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "list", files.list_files),
    ("GET", "read", files.read),
    ("GET", "download", files.read),
    ("POST", "write", files.write),
    ("POST", "delete", files.delete),
    ("POST", "move", files.move),
    ("POST", "rename", files.rename),
    ("POST", "chmod", files.chmod),
    ("POST", "batch-upload", batches.upload),
    ("POST", "batch-download", batches.download),
    ("POST", "search", searching.search),
    ("POST", "find", searching.find),
    ("POST", "replace", searching.replace),
)


def is_sealos(path: str) -> bool:
    """Whether a request is for this application."""
    return path in (_HEALTH, _READY) or path.startswith(f"{_PREFIX}/")


def create(sandboxes: Sandboxes, settings: Settings, is_ready: Callable[[], Awaitable[bool]]) -> Starlette:
    """Return the application. It expects the caller in ``scope["state"]``; ``is_ready`` tells whether requests
    should be sent here."""
    pairs = (item.partition("=") for item in settings.host_devboxes)
    devboxes = Devboxes(sandboxes, {host.lower(): name for host, _, name in pairs})
    app = Starlette()
    app.router.redirect_slashes = False
    for method, name, handler in _ROUTES:
        app.router.routes.append(PlainRoute(f"{_PREFIX}/files/{name}", _endpoint(handler, devboxes), [method]))
    app.router.routes.append(PlainRoute(f"{_PREFIX}/process/{{rest:path}}", _no_processes, ["GET", "POST"]))
    started = time.monotonic()

    async def health(_request: Request) -> Response:
        uptime = f"{int(time.monotonic() - started)}s"
        # ``server`` is for our own clients, who have a better protocol to speak to a gateway
        return succeeded({"healthStatus": "ok", "uptime": uptime, "version": __version__, "server": "devbox-mcp"})

    async def ready(_request: Request) -> Response:
        good = await is_ready()
        return succeeded({"readinessStatus": "ready" if good else "not_ready", "workspace": good})

    app.router.add_route(_HEALTH, health, methods=["GET"])
    app.router.add_route(_READY, ready, methods=["GET"])
    _handle_failures(app)
    return app


def _endpoint(handler: Handler, devboxes: Devboxes) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await handler(await devboxes.of(request), request)

    return endpoint


async def _no_processes(_request: Request) -> Response:
    raise Forbidden(
        "process", ".", "this server gives access to files; it runs no programs", hint="use the routes below files"
    )


def _handle_failures(app: Starlette) -> None:
    async def devbox_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, DevboxError)
        if not error.recorded:
            refused(request.scope, error.code)
        return failed(error)

    async def no_devbox(_request: Request, error: Exception) -> Response:
        assert isinstance(error, NoDevbox)
        return failed(error.error, 400)

    async def http_exception(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        path = printable(request.scope["path"][:200])
        if error.status_code == 404:
            return failed(
                NotFound("request", path, "there is no such route here", hint="files are beneath files/"), 404
            )
        return failed(InvalidArgument("request", path, f"{request.method} is not for this route"), error.status_code)

    app.add_exception_handler(DevboxError, devbox_error)
    app.add_exception_handler(NoDevbox, no_devbox)
    app.add_exception_handler(HTTPException, http_exception)
