"""Allowances that all replicas share, in a store of the Redis protocol.

Operations are counted by ``limits`` in a sliding window. Bytes need a bucket that may go below zero, which ``limits``
has not, so that one is a script of ours in the same store. In memory both are buckets of ours: ``limits``' own memory
looks at every caller with every request.

While the store cannot be reached each replica limits by itself: callers neither stand before a closed door because of
a store, nor may they do what they like.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from structlog.typing import FilteringBoundLogger

from devbox_mcp.extras import how_to_install
from devbox_mcp.servers.guarding.allowances import Allowance, InMemory
from devbox_mcp.settings import Settings

#: Seconds for the store's answer, and for which it is left alone where there was none.
_PATIENCE = 0.5
_PAUSE = 2.0
_PREFIX = "devbox-mcp"
#: Takes the microseconds that bytes cost, and answers by how many the bucket is overdrawn from full.
_CHARGE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local cost = tonumber(ARGV[1])
if cost > 0 then
    full_at = full_at + cost
    redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000) + 1)
end
return full_at - now
"""


def open_allowance(settings: Settings, log: FilteringBoundLogger) -> Allowance:
    """Return the allowances that are configured. Raises ValueError for a store that cannot be one; one that is not
    there now may come."""
    local = InMemory(settings.rate_operations, settings.rate_bytes)
    if settings.redis is None or not (settings.rate_operations or settings.rate_bytes):
        return local
    return _Shared(settings.redis.get_secret_value(), settings.rate_operations, settings.rate_bytes, local, log)


class _Shared:
    """In the store while it answers, otherwise in this process."""

    def __init__(self, url: str, operations: int, rate: int, local: InMemory, log: FilteringBoundLogger) -> None:
        try:
            import coredis  # noqa: PLC0415  needed only where a store is configured
            from coredis.exceptions import RedisError  # noqa: PLC0415
            from limits import RateLimitItemPerSecond  # noqa: PLC0415
            from limits.aio.storage import RedisStorage  # noqa: PLC0415
            from limits.aio.strategies import SlidingWindowCounterRateLimiter  # noqa: PLC0415
            from limits.errors import ConfigurationError  # noqa: PLC0415
        except ImportError:
            raise ValueError(f"limits in a store need more: {how_to_install('redis')}") from None
        if not url.startswith(("redis://", "rediss://")):
            raise ValueError("the redis URL is none; write redis://HOST:6379/0, or rediss:// for TLS")
        try:
            client = coredis.Redis.from_url(url, connect_timeout=_PATIENCE, stream_timeout=_PATIENCE)
            options: dict[str, Any] = {"connection_pool": client.connection_pool}
            storage = RedisStorage(f"async+{url}", key_prefix=_PREFIX, **options)
        except (ConfigurationError, ValueError) as error:
            # without its text, which may hold the password
            raise ValueError(f"the redis URL cannot be used ({type(error).__name__})") from None
        self._pool = client.connection_pool
        self._window = SlidingWindowCounterRateLimiter(storage)
        self._item = RateLimitItemPerSecond(operations) if operations else None
        self._script = client.register_script(_CHARGE)
        self._failures = (OSError, TimeoutError, RedisError)
        self._rate = rate
        self._local = local
        self._log = log
        self._down_until: float | None = None
        self.counts_bytes = rate > 0

    async def admit(self, caller: str) -> float:
        found = await self._ask(lambda: self._admit(caller))
        return await self._local.admit(caller) if found is None else found

    async def charge(self, caller: str, count: int) -> None:
        # known here too, for when the store is gone
        await self._local.charge(caller, count)
        await self._ask(lambda: self._overdrawn(caller, count))

    async def aclose(self) -> None:
        """Close the connections."""
        self._pool.disconnect()

    async def _admit(self, caller: str) -> float:
        if self._rate:
            wait = await self._overdrawn(caller, 0) - 1
            if wait > 0:
                return wait
        if self._item is None or await self._window.hit(self._item, caller):
            return 0.0
        stats = await self._window.get_window_stats(self._item, caller)
        return max(stats.reset_time - time.time(), 0.01)

    async def _overdrawn(self, caller: str, count: int) -> float:
        """Charge bytes, and return the seconds until the bucket is full."""
        cost = round(count / self._rate * 1e6)
        overdrawn = await self._script([f"{_PREFIX}:bytes:{caller}"], [cost])
        assert isinstance(overdrawn, int)
        return overdrawn / 1e6

    async def _ask(self, question: Callable[[], Awaitable[float]]) -> float | None:
        """Return the store's answer, None while there is none to be had."""
        now = asyncio.get_running_loop().time()
        if self._down_until is not None and now < self._down_until:
            return None
        try:
            async with asyncio.timeout(_PATIENCE):
                found = await question()
        except self._failures as error:
            if self._down_until is None:
                self._log.warning("the store of limits is gone; each replica limits by itself", error=repr(error))
            self._down_until = asyncio.get_running_loop().time() + _PAUSE
            return None
        if self._down_until is not None:
            self._down_until = None
            self._log.warning("the store of limits is back")
        return found
