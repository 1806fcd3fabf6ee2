"""Messages of the WebSocket: one line of JSON, a line feed, a body (docs/http-api.md). No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

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


def request(
    number: int, method: str, route: str, parameters: Mapping[str, object], headers: Mapping[str, str], body: bytes
) -> bytes | None:
    """Return a request for a route, of encoded parts, as a message; None for one that does not fit into any."""
    if len(body) > MOST_BODY:
        return None
    asked = {
        "id": number,
        "method": method,
        "path": route,
        "query": {name: value for name, value in parameters.items() if value is not None},
        "headers": headers,
    }
    try:
        line = json.dumps(asked, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError:
        return None  # bytes that are no text, which an address can hold
    return line + b"\n" + body if len(line) <= _LONGEST_LINE else None


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
