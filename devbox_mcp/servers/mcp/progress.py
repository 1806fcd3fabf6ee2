"""Progress of long work, from any thread to the client that asked for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp.server.context import ServerRequestContext

from devbox_mcp.backends.base import Progress

_SECONDS = 0.5


def unheard(_done: int, _total: int | None) -> None:
    """The ``on_progress`` of a call whose client did not ask."""


def is_wanted(context: ServerRequestContext[Any, Any]) -> bool:
    """Whether the client sent a progress token."""
    return context.meta is not None and context.meta.get("progress_token") is not None


@asynccontextmanager
async def reported(context: ServerRequestContext[Any, Any], work: str) -> AsyncIterator[Progress]:
    """Yield a callback for ``on_progress``; what it is told reaches the client twice a second, growing. While it is
    told nothing, the seconds that passed are reported, so that a client knows the work goes on."""
    latest: tuple[int, int | None] | None = None
    started = time.monotonic()

    def on_progress(done: int, total: int | None) -> None:
        nonlocal latest
        latest = (done, total)

    async def report() -> None:
        sent = 0.0
        while True:
            await asyncio.sleep(_SECONDS)
            done, total = (time.monotonic() - started, None) if latest is None else latest
            if done > sent:
                sent = done
                await context.session.report_progress(done, total, work if latest else f"{work}: seconds")

    reporter = asyncio.create_task(report())
    try:
        yield on_progress
    finally:
        reporter.cancel()
        await asyncio.wait([reporter])
