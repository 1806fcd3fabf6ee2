"""What keeps the server running asks here: does the process live, and should it be sent requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from devbox_mcp.errors import DevboxError
from devbox_mcp.servers.guarding.measures import Measures
from devbox_mcp.servers.guarding.routed import notes_of

#: Seconds for all devboxes to answer, and for which their answer counts: whoever may ask at all may ask often.
_PATIENCE = 5.0
_FRESH = 2.0

Probe = Callable[[], Awaitable[object]]


class Readiness:
    """Whether requests are to be sent here: at least one devbox answers, and the server is not about to end. Not all
    of them: a single pod that is gone would take every replica out of service, and all the other devboxes with it."""

    def __init__(self, probes: Sequence[Probe], measures: Measures) -> None:
        """Each of ``probes`` asks one devbox something cheap, and raises DevboxError where that fails."""
        self._probes = probes
        self._measures = measures
        self._draining = False
        self._asking: asyncio.Task[int] | None = None
        self._answering = 0
        self._asked_at = float("-inf")

    def drain(self) -> None:
        """Say no from now on."""
        self._draining = True

    async def ask(self) -> bool:
        """Return whether to send requests here."""
        if self._ending():
            return False
        loop = asyncio.get_running_loop()
        if loop.time() - self._asked_at > _FRESH:
            if self._asking is None or self._asking.done():
                self._asking = loop.create_task(self._count())
            # shielded: whoever asks may go away, and others wait for the same answer
            self._answering = await asyncio.shield(self._asking)
            self._asked_at = loop.time()
        # asked again: the end may have begun meanwhile
        return not self._ending() and (self._answering > 0 or not self._probes)

    def _ending(self) -> bool:
        return self._draining

    async def _count(self) -> int:
        answering = sum(await asyncio.gather(*(_answers(probe) for probe in self._probes)))
        self._measures.answering(answering)
        return answering


async def _answers(probe: Probe) -> bool:
    try:
        async with asyncio.timeout(_PATIENCE):
            await probe()
    except (DevboxError, TimeoutError):
        return False
    return True


class Health:
    """Answers ``/healthz`` and ``/readyz`` to everybody, by any host name, and says nothing more than yes or no; all
    else goes on to the application."""

    def __init__(self, app: ASGIApp, readiness: Readiness) -> None:
        self._app = app
        self._readiness = readiness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path")
        if scope["type"] != "http" or path not in ("/healthz", "/readyz") or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        notes = notes_of(scope)
        if notes is not None:
            notes.route = path
        good = path == "/healthz" or await self._readiness.ask()
        answer = JSONResponse({"ok": good}, 200 if good else 503, {"Cache-Control": "no-store"})
        await answer(scope, receive, send)
