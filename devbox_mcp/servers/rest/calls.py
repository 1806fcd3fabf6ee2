"""One request to a route: who asks, of which devbox, and what it says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from devbox_mcp.callers import Caller
from devbox_mcp.limits import Limits
from devbox_mcp.paths import SandboxPath
from devbox_mcp.sandbox import Sandbox
from devbox_mcp.sandboxes import Sandboxes
from devbox_mcp.servers.rest import addresses, parameters
from devbox_mcp.servers.rest.parameters import Parameter
from devbox_mcp.servers.rest.service import Service

T = TypeVar("T")


class Call:
    """What a handler works with. Making one raises InvalidArgument for a query that makes no sense."""

    def __init__(self, request: Request, op: str, known: Sequence[Parameter[Any]]) -> None:
        """``op`` is what errors call the operation, ``known`` are the parameters of its query."""
        self.request = request
        self.op = op
        self.service: Service = request.scope["app"].state.service
        self.caller: Caller = request.scope["state"]["caller"]
        self._query = parameters.parse(request.scope["query_string"], known, op)
        if self._query:
            # what is wrong with one of them shows before anything is done
            for parameter in known:
                parameter.of(self._query, op)

    @cached_property
    def sandbox(self) -> Sandbox:
        """The devbox in the address. Raises NotFound for one that does not exist for the caller, and Unavailable."""
        return self.sandboxes.get(self.request.path_params["devbox"], self.op)

    async def reach(self) -> None:
        """See that the devbox in the address, if one is, can be worked with. Raises what ``sandbox`` does."""
        name = self.request.path_params.get("devbox")
        if name is not None:
            self.sandbox = await self.sandboxes.reach(name, self.op)

    @property
    def sandboxes(self) -> Sandboxes:
        """The devboxes that exist for the caller."""
        return self.service.sandboxes.called_by(self.caller)

    @property
    def limits(self) -> Limits:
        """The limits that are configured."""
        return self.sandbox.limits

    @cached_property
    def path(self) -> SandboxPath:
        """The path in the address. Raises InvalidArgument."""
        return addresses.parse(self.request.path_params["path"], self.op)

    async def named(self, text: str) -> SandboxPath:
        """Parse a path in JSON or in the query. Raises InvalidArgument, EscapesRoot."""
        return await self.sandbox.parse(text, self.op)

    def get(self, parameter: Parameter[T]) -> T:
        """Return a parameter's value. Raises InvalidArgument."""
        return parameter.of(self._query, self.op)

    @property
    def headers(self) -> Mapping[str, str]:
        """The request's headers."""
        return self.request.headers


class Bytes(Response):
    """An answer whose headers are ready."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
        self.status_code = status
        self.body = body
        self.raw_headers = headers
        self.background = None


def told(value: Any, status: int = 200, *headers: tuple[bytes, bytes]) -> Response:
    """Answer with JSON."""
    body = json.dumps(value, separators=(",", ":")).encode("ascii")
    return Bytes(
        status,
        [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *headers],
        body,
    )
