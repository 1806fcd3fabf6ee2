"""Many small requests over one WebSocket. httpx2 is passed by: it is most of what a small call costs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, WebSocketException
from websockets.typing import Subprotocol

from devbox_mcp.backends.http import messages
from devbox_mcp.backends.http.failures import Lost
from devbox_mcp.backends.http.trust import trusting

#: More at the same time go over HTTP.
_MOST_IN_FLIGHT = 100
#: Seconds after which a server that refused the upgrade is asked again.
_REFUSED = 60.0
_OPENING = 10.0
#: Seconds that the end of a request which is given up is waited for.
_GIVING_UP = 10.0
_BROKE = "the connection to the server broke"


class Tunnel:
    """Sends a request as a message where it fits into one and the server lets it. A request that is cancelled is over,
    on the server too, when the cancellation arrives."""

    def __init__(self, base: str, headers: Mapping[str, str]) -> None:
        """``base`` is the URL that requests are beneath, and ``ws`` is at."""
        self._url = "ws" + base.removeprefix("http") + "/ws"
        self._headers = headers
        self._wire: _Wire | None = None
        self._opening = asyncio.Lock()
        self._refused = float("-inf")
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._wire is not None and not self._wire.broken

    async def ask(
        self,
        method: str,
        route: str,
        parameters: Mapping[str, object],
        headers: Mapping[str, str],
        body: bytes,
        seconds: float,
    ) -> messages.Answer | None:
        """Send a request and return its answer; None where it has to go over HTTP. Raises Lost."""
        wire = await self._open()
        if wire is None:
            return None
        number = wire.number()
        message = messages.request(number, method, route, parameters, headers, body)
        return None if message is None else await wire.ask(number, message, seconds)

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
                # a context of its own: that for HTTP offers HTTP/2
                ssl=trusting("https:") if self._url.startswith("wss:") else None,
                logger=_silent(),
            )
        except (InvalidHandshake, ImportError):  # which is of a proxy that needs another package
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

    async def ask(self, number: int, message: bytes, seconds: float) -> messages.Answer:
        """Send a request and return its answer. Raises Lost."""
        answered: asyncio.Future[messages.Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answered
        try:
            if self.broken:
                raise Lost("the WebSocket is closed", sent=False)
            await self._connection.send(message)
            async with asyncio.timeout(seconds):
                return await asyncio.shield(answered)
        except ConnectionClosed:
            raise Lost(_BROKE, sent=True) from None
        except TimeoutError:
            await self._give_up(number, answered)
            raise Lost("the server did not answer in time", sent=True) from None
        except asyncio.CancelledError:
            await self._give_up(number, answered)
            raise
        finally:
            del self._waiting[number]
            if answered.done() and not answered.cancelled():
                answered.exception()  # nobody may be left to hear it

    async def _give_up(self, number: int, answered: asyncio.Future[messages.Answer]) -> None:
        with anyio.move_on_after(_GIVING_UP, shield=True), suppress(ConnectionClosed, Lost):
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
            self._end("the server's message makes no sense")
            await self._connection.close()
        finally:
            self._end(_BROKE)

    def _end(self, reason: str) -> None:
        self.broken = True
        for answered in self._waiting.values():
            if not answered.done():
                answered.set_exception(Lost(reason, sent=True))

    async def aclose(self) -> None:
        """Close it; whoever waits is told so."""
        self._end("the WebSocket was closed")
        await self._connection.close()
        with suppress(asyncio.CancelledError):
            await self._reading
