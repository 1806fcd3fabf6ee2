"""Connections that do not wait for ever: for a request's head, or for a client that stopped reading.

uvicorn's protocols have no time-outs of their own but the one between two requests. An ordinary request, whose head
arrives in one piece, costs nothing here: timers run only for what is incomplete.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from devbox_mcp.servers.serving.refusing import OnRefusal, refusal
from devbox_mcp.servers.serving.together import Together

#: A request's line and headers in all.
MOST_HEAD = 32 * 1024


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that a connection waits: for the whole of a request's ``head``, and for any progress of its ``body`` or
    of the answer to it."""

    head: float = 10.0
    body: float = 30.0


if TYPE_CHECKING:
    _Base = H11Protocol
else:
    _Base = object


class Deadlines(_Base):
    """What both protocols get: the timers of one connection."""

    timeouts = Timeouts()
    on_refusal: OnRefusal = staticmethod(lambda _code, _scope: None)
    _head: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None
    #: Bytes that came since the last head was complete.
    _fed = 0
    _upgraded = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(Together(transport, self.loop))
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head = _stop(self._head)
        self._stuck = _stop(self._stuck)
        # uvicorn keeps this timer where the connection broke, and with it the connection's memory
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._fed += len(data)
        super().data_received(data)
        if self._upgraded or self.transport.is_closing():
            return
        cycle: object = self.cycle  # None before the first request, whatever its annotation says
        if cycle is not None and not self.cycle.response_complete:
            self._fed = 0
            self._head = _stop(self._head)
            return
        # what arrives now is a head, or the rest of a body that was refused; neither may take for ever
        if self._reading_body:
            self._fed = 0
        elif self._fed > MOST_HEAD:
            self._refuse_head()
            return
        if self._head is None:
            self._await_head()

    def handle_websocket_upgrade(self, *args: Any) -> None:
        self._upgraded = True
        self._head = _stop(self._head)
        super().handle_websocket_upgrade(*args)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stuck = _stop(self._stuck)

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        # what is still to be sent keeps a closed connection open
        self._await_reader()

    def send_400_response(self, msg: str) -> None:
        # what was fed may be a body, whose chunks make no sense
        if self._fed > MOST_HEAD and not self._reading_body:
            self._refuse_head()
        else:
            self._refuse(400, "invalid_argument", "this is no HTTP request")

    @property
    def _reading_body(self) -> bool:
        """Whether the next bytes belong to a body."""
        raise NotImplementedError

    def _await_head(self) -> None:
        self._head = self.loop.call_later(self.timeouts.head, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head = None
        if self._fed:
            self._refuse(408, "timeout", f"the request's head did not arrive within {self.timeouts.head:g} seconds")
        else:
            self.transport.close()
            self._await_reader()

    def _await_reader(self) -> None:
        if self._stuck is None:
            self._stuck = self.loop.call_later(self.timeouts.body, self.transport.abort)

    def _refuse_head(self) -> None:
        self._refuse(431, "too_large", f"the request's head is over {MOST_HEAD} bytes")

    def _refuse(self, status: int, code: str, detail: str) -> None:
        if not self.transport.is_closing():
            if not self._reading_body:
                # the application hears of a body that breaks off, and tells it
                self.on_refusal(code, {"path": ""})
            self.transport.write(refusal(status, code, detail))
            self.transport.close()
            self._await_reader()


def _stop(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """Cancel a timer; return that there is none now."""
    if timer is not None:
        timer.cancel()
    return None


class PlainConnection(Deadlines, H11Protocol):
    """On h11."""

    @property
    def _reading_body(self) -> bool:
        if self.conn.their_state is not h11.ERROR:
            return self.conn.their_state is h11.SEND_BODY
        # it does not say in what the nonsense came
        cycle: object = self.cycle  # None before the first request, whatever its annotation says
        return cycle is not None and self.cycle.more_body and not self.cycle.response_complete
