"""Requests to one server: pooled, bounded, repeated where that does no harm; what fails is a typed error."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
import httpx2

from devbox_mcp import __version__
from devbox_mcp.backends.http import failures
from devbox_mcp.backends.http.address import query
from devbox_mcp.backends.http.failures import Lost, failure, lost
from devbox_mcp.backends.http.persistence import Again, persistently
from devbox_mcp.backends.http.trust import trusting
from devbox_mcp.backends.http.websocket import Tunnel
from devbox_mcp.errors import DevboxError, Integrity, InvalidArgument, Unavailable

T = TypeVar("T")

_LONGEST_WAIT = 30.0
#: Bytes of an answer that is read as a whole.
_MOST_ANSWER = 96 << 20
#: What is asked for may take its time before the first byte of the answer: a hash of a large file, a copy.
_READ = 300.0
_TIMEOUT = httpx2.Timeout(60.0, connect=10.0, read=_READ, pool=None)
_LIMITS = httpx2.Limits(max_connections=64, max_keepalive_connections=32, keepalive_expiry=30.0)
#: What a change that is given up gets to come to its end.
_SETTLING = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer that is a success."""

    status: int
    headers: httpx2.Headers
    body: bytes


class Asking:
    """A server's routes beneath ``base``."""

    def __init__(self, base: str, key: str | None, *, tunnel: bool = True) -> None:
        """``key`` is sent as a bearer token, to this server only."""
        self._base = base
        # at its lowest level it tells every header, and so the key
        logging.getLogger("hpack").setLevel(logging.INFO)
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self.http = _client(base, headers)
        self._tunnel = Tunnel(base, headers) if tunnel else None
        self.closed = False

    @property
    def origin(self) -> str:
        """The server, for people."""
        url = httpx2.URL(self._base)
        return f"{url.scheme}://{url.netloc.decode('ascii')}"

    @property
    def tunnelled(self) -> bool:
        """Whether small requests go over a WebSocket."""
        return self._tunnel is not None and self._tunnel.is_open

    def check_open(self, op: str, path: str) -> None:
        """Raise Unavailable where it was closed."""
        if self.closed:
            raise Unavailable(op, path, "this devbox was closed")

    async def ask(
        self,
        op: str,
        path: str,
        method: str,
        route: str,
        parameters: Mapping[str, object] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        small: bool = True,
        repeat: bool | None = None,
        accept: Callable[[int], bool] = lambda status: 200 <= status < 300,
        seconds: float | None = None,
    ) -> Answer:
        """Send a request and return the whole answer. ``repeat``: it may be sent again when its answer is lost, which
        is so for GET and HEAD unless it is said. ``seconds`` is how much longer than usual it may take. Raises
        DevboxError."""
        again = method in ("GET", "HEAD") if repeat is None else repeat
        try:
            return await self.try_ask(
                op, path, method, route, parameters, headers=headers, body=body, small=small, repeat=again,
                accept=accept, seconds=seconds,
            )  # fmt: skip
        except Lost as error:
            raise error.told(op, path, changes=method not in ("GET", "HEAD")) from error

    async def try_ask(
        self,
        op: str,
        path: str,
        method: str,
        route: str,
        parameters: Mapping[str, object] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        small: bool = True,
        repeat: bool = False,
        accept: Callable[[int], bool] = lambda status: 200 <= status < 300,
        seconds: float | None = None,
    ) -> Answer:
        """The same, but a lost answer is raised as Lost."""
        tunnel = self._tunnel if small else None

        async def once() -> Answer:
            nonlocal tunnel
            self.check_open(op, path)
            try:
                told = None
                if tunnel is not None:
                    told = await tunnel.ask(
                        method, route, parameters or {}, headers or {}, body or b"", _READ + (seconds or 0.0)
                    )
                if told is not None:
                    answer = Answer(told.status, httpx2.Headers(told.headers), told.body)
                else:
                    answer = await self._whole(self.request(method, route, parameters, headers, body, seconds))
            except Lost as error:
                self.check_open(op, path)
                raise (Again(error) if repeat or not error.sent else error) from error
            if accept(answer.status):
                return answer
            failed = failure(answer.status, answer.headers.get("content-type", ""), answer.body, op, path)
            if answer.status == 413 and method == "GET" and tunnel is not None:
                tunnel = None  # it is more than a message holds
                raise Again(failed, 0.0)
            raise _again(failed, answer.status, answer.headers)

        return await persistently(once)

    def request(
        self,
        method: str,
        route: str,
        parameters: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | AsyncIterator[bytes] | None = None,
        seconds: float | None = None,
    ) -> httpx2.Request:
        """Return a request for a route, of encoded parts."""
        behind = query(dict(parameters or {}))
        url = httpx2.URL(self._base)
        raw = url.raw_path + (f"/{route}" if route else "").encode("ascii") + (f"?{behind}".encode() if behind else b"")
        timeout = _TIMEOUT.as_dict()
        if seconds is not None:
            timeout["read"] = _READ + seconds
        return self.http.build_request(
            method, url.copy_with(raw_path=raw), headers=headers, content=content, extensions={"timeout": timeout}
        )

    async def open(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and return the answer with its body still to come. Raises Lost."""
        try:
            return await self.http.send(request, stream=True)
        except (httpx2.TransportError, RuntimeError) as error:
            raise self._lost(error) from error

    async def opened(
        self, op: str, path: str, route: str, parameters: Mapping[str, object], headers: Mapping[str, str],
        *, accept: Callable[[int], bool], method: str = "GET", body: bytes | None = None,
    ) -> httpx2.Response:  # fmt: skip
        """Return an answer with its body still to come, asked for until it comes. Raises DevboxError."""

        async def once() -> httpx2.Response:
            self.check_open(op, path)
            try:
                response = await self.open(self.request(method, route, parameters, headers, body))
            except Lost as error:
                self.check_open(op, path)
                raise Again(error.told(op, path, changes=False)) from error
            if not accept(response.status_code):
                failed = await self.failed(response, op, path)
                raise _again(failed, response.status_code, response.headers)
            if response.headers.get("content-encoding", "identity") != "identity":
                await response.aclose()
                raise Integrity(op, path, "the server packed what was asked for as it is")
            return response

        return await persistently(once)

    async def failed(self, response: httpx2.Response, op: str, path: str) -> DevboxError:
        """Read an answer that is no success, and return its error."""
        try:
            body = await _read(response, failures.MOST)
        except Lost as error:
            return error.told(op, path, changes=True)
        return self.failure(response, body, op, path)

    @staticmethod
    async def read(response: httpx2.Response) -> bytes:
        """Return the body of an answer. Raises Lost."""
        return await _read(response, _MOST_ANSWER)

    @staticmethod
    def failure(response: httpx2.Response, body: bytes, op: str, path: str) -> DevboxError:
        """Return what an answer that is no success says."""
        return failure(response.status_code, response.headers.get("content-type", ""), body, op, path)

    async def _whole(self, request: httpx2.Request) -> Answer:
        """Send a request and read its answer. Raises Lost. A change that is given up over HTTP has come to its end
        when the cancellation arrives, for there is nothing that would stop it."""
        if request.method in ("GET", "HEAD"):
            return await self._sent(request)
        sending = asyncio.ensure_future(self._sent(request))
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            await _settle(sending)
            raise

    async def _sent(self, request: httpx2.Request) -> Answer:
        response = await self.open(request)
        body = await _read(response, _MOST_ANSWER)
        return Answer(response.status_code, response.headers, body)

    def _lost(self, error: Exception) -> Lost:
        if isinstance(error, RuntimeError) and not self.closed:
            raise error  # it says that the client was closed, or is a fault of ours
        return lost(error)

    async def aclose(self) -> None:
        """End every connection; later calls raise Unavailable."""
        self.closed = True
        if self._tunnel is not None:
            await self._tunnel.aclose()
        await self.http.aclose()


def _client(base: str, headers: Mapping[str, str]) -> httpx2.AsyncClient:
    """Return a client. Raises InvalidArgument for certificates or a proxy of the environment that are of no use."""
    tls = trusting(base)
    try:
        return httpx2.AsyncClient(
            headers={**headers, "User-Agent": f"devbox-mcp/{__version__}", "Accept-Encoding": "identity"},
            verify=tls,
            http2=importlib.util.find_spec("h2") is not None,
            timeout=_TIMEOUT,
            limits=_LIMITS,
            follow_redirects=False,
        )
    except (ImportError, ValueError, httpx2.InvalidURL):
        # which tells the proxy's URL, and so a password
        raise InvalidArgument(
            "connect", ".", "the proxy that the environment names cannot be used", hint="write it as http://HOST:PORT"
        ) from None


async def _settle(sending: asyncio.Future[Answer]) -> None:
    with anyio.CancelScope(shield=True):
        await asyncio.wait([sending], timeout=_SETTLING)
    sending.cancel()
    with suppress(Lost, asyncio.CancelledError):
        await sending


async def _read(response: httpx2.Response, most: int) -> bytes:
    """Return a body. Raises Lost where it breaks off, or is longer than any that makes sense."""
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in response.aiter_raw():
            size += len(piece)
            if size > most:
                raise Lost("the server's answer is longer than any that makes sense", sent=True)
            pieces.append(piece)
    except (httpx2.TransportError, httpx2.StreamError) as error:
        raise lost(error) from error
    finally:
        await response.aclose()
    return b"".join(pieces)


def _again(error: Exception, status: int, headers: httpx2.Headers) -> Exception:
    """Return an error as one that may be tried again, where the server had not begun. A devbox that cannot be reached
    (a problem with 503) was tried often enough by the gateway itself."""
    is_problem = headers.get("content-type", "").startswith("application/problem+json")
    if status == 429 or (status == 503 and not is_problem):
        return Again(error, _after(headers))
    return error


def _after(headers: httpx2.Headers) -> float | None:
    """Return the seconds of Retry-After, where it tells them; no longer than anybody waits."""
    text = headers.get("retry-after", "")
    return min(float(text), _LONGEST_WAIT) if text.isascii() and text.isdigit() else None


def parsed(parse: Callable[[Any], T], body: bytes | str, op: str, path: str) -> T:
    """Make a model of JSON. Raises Integrity for what makes none."""
    try:
        return parse(json.loads(body))
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise Integrity(op, path, "the server's answer makes no sense", hint="try again") from error
