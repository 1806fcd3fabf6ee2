"""Many small requests over one WebSocket, as a transport of httpx2: whoever asks does not know the difference."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress

import anyio
import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, WebSocketException
from websockets.typing import Subprotocol

from devbox_mcp.backends.http import messages

#: More at the same time go over HTTP.
_MOST_IN_FLIGHT = 100
#: Seconds after which a server that refused the upgrade is asked again.
_REFUSED = 60.0
_OPENING = 10.0
#: Seconds that the end of a request which is given up is waited for.
_GIVING_UP = 10.0


class WebSocketTransport(httpx2.AsyncBaseTransport):
    """Sends a request as a message where it fits into one and the server lets it, otherwise as ``http`` does. A
    request that is cancelled is over, on the server too, when the cancellation arrives."""

    def __init__(
        self, base: str, headers: Mapping[str, str], tls: ssl.SSLContext | None, http: httpx2.AsyncClient
    ) -> None:
        """``base`` is the URL that requests are beneath, and ``ws`` is at. ``http`` stays the caller's."""
        self._url = "ws" + base.removeprefix("http") + "/ws"
        self._prefix = httpx2.URL(base).raw_path + b"/"
        self._headers = headers
        self._tls = tls
        self._http = http
        self._wire: _Wire | None = None
        self._opening = asyncio.Lock()
        self._refused = float("-inf")
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._wire is not None and not self._wire.broken

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        whole = request.stream if isinstance(request.stream, httpx2.ByteStream) else None
        wire = None if whole is None else await self._open()
        if whole is not None and wire is not None:
            body = b"".join([piece async for piece in whole])
            number = wire.number()
            message = messages.request(number, self._prefix, request, body)
            if message is not None:
                found = await wire.ask(number, message, request.extensions.get("timeout", {}).get("read"))
                return httpx2.Response(found.status, headers=found.headers, stream=httpx2.ByteStream(found.body))
        return await self._http.send(request, stream=True)

    async def _open(self) -> _Wire | None:
        """Return a connection with room for a request, None where there is none: HTTP then says what is wrong."""
        if self._wire is None or self._wire.broken:
            async with self._opening:
                if self._closed or time.monotonic() - self._refused < _REFUSED:
                    return None
                if self._wire is None or self._wire.broken:
                    self._wire = await self._connect()
        wire = self._wire
        return wire if wire is not None and wire.under_way < _MOST_IN_FLIGHT else None

    async def _connect(self) -> _Wire | None:
        try:
            connection = await connect(
                self._url,
                subprotocols=[Subprotocol(messages.PROTOCOL)],
                additional_headers=self._headers,
                user_agent_header=None,
                compression=None,
                max_size=messages.MOST_MESSAGE,
                open_timeout=_OPENING,
                close_timeout=1.0,
                ssl=self._tls,
                logger=_silent(),
            )
        except InvalidHandshake:
            self._refused = time.monotonic()
            return None
        except (OSError, WebSocketException):
            return None
        if connection.subprotocol != messages.PROTOCOL:
            self._refused = time.monotonic()
            await connection.close()
            return None
        return _Wire(connection)

    async def aclose(self) -> None:
        """End the connection, and what is under way on it."""
        self._closed = True
        if self._wire is not None:
            await self._wire.aclose()


def _silent() -> logging.Logger:
    """Return a logger that takes nothing: the library's would be told the key, as a header of the upgrade."""
    logger = logging.Logger("devbox_mcp.backends.http.websocket")  # noqa: LOG001  its own, which nobody configures
    logger.disabled = True
    return logger


class _Wire:
    """One open connection, with those who wait for an answer, by the number of their request."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._waiting: dict[int, asyncio.Future[messages.Answer]] = {}
        self._last = 0
        self.broken = False
        self._reading = asyncio.create_task(self._read())

    @property
    def under_way(self) -> int:
        """How many requests are."""
        return len(self._waiting)

    def number(self) -> int:
        """Return a number for one more request."""
        self._last += 1
        return self._last

    async def ask(self, number: int, message: bytes, seconds: float | None) -> messages.Answer:
        """Send a request and return its answer. Raises httpx2's errors, as HTTP would."""
        answered: asyncio.Future[messages.Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answered
        try:
            if self.broken:
                raise httpx2.ConnectError("the WebSocket is closed")
            await self._connection.send(message)
            async with asyncio.timeout(seconds):
                return await asyncio.shield(answered)
        except ConnectionClosed:
            raise httpx2.WriteError("the WebSocket broke") from None
        except TimeoutError:
            await self._give_up(number, answered)
            raise httpx2.ReadTimeout("no answer over the WebSocket") from None
        except asyncio.CancelledError:
            await self._give_up(number, answered)
            raise
        finally:
            del self._waiting[number]
            if answered.done() and not answered.cancelled():
                answered.exception()  # nobody may be left to hear it

    async def _give_up(self, number: int, answered: asyncio.Future[messages.Answer]) -> None:
        with anyio.move_on_after(_GIVING_UP, shield=True), suppress(ConnectionClosed, httpx2.TransportError):
            await self._connection.send(messages.cancel(number))
            await answered

    async def _read(self) -> None:
        try:
            async for message in self._connection:
                found = messages.answer(message)
                answered = self._waiting.get(found.number)
                if answered is not None and not answered.done():
                    answered.set_result(found)
        except (ConnectionClosed, OSError):
            pass
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self._end(httpx2.RemoteProtocolError("the server's message makes no sense"))
            await self._connection.close()
        finally:
            self._end(httpx2.ReadError("the WebSocket broke"))

    def _end(self, error: httpx2.TransportError) -> None:
        self.broken = True
        for answered in self._waiting.values():
            if not answered.done():
                answered.set_exception(error)

    async def aclose(self) -> None:
        """Close it; whoever waits is told so."""
        self._end(httpx2.ReadError("the WebSocket was closed"))
        await self._connection.close()
        with suppress(asyncio.CancelledError):
            await self._reading
