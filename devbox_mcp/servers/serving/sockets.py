"""WebSockets whose handshake or frames make no sense are ended, and somebody is told."""

from __future__ import annotations

from urllib.parse import unquote

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode
from websockets.http11 import Request

from devbox_mcp.servers.serving.refusing import OnRefusal, refusal


class WebSocketConnection(WebSocketsSansIOProtocol):
    """One WebSocket, from its handshake on."""

    on_refusal: OnRefusal = staticmethod(lambda _code, _scope: None)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated and not self.transport.is_closing():
            # uvicorn would neither answer this nor hang up
            self.on_refusal("invalid_argument", {"path": ""})
            self.transport.write(refusal(400, "invalid_argument", "this is no handshake of a WebSocket"))
            self.transport.close()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code != 101:
            self.on_refusal("invalid_argument", {"path": unquote(event.path.partition("?")[0])})

    def handle_parser_exception(self) -> None:
        super().handle_parser_exception()
        assert self.conn.close_sent is not None
        large = self.conn.close_sent.code == CloseCode.MESSAGE_TOO_BIG
        self.on_refusal("too_large" if large else "invalid_argument", dict(self.scope))
