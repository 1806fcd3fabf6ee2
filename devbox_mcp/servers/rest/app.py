"""The HTTP API as one application: every topic's routes beneath ``/v1/devboxes``."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from devbox_mcp.keys import Veil
from devbox_mcp.sandboxes import Sandboxes
from devbox_mcp.servers.guarding.bodies import Rooms
from devbox_mcp.servers.rest import (
    archives,
    batch,
    changing,
    devboxes,
    documentation,
    files,
    looking,
    parts,
    signed_urls,
    tunnel,
    tus,
    watching,
)
from devbox_mcp.servers.rest.failures import handle_failures
from devbox_mcp.servers.rest.operations import Operation
from devbox_mcp.servers.rest.service import Service

#: Where a devbox's routes are.
DEVBOX = "/v1/devboxes/{devbox}"
#: The busiest come first: routes are tried in this order.
_TOPICS = (
    files.ROUTES,
    batch.ROUTES,
    looking.ROUTES,
    changing.ROUTES,
    archives.ROUTES,
    watching.ROUTES,
    tus.ROUTES,
    parts.ROUTES,
    signed_urls.ROUTES,
)


def create(sandboxes: Sandboxes, rooms: Rooms, veil: Veil) -> Starlette:
    """Return the application; its ``state.service`` is what its routes share, with ``inside`` for whoever composes it
    to set. It expects the caller in ``scope["state"]``, what a request may hold (``guarding.bodies``), and the path
    as it was sent (``addresses.AsSent``)."""
    app = Starlette()
    app.router.redirect_slashes = False
    app.state.service = Service(sandboxes, app, rooms, veil)
    handle_failures(app)
    for topic in _TOPICS:
        app.router.routes.extend(topic.routes(DEVBOX))
    app.router.routes.extend(devboxes.ROUTES.routes())
    app.router.routes.append(WebSocketRoute(f"{DEVBOX}/ws", tunnel.endpoint))
    app.router.routes.extend(documentation.routes(list(operations())))
    return app


def operations() -> Iterator[tuple[str, Operation]]:
    """Yield every operation with its topic and its whole path."""
    for operation in devboxes.ROUTES.operations:
        yield devboxes.ROUTES.topic, operation
    for topic in _TOPICS:
        for operation in topic.operations:
            yield topic.topic, operation.beneath(DEVBOX)
