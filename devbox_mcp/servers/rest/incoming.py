"""Bodies of requests: bounded, never trusted about their length, and compared with their digest."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from devbox_mcp.errors import Cancelled, DevboxError, Integrity, InvalidArgument, TooLarge
from devbox_mcp.servers.guarding.bodies import bodies_of
from devbox_mcp.servers.rest.failures import HttpFailure
from devbox_mcp.servers.sense import LONGEST_SHOWN, MOST_NAMES, require_few

M = TypeVar("M", bound=BaseModel)

#: What is not larger is gathered, and written in one go.
SMALL = 1 << 20
_SHA256 = re.compile(r"(?:\A|,)\s*sha-256\s*=\s*(?P<value>[^,]*)")
#: 32 bytes.
_BYTES = re.compile(r":(?P<base64>[A-Za-z0-9+/]{43}=):")
_DIGESTS = ("content-digest", "repr-digest")
#: Says ``sha-256`` where the body's last 32 bytes are the sha256 of those before them.
TRAILER = "X-Devbox-Trailer"


def too_large(op: str, path: str, most: int) -> TooLarge:
    """Return the error for a body over its limit."""
    return TooLarge(op, path, f"the body is larger than {most} bytes", hint="send less in one request", limit=most)


async def pieces(request: Request, op: str, path: str, most: int, trailer: int = 0) -> AsyncIterator[bytes]:
    """Yield a body as it arrives, at most so many bytes and a ``trailer``. Raises TooLarge, and Cancelled where it
    ends before its end."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > most + trailer:
        raise too_large(op, path, most)
    arrived = 0
    try:
        async for piece in request.stream():
            arrived += len(piece)
            if arrived > most + trailer:
                raise too_large(op, path, most)
            if piece:
                yield piece
    except ClientDisconnect:
        raise Cancelled(op, path, "the body ended before its end", hint="nothing was changed; send it again") from None


async def without_trailer(request: Request, op: str, path: str, most: int) -> AsyncIterator[bytes]:
    """Yield a body as it arrives, without the sha256 that it ends with where it says so. Raises Integrity at its end,
    before whoever writes it knows that it is complete, for another body than the sender meant: one that broke off
    there, too. And what ``pieces`` raises."""
    kind = request.headers.get(TRAILER)
    if kind is None:
        async for piece in pieces(request, op, path, most):
            yield piece
        return
    if kind != "sha-256":
        raise InvalidArgument(op, path, f"{TRAILER} is {kind[:40]!r}", hint="send sha-256")
    digest = hashlib.sha256()
    held = b""
    async for piece in pieces(request, op, path, most, digest.digest_size):
        held += piece
        if len(held) > digest.digest_size:
            passed, held = held[: -digest.digest_size], held[-digest.digest_size :]
            digest.update(passed)
            yield passed
    if held != digest.digest():
        raise Integrity(op, path, "the body does not end with the sha256 of what comes before")


async def gathered(request: Request, op: str, path: str, most: int) -> bytes:
    """Return a whole body, for which memory is held until the request is over. Raises TooLarge, Cancelled,
    Unavailable, RateLimited."""
    body = pieces(request, op, path, most)
    return await bodies_of(request.scope).whole(body, size_of(request, most), request.receive)


def size_of(request: Request, most: int) -> int:
    """Return how long a body says it is, and how long it may be where it does not."""
    declared = request.headers.get("content-length", "")
    return min(int(declared), most) if declared.isdigit() else most


async def no_body(request: Request, op: str, path: str) -> None:
    """Wait for the end of a request that has nothing to say: what breaks off changes nothing. Raises InvalidArgument,
    Cancelled."""
    async for _ in pieces(request, op, path, SMALL):
        raise InvalidArgument(op, path, "this takes no body", hint="send it without one")


async def json_body(request: Request, op: str, model: type[M], most: int) -> M:
    """Return a JSON body as a model. Raises TooLarge, InvalidArgument, and HttpFailure for another media type."""
    require_type(request, op, ".", "application/json")
    body = await gathered(request, op, ".", most)
    await require_few(body, op)
    _require_once(body, op)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise InvalidArgument(op, ".", _first_of(error), hint="/docs shows the body that is meant") from None


