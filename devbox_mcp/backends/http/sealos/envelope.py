"""Sealos' envelope: ``status`` in the body says how it went, and HTTP says 200 to nearly everything. No I/O."""

from __future__ import annotations

import json
from typing import Any

from devbox_mcp import errors
from devbox_mcp.errors import DevboxError, Integrity

_ERRORS: dict[int, type[DevboxError]] = {
    1400: errors.InvalidArgument,
    1401: errors.Unauthenticated,
    1403: errors.PermissionDenied,
    1404: errors.NotFound,
    1409: errors.Exists,
    1422: errors.InvalidArgument,
    1500: errors.IoError,
    1600: errors.IoError,
}
_LONGEST = 300


def is_envelope(body: bytes) -> bool:
    """Whether this is what such a server says when it is well; a gateway of ours says so too, and who it is."""
    try:
        found = json.loads(body)
        return (
            type(found["status"]) is int
            and found["status"] == 0
            and type(found["message"]) is str
            and ("server" not in found)
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def opened(body: bytes, op: str, path: str, root: str) -> dict[str, Any]:
    """Return the fields of a success. Raises the error that the envelope tells, whose message may name places of the
    server's machine: only what is behind the root is told on. Raises Integrity for what is no envelope."""
    try:
        found = json.loads(body)
        status, message = found["status"] + 0, found.get("message", "") + ""
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Integrity(op, path, "the server's answer makes no sense", hint="try again") from error
    if status == 0:
        return dict(found)
    said = message[:_LONGEST].replace(root + "/", "")
    detail = "" if "/" in said else f"the server says: {said}" if said else f"the server says {status}"
    raise _ERRORS.get(status, errors.IoError)(op, path, detail)
