"""What counts once: the numbers of signed URLs that were used already."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from devbox_mcp.errors import Unavailable
from devbox_mcp.extras import how_to_install
from devbox_mcp.settings import Settings

if TYPE_CHECKING:
    from limits.aio.storage import Storage

_KEY = "devbox-mcp/spent/"
_SECONDS = 3.0


class Nonces(Protocol):
    """Remembers what was used, for as long as it could be used again."""

    async def spend(self, nonce: str, seconds: float) -> bool:
        """Use a nonce that counts for ``seconds`` more; whether this is the first time. Raises Unavailable."""

    async def restore(self, nonce: str) -> None:
        """Let a nonce count again, for what it was used for did not happen. Raises Unavailable."""

    def close(self) -> None:
        """Close the connections."""


class OwnNonces:
    """In this process's memory. Without a secret that others know, no other process takes its URLs anyway."""

    def __init__(self) -> None:
        self._spent: OrderedDict[str, float] = OrderedDict()

    async def spend(self, nonce: str, seconds: float) -> bool:
        now = time.monotonic()
        for old, ends in list(self._spent.items()):
            if ends >= now:
                break  # one that ends later may hide some that have ended, for an hour at most
            del self._spent[old]
        if nonce in self._spent:
            return False
        self._spent[nonce] = now + seconds
        return True

    async def restore(self, nonce: str) -> None:
        self._spent.pop(nonce, None)

    def close(self) -> None:
        self._spent.clear()


class SharedNonces:
    """In a store that all replicas ask."""

    def __init__(self, storage: Storage, close: Callable[[], object] = lambda: None) -> None:
        self._storage = storage
        self._close = close

    async def spend(self, nonce: str, seconds: float) -> bool:
        with _reaching():
            async with asyncio.timeout(_SECONDS):
                return await self._storage.incr(_KEY + nonce, math.ceil(seconds)) == 1

    async def restore(self, nonce: str) -> None:
        with _reaching():
            async with asyncio.timeout(_SECONDS):
                await self._storage.clear(_KEY + nonce)

    def close(self) -> None:
        self._close()


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of the store's own client, whichever it is
        raise Unavailable(
            "authenticate", "", "the store of used URLs cannot be reached", hint="try again later"
        ) from error


def open_nonces(settings: Settings) -> Nonces:
    """Return the store that is configured. Raises ValueError."""
    if settings.redis is None:
        return OwnNonces()
    try:
        import coredis  # noqa: PLC0415  needed only where a store is configured
        from limits.aio.storage import RedisStorage  # noqa: PLC0415
    except ImportError:
        raise ValueError(f"a store of used URLs needs more: {how_to_install('redis')}") from None
    url = settings.redis.get_secret_value()
    if not url.startswith(("redis://", "rediss://")):
        raise ValueError("the redis URL is none; write redis://HOST:6379/0, or rediss:// for TLS")
    try:
        pool = coredis.Redis.from_url(url, connect_timeout=_SECONDS, stream_timeout=_SECONDS).connection_pool
        options: dict[str, Any] = {"connection_pool": pool}
        return SharedNonces(RedisStorage(f"async+{url}", **options), pool.disconnect)
    except ValueError as error:
        # without its text, which may hold the password
        raise ValueError(f"the redis URL cannot be used ({type(error).__name__})") from None
