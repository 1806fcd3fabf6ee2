"""A request that is refused leaves a line in the audit log, whichever room refused it."""

from __future__ import annotations

import json
import time
from http import HTTPStatus
from http.client import responses
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from devbox_mcp.audit import AuditLog, AuditRecord, keep, witnessed
from devbox_mcp.callers import ANONYMOUS, Caller
from devbox_mcp.servers.access.refusing import PROBES

#: Where in a request's state its refusal is noted.
_REFUSED = "refused"
#: Problems are short; what is longer is none.
_LONGEST_PROBLEM = 64 << 10


class Refusals:
    """Stands around everything that refuses, and records what was refused before an operation began, before it is
    answered. An operation has a line of its own, where it fails too. Asks whether the server lives are none."""

    def __init__(self, app: ASGIApp, audit: AuditLog) -> None:
        self._app = app
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        answer = _Answer()
        state: dict[str, Any] = scope.setdefault("state", {})

        async def observed(message: Message) -> None:
            code = state.pop(_REFUSED, None)
            if code is None and answer.refuses(message) and not witness.recorded:
                code = answer.code
            if code is not None:
                keep(self._audit, refusal(scope, code, time.perf_counter() - started))
            await send(message)

        with witnessed() as witness:
            await self._app(scope, receive, observed)


def refused(scope: Scope, code: str) -> None:
    """Say, before it is answered, that a request is refused whose answer HTTP calls a success."""
    scope["state"][_REFUSED] = code


def refusal(scope: Scope, code: str, seconds: float = 0.0) -> AuditRecord:
    """Return the record of a request that went no further."""
    state = scope.get("state", {})
    caller: Caller = state.get("caller", ANONYMOUS)
    name = state.get("request_id")
    return AuditRecord(time.time(), caller.name, "", "request", scope["path"], name, code, seconds=seconds)


class _Answer:
    """What a request is answered, as it passes by."""

    def __init__(self) -> None:
        self._status = 0
        self._body = b""

    def refuses(self, message: Message) -> bool:
        """Take a message, and return whether it is the last one of a refusal."""
        kind = message["type"]
        if kind in ("http.response.start", "websocket.http.response.start"):
            self._status = message["status"]
        elif kind in ("http.response.body", "websocket.http.response.body"):
            if self._status < HTTPStatus.BAD_REQUEST:
                return False
            if len(self._body) < _LONGEST_PROBLEM:
                self._body += message.get("body", b"")
            return not message.get("more_body", False)
        elif kind == "websocket.accept":
            self._status = HTTPStatus.SWITCHING_PROTOCOLS
        elif kind == "websocket.close" and not self._status:
            self._status = HTTPStatus.FORBIDDEN
            return True
        return False

    @property
    def code(self) -> str:
        """The error's code; of an answer that is no problem, what HTTP calls its status."""
        try:
            return str(json.loads(self._body)["code"])
        except (ValueError, KeyError, TypeError):
            return responses.get(self._status, str(self._status)).lower().replace(" ", "_")
