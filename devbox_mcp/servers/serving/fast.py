"""The same deadlines on httptools, which parses several times as fast as h11 and bounds nothing by itself."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from devbox_mcp.servers.serving.connections import MOST_HEAD, Deadlines


class HeadTooLarge(Exception):
    """Ends the parsing."""


class FastConnection(Deadlines, HttpToolsProtocol):  # type: ignore[misc]  # Deadlines is typed as if above h11
    """On httptools."""

    _in_body = False
    #: Bytes of fields behind the body.
    _behind = 0

    @property
    def _reading_body(self) -> bool:
        return self._in_body

    def on_headers_complete(self) -> None:
        # counted only where so much has come that the head may be over the bound; a body may have come with it
        if self._fed > MOST_HEAD and len(self.url) + sum(len(n) + len(v) + 4 for n, v in self.headers) > MOST_HEAD:
            raise HeadTooLarge
        self._fed = 0
        self._behind = 0
        self._in_body = True
        super().on_headers_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body:
            super().on_header(name, value)
            return
        # nobody reads what stands behind a body, and among the headers it would be taken for one
        self._behind += len(name) + len(value) + 4
        if self._behind > MOST_HEAD:
            raise HeadTooLarge

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()