def _require_once(body: bytes, op: str) -> None:
    """Raise InvalidArgument for a key that is given twice: others on the way may have taken the other; and for more
    keys than anything takes: each would become an error of its own. What is no JSON is told by whoever reads it
    next."""
    try:
        json.loads(body, object_pairs_hook=_once)
    except _Twice as error:
        raise InvalidArgument(op, ".", f"the key {error.key[:60]!r} is given twice") from None
    except _Many:
        raise InvalidArgument(op, ".", f"an object has more than {MOST_NAMES} keys") from None
    except (ValueError, RecursionError):
        return


class _Twice(Exception):
    """A key that an object has more than once."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class _Many(Exception):
    """An object has more keys than anything takes."""


def _once(pairs: list[tuple[str, object]]) -> None:
    if len(pairs) > MOST_NAMES:
        raise _Many
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise _Twice(key)
        seen.add(key)


def _first_of(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])[:LONGEST_SHOWN]
    return f"{where}: {first['msg']}" if where else str(first["msg"])


def media_type(request: Request) -> str:
    """Return the media type of the body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def require_type(request: Request, op: str, path: str, *known: str) -> str:
    """Return the body's media type if it is one of those. Raises HttpFailure with 415."""
    found = media_type(request)
    if found not in known:
        raise HttpFailure(
            InvalidArgument(op, path, f"Content-Type is {found[:80] or 'missing'}", hint=f"send {' or '.join(known)}"),
            status=415,
        )
    return found


class Digest:
    """The sha256 that a client says its body has."""

    def __init__(self, expected: bytes) -> None:
        self._expected = expected

    @classmethod
    def of(cls, headers: Mapping[str, str], op: str, path: str) -> Digest | None:
        """Read Content-Digest or Repr-Digest (RFC 9530); None where neither tells a sha256. Raises
        InvalidArgument."""
        found: set[bytes] = set()
        for name in _DIGESTS:
            for match in _SHA256.finditer(headers.get(name, "")):
                found.add(_decoded(match["value"].strip(), op, path))
        if len(found) > 1:
            raise InvalidArgument(op, path, "Content-Digest and Repr-Digest tell more than one sha256")
        return cls(found.pop()) if found else None

    def check(self, body: bytes, op: str, path: str) -> None:
        """Raise Integrity for another body."""
        self._compare(hashlib.sha256(body), op, path)

    async def checked(self, body: AsyncIterator[bytes], op: str, path: str) -> AsyncIterator[bytes]:
        """Pass a body on, and raise Integrity at its end if it was another one: before whoever writes it knows that
        it is complete."""
        digest = hashlib.sha256()
        async for piece in body:
            digest.update(piece)
            yield piece
        self._compare(digest, op, path)

    def _compare(self, digest: hashlib._Hash, op: str, path: str) -> None:
        if digest.digest() != self._expected:
            raise Integrity(op, path, "the body does not have the sha256 that its digest header tells")


def _decoded(value: str, op: str, path: str) -> bytes:
    match = _BYTES.fullmatch(value)
    if match is None:
        raise InvalidArgument(op, path, "the digest header is not of the form sha-256=:BASE64:")
    return base64.b64decode(match["base64"])


async def small_or_stream(request: Request, body: AsyncIterator[bytes]) -> bytes | AsyncIterator[bytes]:
    """Return a body as bytes if it is small and there is memory to gather it, otherwise as the stream that it is."""
    begun: list[bytes] = []
    size = 0
    async for piece in body:
        begun.append(piece)
        size += len(piece)
        if size > SMALL or not bodies_of(request.scope).gathers(size):
            return _resumed(request, begun, body)
    return b"".join(begun)


async def _resumed(request: Request, begun: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for piece in begun:
        yield piece
    begun.clear()
    bodies_of(request.scope).pass_on()
    async for piece in rest:
        yield piece


def refusal(error: DevboxError, status: int) -> HttpFailure:
    """Return an error with the status that HTTP has for it."""
    return HttpFailure(error, status=status)
