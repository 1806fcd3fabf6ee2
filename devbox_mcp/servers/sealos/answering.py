"""Answers in Sealos' envelope: what went wrong is told in the body, and HTTP says 200 to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.responses import Response

from devbox_mcp.errors import DevboxError, bounded, printable
from devbox_mcp.servers.outgoing import Stream

SUCCESS = 0
#: By code; whatever is not here is INTERNAL.
STATUS = {
    "invalid_argument": 1400,
    "is_directory": 1400,
    "not_directory": 1400,
    "unauthenticated": 1401,
    "forbidden": 1403,
    "denied": 1403,
    "escapes_root": 1403,
    "permission_denied": 1403,
    "read_only": 1403,
    "not_found": 1404,
    "busy": 1409,
    "conflict": 1409,
    "exists": 1409,
    "not_empty": 1409,
    "too_many_links": 1409,
    "edit_mismatch": 1422,
    "integrity": 1422,
    "too_large": 1422,
    "unsupported": 1422,
}
INTERNAL = 1500


def succeeded(fields: Mapping[str, Any]) -> Response:
    """Answer with what was asked for."""
    return _json({"status": SUCCESS, "message": "success", **fields}, 200)


def failed(error: DevboxError, http: int = 200) -> Response:
    """Answer with what went wrong. ``code`` and ``path`` are more than Sealos' own server tells."""
    fields = {
        "status": STATUS.get(error.code, INTERNAL),
        "message": message_of(error),
        "code": error.code,
        "path": printable(bounded(error.path)),
    }
    return _json(fields, http)


def message_of(error: DevboxError) -> str:
    """Return an error as one sentence."""
    detail = printable(bounded(error.detail))
    return f"{detail}; {error.hint}" if error.hint else detail


def _json(fields: Mapping[str, Any], http: int) -> Response:
    return Response(json.dumps(fields, separators=(",", ":")), http, media_type="application/json")


def streamed(chunks: AsyncIterator[bytes], headers: Mapping[str, str]) -> Response:
    """Answer with bytes as they come; ``headers`` by their names in lower case."""
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return Stream(200, raw, chunks)
