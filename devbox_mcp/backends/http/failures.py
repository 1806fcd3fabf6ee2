"""What a server says went wrong, and what httpx2 does, as the project's errors. The only place that maps them."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from typing import Any

import httpx2

from devbox_mcp import errors
from devbox_mcp.errors import BY_CODE, DevboxError, Unavailable, from_code

#: Bytes of an error that are read.
MOST = 1 << 20
_LONGEST_TEXT = 4096
_RESERVED = frozenset({"self", "op", "path", "detail", "hint"})
#: For answers that are no problem of the API: a proxy's, or another server's.
_BY_STATUS: dict[int, type[DevboxError]] = {
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.Unsupported,
    408: errors.Timeout,
    409: errors.Conflict,
    412: errors.Conflict,
    413: errors.TooLarge,
    422: errors.Integrity,
    423: errors.Busy,
    429: errors.RateLimited,
    499: errors.Cancelled,
    501: errors.Unsupported,
    504: errors.Timeout,
    507: errors.NoSpace,
}
#: They say that nothing was sent.
_BEFORE = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)


class Lost(Exception):
    """An answer that did not come. ``sent`` tells whether the request may have been carried out."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent

    def told(self, op: str, path: str, *, changes: bool) -> Unavailable:
        """Return it as the error of an operation."""
        if changes and self.sent:
            return Unavailable(
                op, path, f"the connection broke before the answer: {self.reason}", hint="look whether it happened"
            )
        return Unavailable(op, path, self.reason)


def lost(error: Exception) -> Lost:
    """Return httpx2's error as a lost answer. Its text may hold a proxy's URL, and so a password: it is not told."""
    if isinstance(error, httpx2.ConnectTimeout | httpx2.PoolTimeout):
        return Lost("the server could not be reached in time", sent=False)
    if isinstance(error, httpx2.TimeoutException):
        return Lost("the server did not answer in time", sent=True)
    if isinstance(error, httpx2.ProxyError):
        return Lost("the proxy of the environment refused the connection", sent=False)
    if isinstance(error, _BEFORE):
        if distrust := _distrust(error):
            return Lost(distrust, sent=False)
        return Lost(f"the server cannot be reached: {_cause(error)}; see that it runs and the URL is right", sent=False)
    return Lost("the connection to the server broke", sent=True)


def _distrust(error: BaseException) -> str | None:
    """Return what is wrong with the server's certificate, None where it is something else."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = cause.verify_message.rstrip(".")
            return f"the server's certificate is not trusted: {why}; SSL_CERT_FILE names authorities of your own"
    return None


def _cause(error: BaseException) -> str:
    """Return why a connection failed, by the system's words or TLS's."""
    said = (cause.strerror for cause in _causes(error) if isinstance(cause, OSError) and cause.strerror)
    return next(said, "the connection failed").lower()


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def failure(status: int, media_type: str, body: bytes, op: str, path: str) -> DevboxError:
    """Return what an answer that is no success says."""
    if media_type.startswith("application/problem+json"):
        try:
            return problem(json.loads(body), op, path)
        except (ValueError, TypeError, KeyError, RecursionError):
            pass
    if 300 <= status < 400:
        return Unavailable(op, path, f"the server sends elsewhere ({status}), and that is not followed")
    kind = _BY_STATUS.get(status, errors.InvalidArgument if 400 <= status < 500 else Unavailable)
    return kind(op, path, f"the server answered {status}, and not as a gateway does", hint=_hint(status))


def _hint(status: int) -> str:
    if status == 404:
        return "look whether the URL is right: https://HOST/v1/devboxes/NAME"
    return "send a key: DEVBOX_MCP_API_KEY" if status == 401 else ""


def problem(found: Any, op: str, path: str) -> DevboxError:
    """Return the error that a problem tells. Raises ValueError, TypeError, KeyError for what is none."""
    code, where, detail, hint = (_text(found[name]) for name in ("code", "path", "detail", "hint"))
    if code not in BY_CODE:
        raise KeyError(code)
    data = found.get("data", {})
    if type(data) is not dict:
        raise TypeError("data")
    kept = {key: value for key, value in data.items() if key not in _RESERVED}
    # those of a request that is wrong as a whole tell the address
    return from_code(code, op, path if where in ("", ".") or where.startswith("/") else where, detail, hint, kept)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(type(value).__name__)
    return value[:_LONGEST_TEXT]
