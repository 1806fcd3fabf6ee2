"""How much a caller may do a second: in operations, and in bytes.

Both are buckets that hold one second's worth and fill at the rate. An operation is admitted while its bucket holds
one. Bytes are not stopped in their middle: they are charged as they stream, the bucket may go below zero, and the
caller's next request waits until it is paid back. So the rate holds over any length of time, however large one
transfer is.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

#: So many callers are remembered before those who owe nothing are forgotten.
_REMEMBERED = 10_000


class Allowance(Protocol):
    """What callers may do, in this process or among all replicas."""

    @property
    def counts_bytes(self) -> bool:
        """Whether bytes are limited at all."""

    async def admit(self, caller: str) -> float:
        """Charge one operation, and return 0; or charge nothing, and return the seconds after which it is worth
        asking again."""

    async def charge(self, caller: str, count: int) -> None:
        """Charge bytes that were moved."""

    async def aclose(self) -> None:
        """Release what it holds."""


class InMemory:
    """The allowances of one process. A rate of 0 is none."""

    def __init__(self, operations: int, rate: int) -> None:
        """``operations`` and ``rate`` (bytes) are a second's."""
        self._operations = _Bucket(operations)
        self._bytes = _Bucket(rate)
        self.counts_bytes = rate > 0

    async def admit(self, caller: str) -> float:
        now = asyncio.get_running_loop().time()
        return self._bytes.wait(caller, now) or self._operations.take(caller, now)

    async def charge(self, caller: str, count: int) -> None:
        self._bytes.charge(caller, count, asyncio.get_running_loop().time())

    async def aclose(self) -> None:
        """Nothing to release."""


class _Bucket:
    """One for each caller, as the time at which it will be full again."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._full_at: dict[str, float] = {}

    def wait(self, caller: str, now: float) -> float:
        """Return the seconds until it holds anything, 0 if it does."""
        return max(self._full_at.get(caller, now) - now - 1, 0.0)

    def take(self, caller: str, now: float) -> float:
        """Take one and return 0, or return the seconds until there is one."""
        if not self._rate:
            return 0.0
        cost = 1 / self._rate
        # what is a rounding error short of one is one
        missing = max(self._full_at.get(caller, now), now) + cost - now - 1
        if missing > 1e-9:
            return missing
        self.charge(caller, 1, now)
        return 0.0

    def charge(self, caller: str, count: int, now: float) -> None:
        """Take so much, whether it is there or not."""
        if not self._rate:
            return
        if len(self._full_at) >= _REMEMBERED and caller not in self._full_at:
            self._full_at = {name: full_at for name, full_at in self._full_at.items() if full_at > now}
        self._full_at[caller] = max(self._full_at.get(caller, now), now) + count / self._rate
