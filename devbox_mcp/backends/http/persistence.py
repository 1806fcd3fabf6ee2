"""Trying again, a few times with growing pauses, what does no harm twice and what the server had not begun."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_ATTEMPTS = 4
#: Seconds of the first pause, at most; each is twice the one before it.
_PAUSE = 0.2
#: Seconds after which no further attempt begins.
_LONGEST = 60.0


class Again(Exception):
    """It may be tried once more, ``after`` seconds where the server said so."""

    def __init__(self, error: Exception, after: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.after = after


async def persistently(once: Callable[[], Awaitable[T]]) -> T:
    """Return what comes of it, trying again where it raises Again. Raises that one's error in the end."""
    given_up = time.monotonic() + _LONGEST
    attempt = 1
    while True:
        try:
            return await once()
        except Again as again:
            pause = _pause(attempt, again.after)
            if attempt == _ATTEMPTS or time.monotonic() + pause > given_up:
                raise again.error from again
        attempt += 1
        await asyncio.sleep(pause)


def _pause(attempt: int, after: float | None) -> float:
    """Return how long to wait: never shorter than the server asked for, and not as long as everybody else."""
    some = random.uniform(0.25, 1.0)  # noqa: S311  so that many do not come back at once
    most = _PAUSE * 2.0 ** (attempt - 1)
    return some * most if after is None else after + some * min(after, most)
