"""The same deadlines on httptools, which parses several times as fast as h11 and bounds nothing by itself."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from devbox_mcp.servers.serving.connections import MOST_HEAD, Deadlines


class HeadTooLarge(Exception):
    """Ends the parsing."""


class FastConnection(Deadlines, HttpToolsProtocol):  # type: ignore[misc]  # Deadlines is typed as if above h11
    """On httptools."""

    _in_body = False

    @property
    def _reading_body(self) -> bool:
        return self._in_body

    def on_headers_complete(self) -> None:
        # counted only where so much has come that the head may be over the bound; a body may have come with it
        if self._fed > MOST_HEAD and len(self.url) + sum(len(n) + len(v) + 4 for n, v in self.headers) > MOST_HEAD:
            raise HeadTooLarge
        self._fed = 0
        self._in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()
