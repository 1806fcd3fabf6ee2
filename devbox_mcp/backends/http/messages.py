"""Messages of the WebSocket: one line of JSON, a line feed, a body (docs/http-api.md). No I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import httpx2

PROTOCOL = "devbox.v1"
#: Of a body, either way.
MOST_BODY = 1 << 20
#: Of a whole message that is taken: a body, and a line with headers.
MOST_MESSAGE = MOST_BODY + (1 << 20)
_LONGEST_LINE = 60_000


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to request ``number``."""

    number: int
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def request(number: int, prefix: bytes, request: httpx2.Request, body: bytes) -> bytes | None:
    """Return a request as a message, None for one that does not fit into any."""
    raw, _, query = request.url.raw_path.partition(b"?")
    if not raw.startswith(prefix) or len(body) > MOST_BODY:
        return None
    pairs: dict[str, Any] = {}
    try:
        for name, value in parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict"):
            if name in pairs:
                return None
            pairs[name] = value
    except UnicodeDecodeError:
        return None
    line = json.dumps(
        {
            "id": number,
            "method": request.method,
            "path": raw[len(prefix) :].decode("ascii"),
            "query": pairs,
            "headers": {name: value for name, value in request.headers.items() if name not in _OF_CONNECTION},
        },
        separators=(",", ":"),
    ).encode("ascii")
    return line + b"\n" + body if len(line) <= _LONGEST_LINE else None


_OF_CONNECTION = frozenset(
    {"authorization", "connection", "content-length", "host", "transfer-encoding", "accept-encoding", "user-agent"}
)


def cancel(number: int) -> bytes:
    """Return the message that gives a request up."""
    return json.dumps({"id": number, "cancel": True}).encode("ascii") + b"\n"


def answer(message: object) -> Answer:
    """Parse what a server says. Raises ValueError, TypeError, KeyError for what makes no sense."""
    if type(message) is not bytes:
        raise TypeError("a binary message")
    line, _, body = message.partition(b"\n")
    found = json.loads(line)
    number, status, headers = found["id"], found["status"], found["headers"]
    if type(number) is not int or type(status) is not int or not 200 <= status <= 599 or len(body) > MOST_BODY:
        raise ValueError("an answer")
    told = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
    return Answer(number, status, told, body)
