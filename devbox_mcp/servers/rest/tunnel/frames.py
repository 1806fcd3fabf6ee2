"""Messages of a tunnel: one line of JSON, a line feed, a body. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PROTOCOL = "devbox.v1"
#: Of a body, either way.
MOST_BODY = 1 << 20
_MOST_LINE = 64 << 10
_PATH = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
#: What is the connection's, not the request's.
_OF_CONNECTION = frozenset({
    "authorization", "connection", "content-length", "expect", "host", "origin", "transfer-encoding", "upgrade",
})  # fmt: skip

Number = Annotated[int, Field(ge=0, le=2**53)]
Value = str | int | float | bool


class Malformed(Exception):
    """A message that makes no sense. ``number`` is whose it is, None where not even that can be told."""

    def __init__(self, reason: str, number: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.number = number


class TooLong(Malformed):
    """A body over the limit."""


def _unique(pairs: list[tuple[str, object]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key is given twice")


_ONCE = json.JSONDecoder(object_pairs_hook=_unique)


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    id: Number
    cancel: bool = False
    method: Annotated[str, Field(pattern=r"^[A-Z]{1,20}$")] = "GET"
    path: Annotated[str, Field(max_length=20_000)] = ""
    query: dict[str, Value | list[Value]] = {}
    headers: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, ready to be sent to the routes."""

    number: int
    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


@dataclass(frozen=True, slots=True)
class Cancel:
    """The end of a request."""

    number: int


def parse(message: bytes) -> Asked | Cancel:
    """Parse a message. Raises Malformed."""
    line, _, body = message.partition(b"\n")
    if len(line) > _MOST_LINE:
        raise Malformed(f"the line is longer than {_MOST_LINE} bytes")
    try:
        asked = _Line.model_validate_json(line)
    except ValidationError as error:
        raise Malformed(_reason(error), _number(line)) from None
    try:
        # of two, others on the way may have taken the other
        _ONCE.decode(line.decode())
    except ValueError as error:
        raise Malformed(str(error)[:80], asked.id) from None
    if asked.cancel:
        return Cancel(asked.id)
    if len(body) > MOST_BODY:
        raise TooLong(f"the body is larger than the {MOST_BODY} bytes of a message", asked.id)
    if not _PATH.fullmatch(asked.path):
        raise Malformed("the path is not percent-encoded", asked.id)
    headers = [*_headers(asked), (b"content-length", b"%d" % len(body))]
    query = urlencode(list(_pairs(asked.query)), errors="surrogateescape").encode("ascii")
    return Asked(asked.id, asked.method, asked.path, query, headers, body)


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return ".".join([*map(str, first["loc"]), ""]) + " " + str(first["msg"])[:80]


def _number(line: bytes) -> int | None:
    """Return whose a line is that is wrong otherwise."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    number = found.get("id") if isinstance(found, dict) else None
    return number if type(number) is int and 0 <= number <= 2**53 else None


def _headers(asked: _Line) -> Iterable[tuple[bytes, bytes]]:
    for name, value in asked.headers.items():
        if not _HEADER.fullmatch(name) or not _VALUE.fullmatch(value):
            raise Malformed(f"{name[:60]!r} is no header", asked.id)
        if name.lower() not in _OF_CONNECTION:
            yield name.lower().encode("ascii"), value.encode("latin-1")


def _pairs(query: Mapping[str, Value | list[Value]]) -> Iterable[tuple[str, str]]:
    for name, values in query.items():
        for value in values if isinstance(values, list) else [values]:
            yield name, str(value).lower() if isinstance(value, bool) else str(value)


def answer(
    number: int,
    status: int,
    headers: Iterable[tuple[bytes, bytes]],
    body: bytes = b"",
    *,
    more: bool = False,
) -> bytes:
    """Return an answer as a message."""
    told: dict[str, str] = {}
    for name, value in headers:
        text = value.decode("latin-1")
        key = name.decode("latin-1")
        told[key] = f"{told[key]}, {text}" if key in told else text
    line: dict[str, Any] = {"id": number, "status": status, "headers": told}
    if more:
        line["more"] = True
    return json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n" + body
