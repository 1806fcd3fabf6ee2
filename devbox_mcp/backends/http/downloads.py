"""A download that goes on where it broke, from the same version or not at all, and is compared with its hash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx2

from devbox_mcp.backends.http.asking import Asking, parsed
from devbox_mcp.backends.http.failures import lost
from devbox_mcp.backends.http.shapes import Shapes
from devbox_mcp.errors import Conflict, DevboxError, Integrity, NotFound
from devbox_mcp.models import FileInfo

_RANGE = re.compile(r"bytes (?P<first>[0-9]{1,18})-(?P<last>[0-9]{1,18})/(?P<size>[0-9]{1,18})")
_STRONG = re.compile(r'"[0-9a-f]{64}"')
#: How often it goes on without a single byte in between.
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Part:
    """What an answer to GET holds: ``length`` bytes from ``first`` on of the version ``tag``."""

    info: FileInfo
    tag: str
    first: int
    length: int


def part_of(status: int, headers: httpx2.Headers, path: str, shapes: Shapes) -> Part:
    """Read the headers of a 200 or 206. Raises Integrity."""
    info = parsed(shapes.info, headers.get("x-devbox-info", ""), "read", path)
    tag = headers.get("etag", "")
    if status == 200:
        return Part(info, tag, 0, info.size)
    match = _RANGE.fullmatch(headers.get("content-range", ""))
    if match is None:
        raise Integrity("read", path, "the server does not say which range it sends")
    first, last, size = (int(match[name]) for name in ("first", "last", "size"))
    if not first <= last < size or size != info.size:
        raise Integrity("read", path, "the server sends a range that makes no sense")
    return Part(info, tag, first, last - first + 1)


def condition(tag: str) -> dict[str, str]:
    """Return the header that asks for the same version; none where its tag is weak, and has to be compared."""
    return {"If-Match": tag} if _STRONG.fullmatch(tag) else {}


class Download:
    """The bytes ``first`` to ``end`` of one version of a file, the beginning of which may have come already."""

    def __init__(self, asking: Asking, shapes: Shapes, route: str, path: str, part: Part, end: int) -> None:
        self._asking = asking
        self._shapes = shapes
        self._route = route
        self._path = path
        self._part = part
        self._position = part.first
        self._end = end
        whole = part.first == 0 and end == part.info.size
        self._digest = hashlib.sha256() if whole and part.info.sha256 is not None else None

    async def chunks(self, begun: bytes, response: httpx2.Response | None) -> AsyncIterator[bytes]:
        """Yield ``begun``, then what the response holds, and what follows should it break."""
        if begun:
            self._take(begun)
            yield begun
        attempt, reached = 0, self._position
        while self._position < self._end:
            response = response or await self._resume()
            try:
                async for chunk in response.aiter_raw():
                    self._take(chunk)
                    yield chunk
                self._require_all()
            except (httpx2.TransportError, httpx2.StreamError) as error:
                self._asking.check_open("read", self._path)
                attempt = 1 if self._position > reached else attempt + 1
                reached = self._position
                if attempt == _ATTEMPTS:
                    raise lost(error).told("read", self._path, changes=False) from error
            finally:
                await response.aclose()
                response = None
        if self._digest is not None and self._digest.hexdigest() != self._part.info.sha256:
            raise Integrity("read", self._path, "the bytes that arrived do not have the file's sha256")

    def _take(self, chunk: bytes) -> None:
        self._position += len(chunk)
        if self._position > self._end:
            raise Integrity("read", self._path, "the server sent more than was asked for")
        if self._digest is not None:
            self._digest.update(chunk)

    def _require_all(self) -> None:
        if self._position < self._end:
            raise Integrity("read", self._path, "the server sent less than it said")

    async def _resume(self) -> httpx2.Response:
        """Ask for the rest, of the same version. Raises Conflict where that is no more."""
        headers = {"Range": f"bytes={self._position}-{self._end - 1}", **condition(self._part.tag)}
        try:
            response = await self._asking.opened(
                "read", self._path, self._route, {}, headers, accept=lambda status: status == 206
            )
        except NotFound as error:
            raise _changed(self._path) from error
        try:
            part = part_of(206, response.headers, self._path, self._shapes)
            if part.tag != self._part.tag:
                raise _changed(self._path)
            if (part.first, part.length) != (self._position, self._end - self._position):
                raise Integrity("read", self._path, "the server sends another range than was asked for")
        except DevboxError:
            await response.aclose()
            raise
        return response


def _changed(path: str) -> Conflict:
    return Conflict("read", path, "the file was changed while it was read", hint="read it again")
