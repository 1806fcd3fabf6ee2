"""What counts once: the numbers of signed URLs that were used already."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from limits.aio.storage import Storage
from limits.errors import ConfigurationError
from limits.storage import storage_from_string

from devbox_mcp.errors import Unavailable
from devbox_mcp.settings import Settings

_KEY = "devbox-mcp/spent/"
_SECONDS = 3.0


class Nonces(Protocol):
    """Remembers what was used, for as long as it could be used again."""

    async def spend(self, nonce: str, seconds: float) -> bool:
        """Use a nonce that counts for ``seconds`` more; whether this is the first time. Raises Unavailable."""

    async def restore(self, nonce: str) -> None:
        """Let a nonce count again, for what it was used for did not happen. Raises Unavailable."""


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


class SharedNonces:
    """In a store that all replicas ask."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def spend(self, nonce: str, seconds: float) -> bool:
        with _reaching():
            async with asyncio.timeout(_SECONDS):
                return await self._storage.incr(_KEY + nonce, math.ceil(seconds)) == 1

    async def restore(self, nonce: str) -> None:
        with _reaching():
            async with asyncio.timeout(_SECONDS):
                await self._storage.clear(_KEY + nonce)


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
    url = settings.redis.get_secret_value()
    try:
        storage = storage_from_string(f"async+{url}")
    except (ConfigurationError, ValueError):
        raise ValueError("redis is no URL of a store; write redis://HOST:PORT") from None
    assert isinstance(storage, Storage)
    return SharedNonces(storage)
