"""Asking the shells: which one, what if it is lost, and what if the caller gives up meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any, TypeVar

import anyio

from devbox_mcp.backends.shell.failures import lost
from devbox_mcp.backends.shell.places import Way
from devbox_mcp.backends.shell.pool import Pool
from devbox_mcp.backends.shell.records import Malformed
from devbox_mcp.backends.shell.session import Answer, Lost, Records, Session
from devbox_mcp.errors import DevboxError, Unavailable, from_code
from devbox_mcp.guest.errors import GuestError

T = TypeVar("T")

#: Seconds that a call which was given up waits for the shell to be done with it, before that is cut off.
_LAST_WORDS = 30.0
#: Seconds after which a shell is asked whether it is there before it is told to change something.
_FRESH = 2.0
#: What is remembered of drafts that could not be cleared away; a sweep comes for the rest.
_MOST_LEFT = 256


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Do the work whole even if the caller gives up: what is half done nobody would clear away. The cancellation
    arrives when it is done."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with anyio.CancelScope(shield=True):
            await asyncio.wait([task], timeout=_LAST_WORDS)
        if not task.done():
            task.cancel()
        elif not task.cancelled():
            task.exception()  # seen
        raise


@contextmanager
def told_as(op: str, path: str, *, changes: bool) -> Iterator[None]:
    """Name errors in the block after the whole operation, the guest's and a lost shell's too."""
    try:
        yield
    except GuestError as error:
        raise from_code(error.code, op, error.path, error.detail, error.hint, error.data) from error
    except (Lost, Malformed) as error:
        raise lost(op, path, changes=changes) from error
    except DevboxError as error:
        error.op = op
        if isinstance(error, Unavailable) and error.path == ".":
            error.path = path  # no shell could be had for it
        raise


class Asker:
    """Asks whichever shell is free."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._left: deque[tuple[str, str]] = deque(maxlen=_MOST_LEFT)

    async def ask(
        self,
        operation: str,
        arguments: Sequence[str] = (),
        body: bytes | memoryview = b"",
        *,
        paths: Sequence[str] = (".",),
        changes: bool = False,
        slow: bool = False,
        records: tuple[Records, list[object]] | None = None,
        at: Callable[[Session], None] | None = None,
    ) -> Answer:
        """Ask one question. What is ``slow`` may be silent for long; what ``changes`` nothing is asked again where
        the shell was lost. ``at`` is told which shell it was."""
        tries = 1 if changes else 2
        while True:
            tries -= 1
            try:
                async with self._pool.session() as session:
                    doubtful = bool(self._left) or (changes and monotonic() - session.used > _FRESH)
                    if doubtful and not await self._is_ready(session):
                        tries += 1
                        continue
                    answer = await session.ask(operation, arguments, body, paths=paths, slow=slow, records=records)
                    if at is not None:
                        at(session)
                    return answer
            except Lost:
                if tries <= 0:
                    raise
                if records is not None:
                    records[1].clear()

    async def follow(self, ways: Sequence[Way], ask: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        """Ask until no link is on the ways any more. ``ask`` uses the text that they have then."""
        while True:
            answer = await ask()
            if answer.status != "link":
                return answer
            number = answer.number(0)
            if not 1 <= number <= len(ways):
                raise Malformed(f"a link on path {number}")
            await ways[number - 1].follow(answer, self.ask)

    async def discard(self, directory: str, draft: str, made: str = "", kept: str = "") -> None:
        """Clear a draft away, and the parents that were made for it. Where no shell can be had, the draft goes as soon
        as there is one again; the parents stay, for others may have come to count on them."""
        try:
            await self.ask("discard", [directory, draft, made, kept])
        except (Lost, DevboxError):
            self._left.append((directory, draft))

    async def _is_ready(self, session: Session) -> bool:
        """Whether the shell is there; then what was left is cleared away in it. Each draft has one try."""
        try:
            await session.ask("nop")
            while self._left:
                with suppress(DevboxError):
                    await session.ask("discard", [*self._left.popleft(), "", ""])
        except Lost:
            return False
        return True
