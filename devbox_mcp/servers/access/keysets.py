"""Where the keys come from that tokens are checked with: a shared secret, a file, or an address."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import httpx2
import jwt

from devbox_mcp.errors import Unauthenticated, Unavailable

logger = logging.getLogger(__name__)

VerificationKey = bytes | jwt.PyJWK

#: HS256 signs with 256 bits; a shorter secret could be found from one token.
_SHORTEST_SECRET = 32
_LARGEST_SET = 1024 * 1024
_TIMEOUT_SECONDS = 5.0
#: A key that an issuer has withdrawn is taken for so long.
_FRESH_SECONDS = 600.0
#: And for so long while the issuer cannot be reached.
_STALE_SECONDS = 3600.0
#: Tokens with made-up key ids do not make us ask more often.
_HOLD_OFF_SECONDS = 5.0

_FAMILIES = {"RS256": ("RSA", None), "ES256": ("EC", "P-256")}


class KeySource(Protocol):
    """Finds the key that a token names."""

    async def find(self, kid: str | None, algorithm: str) -> VerificationKey:
        """Return the key for a token's ``kid`` and ``alg``. Raises Unauthenticated, Unavailable."""


class Secret:
    """The secret of HS256, shared with the issuer."""

    def __init__(self, path: Path) -> None:
        """Raises ValueError for a secret that is too short, OSError."""
        self._secret = path.read_bytes().strip()
        if len(self._secret) < _SHORTEST_SECRET:
            raise ValueError(f"the secret in {path} is shorter than {_SHORTEST_SECRET} bytes")

    async def find(self, kid: str | None, algorithm: str) -> VerificationKey:
        return self._secret


class KeySet:
    """The keys of a JWK set that check signatures by the algorithms wanted."""

    def __init__(self, found: Any, algorithms: Sequence[str]) -> None:
        """``found`` is the set as parsed from JSON. Raises ValueError where it is none."""
        entries = found.get("keys") if isinstance(found, Mapping) else None
        if not isinstance(entries, list):
            raise ValueError("this is no JWK set: it has no list of keys")  # noqa: TRY004  what a file or a server said
        self._keys: list[tuple[str | None, str, jwt.PyJWK]] = []
        for entry in entries:
            if isinstance(entry, Mapping) and entry.get("use", "sig") == "sig":
                self._keys += [key for algorithm in algorithms if (key := _key(entry, algorithm)) is not None]

    def find(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        """Return the key of this id; without one, the only key there is."""
        suiting = [(name, key) for name, known, key in self._keys if known == algorithm]
        if kid is None:
            return suiting[0][1] if len(suiting) == 1 else None
        return next((key for name, key in suiting if name == kid), None)


def _key(entry: Mapping[str, Any], algorithm: str) -> tuple[str | None, str, jwt.PyJWK] | None:
    """Return a key for an algorithm, None if it is not for this one: a key is never taken for what it is not."""
    family, curve = _FAMILIES[algorithm]
    if entry.get("kty") != family or entry.get("crv") != curve or entry.get("alg", algorithm) != algorithm:
        return None
    kid = entry.get("kid")
    try:
        return kid if isinstance(kid, str) else None, algorithm, jwt.PyJWK(dict(entry), algorithm)
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        logger.warning("a key of a JWK set cannot be used: %s", type(error).__name__)
        return None


class FileKeys:
    """A JWK set in a file."""

    def __init__(self, path: Path, algorithms: Sequence[str]) -> None:
        """Raises ValueError, OSError."""
        try:
            self._keys = KeySet(json.loads(path.read_bytes()), algorithms)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    async def find(self, kid: str | None, algorithm: str) -> VerificationKey:
        found = self._keys.find(kid, algorithm)
        if found is None:
            raise _unknown_key()
        return found


class FetchedKeys:
    """A JWK set at an address: kept for a while, and fetched again when a token names a key that is not in it."""

    def __init__(self, url: str, algorithms: Sequence[str]) -> None:
        self._url = url
        self._algorithms = tuple(algorithms)
        self._keys: KeySet | None = None
        self._fetched = self._tried = float("-inf")
        self._failed = False
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str | None, algorithm: str) -> VerificationKey:
        if time.monotonic() - self._fetched > _FRESH_SECONDS:
            await self._refresh()
        found = self._known(kid, algorithm)
        if found is None:
            await self._refresh()
            found = self._known(kid, algorithm)
        if found is not None:
            return found
        if self._failed:
            # it may be a new one
            raise Unavailable("authenticate", "", "the issuer's keys cannot be fetched", hint="try again later")
        raise _unknown_key()

    def _known(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        if self._keys is None or time.monotonic() - self._fetched > _STALE_SECONDS:
            return None
        return self._keys.find(kid, algorithm)

    async def _refresh(self) -> None:
        """Fetch the set, once for all who wait for it and however soon they give up."""
        if self._fetching is None or self._fetching.done():
            if time.monotonic() - self._tried < _HOLD_OFF_SECONDS:
                return
            self._tried = time.monotonic()
            self._fetching = asyncio.create_task(self._fetch())
        await asyncio.shield(self._fetching)

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                self._keys = KeySet(json.loads(await self._download()), self._algorithms)
        except (httpx2.HTTPError, OSError, ValueError, RecursionError, TimeoutError) as error:
            self._failed = True
            logger.warning("cannot fetch the keys at %s: %s", self._url, str(error) or type(error).__name__)
        else:
            self._failed = False
            self._fetched = time.monotonic()

    async def _download(self) -> bytes:
        # made in a thread: it reads all the certificates of this machine
        client = await asyncio.to_thread(httpx2.AsyncClient, timeout=_TIMEOUT_SECONDS, follow_redirects=False)
        body = bytearray()
        async with client, client.stream("GET", self._url, headers={"Accept": "application/json"}) as response:
            if response.status_code != httpx2.codes.OK:
                raise ValueError(f"the answer is {response.status_code}")
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _LARGEST_SET:
                    raise ValueError(f"it is larger than {_LARGEST_SET} bytes")
        return bytes(body)


def _unknown_key() -> Unauthenticated:
    return Unauthenticated("authenticate", "", "the token is signed with a key that the issuer does not publish")
