"""Callers keep to their allowances, and to a number of transfers and of open streams at a time."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from devbox_mcp.callers import Caller
from devbox_mcp.errors import RateLimited
from devbox_mcp.servers.access.refusing import refuse
from devbox_mcp.servers.guarding.allowances import Allowance
from devbox_mcp.servers.guarding.measures import Measures
from devbox_mcp.servers.guarding.routed import notes_of
from devbox_mcp.servers.guarding.spending import Spending

Kind = Literal["transfers", "streams"]

#: Where contents move.
_TRANSFERS = re.compile(r"/v1/devboxes/[^/]+/(files|uploads|parts|archive|edit|lines)(/|$)|/api/v1/files/|/mcp$")
_NO_TRANSFERS = frozenset({"HEAD", "OPTIONS", "DELETE"})
#: Where connections are held open until something happens. Without a bound, one caller could take all there are.
_STREAMS = re.compile(r"/v1/devboxes/[^/]+/(events|changes)$|/mcp$")


class Transfers:
    """How many of each kind and caller are under way, and how many may be."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._under_way: Counter[tuple[Kind, str]] = Counter()

    def begin(self, kind: Kind, caller: str) -> bool:
        """Count one more, and return True, unless there are as many as there may be."""
        if self._under_way[kind, caller] >= self.most:
            return False
        self._under_way[kind, caller] += 1
        return True

    def end(self, kind: Kind, caller: str) -> None:
        """Count one less."""
        self._under_way[kind, caller] -= 1
        if not self._under_way[kind, caller]:
            del self._under_way[kind, caller]


class Throttle:
    """Refuses with 429 and ``Retry-After``. Who has not been identified is not limited here: it gets no further than
    being told so."""

    def __init__(self, app: ASGIApp, allowance: Allowance, transfers: Transfers, measures: Measures) -> None:
        self._app = app
        self._allowance = allowance
        self._transfers = transfers
        self._measures = measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope.get("state", {})
        caller = state.get("caller")
        if not isinstance(caller, Caller):
            await self._app(scope, receive, send)
            return
        notes = notes_of(scope)
        if notes is not None:
            notes.caller = caller.name
        spending = state["spending"] = Spending(self._allowance, caller.name)
        try:
            await spending.operation()
        except RateLimited as error:
            self._measures.limited("rate")
            await _refuse(error, scope, receive, send)
            return
        kind = _kind(scope)
        if kind is not None and not self._transfers.begin(kind, caller.name):
            self._measures.limited(kind)
            detail = f"{self._transfers.most} {kind} of {caller.name} are under way"
            busy = RateLimited("request", "", detail, hint="wait until one is done")
            await _refuse(busy, scope, receive, send)
            return
        try:
            await self._counted(spending, scope, receive, send)
        finally:
            if kind is not None:
                self._transfers.end(kind, caller.name)
            await spending.settle()

    async def _counted(self, spending: Spending, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._allowance.counts_bytes:
            await self._app(scope, receive, send)
            return

        async def received() -> Message:
            message = await receive()
            await spending.moved(_size(message))
            return message

        async def sent(message: Message) -> None:
            await send(message)
            await spending.moved(_size(message))

        await self._app(scope, received, sent)


def _kind(scope: Scope) -> Kind | None:
    if scope["type"] == "websocket" or (scope["method"] == "GET" and _STREAMS.match(scope["path"])):
        return "streams"
    return "transfers" if scope["method"] not in _NO_TRANSFERS and _TRANSFERS.match(scope["path"]) else None


def _size(message: Message) -> int:
    return len(message.get("body") or message.get("bytes") or message.get("text") or b"")


async def _refuse(error: RateLimited, scope: Scope, receive: Receive, send: Send) -> None:
    # whole seconds, and after them it is really worth trying
    wait = max(1, math.ceil(error.data.get("retry_after", 1)))
    await refuse(error, scope, receive, send, headers={"Retry-After": str(wait)})
