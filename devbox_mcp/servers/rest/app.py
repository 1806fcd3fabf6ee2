"""The HTTP API as one application: every topic's routes beneath ``/v1/devboxes``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fastapi import APIRouter, FastAPI

from devbox_mcp import __version__
from devbox_mcp.sandboxes import Sandboxes
from devbox_mcp.servers.rest import archives, changing, devboxes, files, looking, watching
from devbox_mcp.servers.rest.failures import handle_failures
from devbox_mcp.servers.rest.operations import Operation
from devbox_mcp.servers.rest.service import Service
from devbox_mcp.settings import Settings

#: Where a devbox's routes are.
DEVBOX = "/v1/devboxes/{devbox}"
#: The busiest come first: routes are tried in this order.
_TOPICS = (files.ROUTES, looking.ROUTES, changing.ROUTES, archives.ROUTES, watching.ROUTES)


def create(sandboxes: Sandboxes, settings: Settings, routers: Sequence[APIRouter] = ()) -> FastAPI:
    """Return the application; its ``state.service`` is what its routes share. ``routers`` are further routes of a
    devbox. It expects the caller in ``scope["state"]``, and the path as it was sent (``addresses.AsSent``)."""
    app = FastAPI(
        title="devbox-mcp", version=__version__, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.service = Service(sandboxes, settings)
    handle_failures(app)
    for topic in _TOPICS:
        app.include_router(topic.router, prefix=DEVBOX)
    app.include_router(devboxes.ROUTES.router)
    for router in routers:
        app.include_router(router, prefix=DEVBOX)
    return app


def operations() -> Iterator[Operation]:
    """Yield every operation with its whole path."""
    yield from devboxes.ROUTES.operations
    for topic in _TOPICS:
        for operation in topic.operations:
            yield operation.beneath(DEVBOX)
