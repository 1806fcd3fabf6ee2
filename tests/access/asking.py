"""Requests as these tests send them: exactly as written, one connection each."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

JSON = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


class Reply:
    """An answer, whole."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def code(self) -> str | None:
        """The code of a problem."""
        if self.headers.get_content_type() != "application/problem+json":
            return None
        code: str = json.loads(self.body)["code"]
        return code

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def message(self) -> dict[str, Any]:
        """Return the JSON-RPC message, be it plain or an event."""
        text = self.body.decode()
        if self.headers.get_content_type() == "text/event-stream":
            (text,) = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
        message: dict[str, Any] = json.loads(text)
        return message


def ask(
    url: str,
    path: str,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    *,
    method: str = "GET",
    body: bytes | None = None,
    host: str | None = None,
) -> Reply:
    """Ask the server at an address for a path; the path goes out byte for byte. Headers as pairs may be sent twice.
    ``host`` is for another Host."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.putrequest(method, path, skip_host=host is not None)
        if host is not None:
            connection.putheader("Host", host)
        for name, value in headers.items() if isinstance(headers, Mapping) else headers or ():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return Reply(connection.getresponse())
    finally:
        connection.close()


def fetch(address: str, headers: Mapping[str, str] | None = None, **how: Any) -> Reply:
    """Ask for a whole address."""
    parts = urlsplit(address)
    return ask(address, f"{parts.path}?{parts.query}" if parts.query else parts.path, headers, **how)


def request(method: str, **params: Any) -> bytes:
    """Return a request of the modern era, which is whole by itself."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}).encode()


def rpc(url: str, headers: Mapping[str, str], method: str, **params: Any) -> Reply:
    """Send a request of MCP."""
    routing = {"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": method}
    name = params.get("name") or params.get("uri")
    if name is not None:
        routing["Mcp-Name"] = name
    return ask(url, "/mcp", {**JSON, **routing, **headers}, method="POST", body=request(method, **params))
