"""What is told of errors."""

from __future__ import annotations

from typing import Any

from devbox_mcp.errors import BY_CODE
from devbox_mcp.servers.problems import STATUS

_OF_HTTP = {
    "method_not_allowed": "this address does not take this method",
    "range_not_satisfiable": "the range begins behind the end",
    "internal": "the server has a fault",
}
_TEXT: dict[str, Any] = {"type": "string"}

#: RFC 9457, with the project's own members.
PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "What went wrong, as RFC 9457 has it.",
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": _TEXT,
        "status": {"type": "integer"},
        "code": {"type": "string", "enum": sorted({*STATUS, *BY_CODE, "internal"}), "description": "for programs"},
        "op": {"type": "string", "description": "the operation"},
        "path": {"type": "string", "description": "what it was about, relative to the root"},
        "detail": {"type": "string", "description": "what is wrong, for people"},
        "hint": {"type": "string", "description": "what to do next"},
        "retryable": {"type": "boolean", "description": "whether the same request may go through later"},
        "request_id": {"type": ["string", "null"]},
        "data": {"type": "object", "description": "what else there is to know, such as the current sha256"},
    },
    "required": ["type", "title", "status", "code", "op", "path", "detail", "hint", "retryable", "request_id"],
}


def details_of(code: str) -> str:
    """Return what an error means, as a clause."""
    kind = BY_CODE.get(code)
    if kind is None or code in _OF_HTTP:
        return _OF_HTTP.get(code, code)
    text = (kind.__doc__ or code).strip().rstrip(".")
    return text[:1].lower() + text[1:]
