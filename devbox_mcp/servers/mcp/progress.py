"""Progress of long work, from any thread to the client that asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from mcp.server.context import ServerRequestContext

from devbox_mcp.backends.base import Progress

_SECONDS = 0.2


@asynccontextmanager
async def reported(context: ServerRequestContext[Any, Any], message: str) -> AsyncIterator[Progress]:
    """Yield a callback for ``on_progress``; what it is told reaches the client a few times a second, growing."""
    latest: tuple[int, int | None] | None = None

    def on_progress(done: int, total: int | None) -> None:
        nonlocal latest
        latest = (done, total)

    async def report() -> None:
        sent = None
        while True:
            await asyncio.sleep(_SECONDS)
            if latest is not None and latest != sent:
                sent = latest
                await context.session.report_progress(sent[0], sent[1], message)

    reporter = asyncio.create_task(report())
    try:
        yield on_progress
    finally:
        reporter.cancel()
        with suppress(asyncio.CancelledError):
            await reporter
