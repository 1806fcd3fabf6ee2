"""Errors as HTTP tells them: ``application/problem+json`` (RFC 9457) with the project's codes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from devbox_mcp.errors import DevboxError, bounded, printable

_TYPE = "https://devbox-mcp.dev/errors/"

#: By code; whatever is not here is 500.
STATUS = {
    "invalid_argument": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "denied": 403,
    "permission_denied": 403,
    "escapes_root": 403,
    "read_only": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "exists": 409,
    "is_directory": 409,
    "not_directory": 409,
    "not_empty": 409,
    "too_many_links": 409,
    "edit_mismatch": 409,
    "busy": 409,
    "conflict": 412,
    "too_large": 413,
    "range_not_satisfiable": 416,
    "integrity": 422,
    "rate_limited": 429,
    "cancelled": 499,
    "unsupported": 501,
    "unavailable": 503,
    "timeout": 504,
    "no_space": 507,
}
#: Seconds after which what may go through later is worth another try, where nobody knows better.
_RETRY_AFTER = "1"


def fields(error: DevboxError) -> dict[str, Any]:
    """Return an error as JSON: its code, operation, path, what is wrong, what to do next, and what else it tells."""
    found: dict[str, Any] = {
        "code": error.code,
        "op": error.op,
        "path": printable(bounded(error.path)),
        "detail": printable(bounded(error.detail)),
        "hint": error.hint,
        "retryable": error.retryable,
    }
    return {**found, "data": error.data} if error.data else found


def problem(
    error: DevboxError, request_id: str | None, *, status: int | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the answer to a request that failed. ``status`` is for what HTTP tells apart and the codes do not."""
    number = status or STATUS.get(error.code, 500)
    body = {
        "type": _TYPE + error.code,
        "title": error.code.replace("_", " ").capitalize(),
        "status": number,
        **fields(error),
        "request_id": request_id,
    }
    extra = dict(headers or {})
    if number in (429, 503):
        extra.setdefault("Retry-After", _RETRY_AFTER)
    if number == 401:
        extra.setdefault("WWW-Authenticate", "Bearer")
    return Response(json.dumps(body), number, extra, "application/problem+json")
