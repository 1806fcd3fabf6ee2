"""Walking through what lies beneath a directory, and doing something to many things at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from devbox_mcp.cli.boxes import Box
from devbox_mcp.cli.failing import Failed, wrong_usage
from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.policy import Policy
from devbox_mcp.models import FileInfo
from devbox_mcp.paths import SandboxPath

T = TypeVar("T")

_PAGE = 1000
#: As many small files go in one batch.
_AT_ONCE = 128


def excluding(globs: Sequence[str]) -> Policy:
    """Return what tells whether a path below the top is left out, by itself or with a directory above it. Raises
    Failed."""
    try:
        return Policy(globs)
    except GuestError as error:
        raise wrong_usage(f"--exclude: {error.detail}") from None


async def walk(
    box: Box,
    top: SandboxPath,
    *,
    depth: int | None = None,
    excluded: Policy | None = None,
    unreadable: Callable[[Failed], None],
) -> AsyncIterator[FileInfo]:
    """Yield what lies beneath a directory, parents first, links as links, ``depth`` levels or all of them. Directories
    that cannot be looked into are told to ``unreadable``. Raises Failed."""
    deepest = box.sandbox.limits.depth
    pending = [(top, 0)]
    while pending:
        base, above = pending.pop()
        step = deepest if depth is None else min(depth - above, deepest)
        after = None
        while True:
            with box.telling():
                page = await box.sandbox.list(base, depth=step, limit=_PAGE, after=after, details=True)
            for path in page.unreadable:
                unreadable(Failed("permission_denied", box.spell(path), "this directory cannot be looked into"))
            for info in page.entries:
                if excluded is not None and excluded.denies(info.path.below(top)):
                    continue
                yield info
                level = info.path.below(base).count("/") + 1
                if info.type == "directory" and level == step and (depth is None or above + level < depth):
                    pending.append((info.path, above + level))
            after = page.after
            if after is None:
                break


async def each(items: AsyncIterator[T], work: Callable[[T], Coroutine[Any, Any, None]]) -> None:
    """Do ``work`` to every item, several at a time. The first exception ends all of it, and is raised."""
    pending: set[asyncio.Task[None]] = set()
    try:
        async for item in items:
            if len(pending) >= _AT_ONCE:
                pending = await _next(pending)
            pending.add(asyncio.create_task(work(item)))
        while pending:
            pending = await _next(pending)
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


async def _next(pending: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    done, rest = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    return rest
