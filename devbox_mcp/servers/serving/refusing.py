"""Refusals of what the application never hears of."""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus

from starlette.types import Scope

#: Told the code of a refusal, and of which request; its path is empty where it never became one.
OnRefusal = Callable[[str, Scope], None]


def problem(status: int, code: str, detail: str, *, retryable: bool = False) -> bytes:
    """Return a problem as JSON."""
    told = {
        "type": f"https://devbox-mcp.dev/errors/{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
        "detail": detail,
        "retryable": retryable,
    }
    return json.dumps(told).encode()


def refusal(status: int, code: str, detail: str) -> bytes:
    """Return a whole answer, after which the connection is closed."""
    body = problem(status, code, detail)
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/problem+json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
