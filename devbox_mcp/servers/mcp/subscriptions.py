"""Resource subscriptions of both protocol eras, answered from the same watches.

Every subscribed URI is held; one task looks, a few times a second, whether a held file changed, and publishes to a
bus. The modern era listens to the bus by ``subscriptions/listen``; for a handshake-era client the bus is forwarded
as ``notifications/resources/updated`` on its connection. Whoever subscribes has to be allowed to look at the file,
also where somebody else listens to it already.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourceUpdated, ServerEvent
from mcp.shared.exceptions import MCPError

from devbox_mcp.callers import Caller
from devbox_mcp.errors import DevboxError, NotFound
from devbox_mcp.paths import SandboxPath, split_uri
from devbox_mcp.sandbox import Sandbox
from devbox_mcp.sandboxes import Sandboxes

logger = logging.getLogger(__name__)

_SECONDS = 0.25
#: Of one caller, and of all together.
_MOST_HELD = 256
_MOST_IN_ALL = 1024

Context = ServerRequestContext[Any, Any]
#: The devboxes as whoever sent a request meets them.
Reached = Callable[[Context], Sandboxes]


@dataclass(slots=True)
class _Held:
    """A URI somebody wants to hear about: ``cursor`` None while nothing is there."""

    sandbox: Sandbox
    path: SandboxPath
    cursor: str | None
    holders: int = 1


class Subscriptions:
    """Who is to hear of which file's changes."""

    def __init__(self, reached: Reached) -> None:
        self._reached = reached
        self.bus = InMemorySubscriptionBus()
        self._listen = ListenHandler(self.bus)
        self._held: dict[str, _Held] = {}
        self._held_by: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None

    async def listen(
        self, context: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Serve ``subscriptions/listen``, holding what it asks for while the stream is open."""
        uris = [uri for uri in params.notifications.resource_subscriptions or () if split_uri(uri) is not None]
        sandboxes = self._reached(context)
        held: list[str] = []
        try:
            for uri in uris:
                await self._hold(sandboxes, uri)
                held.append(uri)
            return await self._listen(context, params)
        finally:
            for uri in held:
                self._release(sandboxes.caller, uri)

    async def subscribe(self, context: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """Serve ``resources/subscribe``; it lasts until unsubscribed or the connection ends."""
        sandboxes = self._reached(context)
        wanted = self._wanted(context, sandboxes.caller)
        if params.uri not in wanted:
            await self._hold(sandboxes, params.uri)
            wanted.add(params.uri)
        return types.EmptyResult()

    async def unsubscribe(self, context: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        """Serve ``resources/unsubscribe``."""
        caller = self._reached(context).caller
        wanted = self._wanted(context, caller)
        if params.uri in wanted:
            wanted.discard(params.uri)
            self._release(caller, params.uri)
        return types.EmptyResult()

    def end_streams(self) -> None:
        """End every ``subscriptions/listen`` with its proper last word."""
        self._listen.close()

    async def aclose(self) -> None:
        """End the streams and stop looking."""
        self.end_streams()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _wanted(self, context: Context, caller: Caller) -> set[str]:
        """Return the set of URIs of a connection, which is one caller's; made and cleaned up with it."""
        connection = context.session._connection  # noqa: SLF001  the SDK has no public way to a connection's end
        found: set[str] | None = connection.state.get("subscribed")
        if found is not None:
            return found
        wanted: set[str] = set()
        forwarding: set[asyncio.Task[None]] = set()

        def forward(event: ServerEvent) -> None:
            if isinstance(event, ResourceUpdated) and event.uri in wanted:
                task = asyncio.ensure_future(context.session.send_resource_updated(event.uri))
                forwarding.add(task)
                task.add_done_callback(forwarding.discard)

        connection.state["subscribed"] = wanted
        connection.exit_stack.callback(self._forget, caller, wanted, self.bus.subscribe(forward))
        return wanted

    def _forget(self, caller: Caller, wanted: set[str], unsubscribe: Callable[[], None]) -> None:
        unsubscribe()
        for uri in wanted:
            self._release(caller, uri)
        wanted.clear()

    async def _hold(self, sandboxes: Sandboxes, uri: str) -> None:
        """Begin to look at a URI; changes from now on are published. Raises MCPError."""
        caller = sandboxes.caller.name
        if self._held_by[caller] >= _MOST_HELD or (uri not in self._held and len(self._held) >= _MOST_IN_ALL):
            raise MCPError(types.INVALID_PARAMS, f"{_MOST_HELD} resources are subscribed already; unsubscribe some")
        if split_uri(uri) is None:
            raise MCPError(types.INVALID_PARAMS, "only devbox:// resources change", {"uri": uri})
        try:
            sandbox, path = await sandboxes.resolve(None, uri, "subscribe")
            try:
                cursor = (await sandbox.watch(path, timeout=0)).cursor
            except NotFound:
                cursor = None
        except DevboxError as error:
            raise MCPError(types.INVALID_PARAMS, str(error), {"uri": uri, "code": error.code}) from None
        self._held_by[caller] += 1
        if uri in self._held:
            self._held[uri].holders += 1
        else:
            self._held[uri] = _Held(sandbox, path, cursor)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look())

    def _release(self, caller: Caller, uri: str) -> None:
        self._held_by[caller.name] -= 1
        if not self._held_by[caller.name]:
            del self._held_by[caller.name]
        held = self._held.get(uri)
        if held is not None:
            held.holders -= 1
            if held.holders <= 0:
                del self._held[uri]

    async def _look(self) -> None:
        while self._held:
            for uri, held in list(self._held.items()):
                if await self._changed(held):
                    await self.bus.publish(ResourceUpdated(uri=uri))
            await asyncio.sleep(_SECONDS)

    async def _changed(self, held: _Held) -> bool:
        """Whether the file changed since the last look; appearing and vanishing count."""
        before = held.cursor
        try:
            found = await held.sandbox.poll(held.path, before)
        except DevboxError as error:
            if not isinstance(error, NotFound):
                logger.warning("cannot watch %s: %s", held.path, error)
            held.cursor = None
            return before is not None
        held.cursor = found.cursor
        return before is None or bool(found.events) or found.resync
