"""All doors that are reached by HTTP, behind the middlewares that every request passes.

From the outside in: Observe (what is this request called, how did it go) → Refusals (is it on record) → Hosts (is it
meant for this server) → Identify (who asks) → Throttle (how much) → Deadlines (how slowly) → Handshakes (is there a
WebSocket at all) → Fields (does it say one thing) → the doors.
"""

from __future__ import annotations

from functools import partial

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from devbox_mcp.audit import AuditLog, audited, keep
from devbox_mcp.callers import Caller
from devbox_mcp.errors import Forbidden
from devbox_mcp.sandboxes import Sandboxes
from devbox_mcp.servers import sealos
from devbox_mcp.servers.access.access import Access
from devbox_mcp.servers.access.fields import Fields
from devbox_mcp.servers.access.hosts import AllowedHosts, Hosts, require_credentials
from devbox_mcp.servers.access.identify import Identify
from devbox_mcp.servers.access.metadata import metadata_routes
from devbox_mcp.servers.access.refusals import Refusals, refusal
from devbox_mcp.servers.access.refusing import Handshakes, refuse
from devbox_mcp.servers.access.signing import UrlSigner
from devbox_mcp.servers.guarding import Guard, Routed
from devbox_mcp.servers.mcp import http
from devbox_mcp.servers.mcp.server import Door
from devbox_mcp.servers.rest import app as rest
from devbox_mcp.servers.rest.addresses import AsSent
from devbox_mcp.settings import Settings


def create_app(sandboxes: Sandboxes, settings: Settings, door: Door, host: str) -> Gateway:
    """Return the application of all doors, for a server that is bound to ``host``. Raises ValueError where it would
    be open to the network without credentials, and for settings that make no sense."""
    require_credentials(settings, host)
    access = Access(settings)
    signer = UrlSigner(access, settings, sandboxes.audit)
    door.signer = signer
    guard = Guard(settings, [partial(sandboxes.probe, name) for name in sandboxes.names], sandboxes.tally)
    api = rest.create(sandboxes, guard.rooms, settings.veil)
    api.state.signer = signer
    api.router.routes.extend(metadata_routes(access, settings.public_url))
    mcp = http.create_app(door.server, settings, host)
    doors = _Doors(
        mcp, api, sealos.create(sandboxes, settings, guard.is_ready), _OfEverybody(guard.metrics, sandboxes.audit)
    )
    # what comes over a WebSocket is a request like any other, from somebody who is known
    api.state.service.inside = guard.outside(Refusals(guard.inside(Fields(doors.api)), sandboxes.audit))
    identified = Identify(guard.inside(Handshakes(Fields(doors))), access, signer, sandboxes.audit, settings.public_url)
    hosts = Hosts(identified, AllowedHosts.configured(settings, host))
    app = guard.outside(Refusals(hosts, sandboxes.audit))
    return Gateway(app, mcp, door, guard, sandboxes.audit)


class Gateway:
    """The application. ``end`` is called when the server is told to, ``refused`` for what never became a request."""

    def __init__(self, app: ASGIApp, mcp: ASGIApp, door: Door, guard: Guard, audit: AuditLog) -> None:
        self._app = app
        self._mcp = mcp
        self._door = door
        self._guard = guard
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return

        async def closing(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await self._guard.aclose()
            await send(message)

        # the MCP door is the only one with a life of its own
        await self._mcp(scope, receive, closing)

    def refused(self, code: str, scope: Scope) -> None:
        """Put on record what the server refused by itself: what is no request, no whole one, or one too many."""
        keep(self._audit, refusal(scope, code))

    def end(self) -> None:
        """Say that no more requests should come, and end the streams of those who listen."""
        self._guard.drain()
        self._door.end_streams()


class _OfEverybody:
    """What tells of all devboxes and all callers, for those who may reach every devbox there is or will be. Whether
    there are others does not show: only the caller's rights are looked at."""

    def __init__(self, app: ASGIApp, audit: AuditLog) -> None:
        self._app = app
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller: Caller = scope["state"]["caller"]
        if "*" in caller.devboxes:
            await self._app(scope, receive, send)
            return
        try:
            self._deny(caller, scope["path"])
        except Forbidden as error:
            await refuse(error, scope, receive, send)

    def _deny(self, caller: Caller, path: str) -> None:
        """Raise Forbidden, which leaves a line in the audit log."""
        with audited(self._audit, caller, "", "metrics", path):
            detail = "this tells of all callers, and these credentials are not for all devboxes"
            raise Forbidden("metrics", path, detail, hint='ask the operator for a key to devbox "*"')


class _Doors:
    """Sends each request to its door."""

    def __init__(self, mcp: ASGIApp, api: ASGIApp, theirs: ASGIApp, metrics: ASGIApp) -> None:
        self.api: ASGIApp = AsSent(Routed(api))
        self._sealos = Routed(theirs)
        self._by_path = {"/mcp": Routed(mcp, "/mcp"), "/metrics": Routed(metrics, "/metrics")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._door(scope)(scope, receive, send)

    def _door(self, scope: Scope) -> ASGIApp:
        if scope["type"] == "websocket":
            return self.api  # the others know of none
        return self._sealos if sealos.is_sealos(scope["path"]) else self._by_path.get(scope["path"], self.api)
