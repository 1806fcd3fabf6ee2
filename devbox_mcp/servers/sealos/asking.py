"""One request: which devbox is meant, and what is asked of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from devbox_mcp.callers import Caller
from devbox_mcp.errors import Cancelled, DevboxError, InvalidArgument, NotFound, TooLarge
from devbox_mcp.paths import SandboxPath
from devbox_mcp.sandbox import Sandbox
from devbox_mcp.sandboxes import Sandboxes
from devbox_mcp.servers.guarding.bodies import bodies_of
from devbox_mcp.servers.sense import LONGEST_SHOWN, require_few

M = TypeVar("M", bound=BaseModel)


class NoDevbox(Exception):
    """It cannot be told which devbox is meant; ``error`` says why."""

    def __init__(self, error: DevboxError) -> None:
        super().__init__(str(error))
        self.error = error


class Devboxes:
    """Chooses the devbox of a request: the one of its host name, or the only one that its caller reaches."""

    def __init__(self, sandboxes: Sandboxes, hosts: dict[str, str]) -> None:
        """``hosts`` are devboxes by host name, in lower case."""
        self._sandboxes = sandboxes
        self._hosts = hosts

    async def of(self, request: Request) -> Sandbox:
        """Return it. Raises NotFound for one that does not exist for the caller, Unavailable, NoDevbox."""
        caller: Caller = request.scope["state"]["caller"]
        reached = self._sandboxes.called_by(caller)
        name = self._hosts.get(_host(request))
        if name is not None:
            try:
                return await reached.reach(name, "request")
            except NotFound as error:
                # a host's devbox is not named to whoever does not reach it
                error.path, error.detail = ".", "these credentials reach no devbox here"
                raise
        if len(reached.names) != 1:
            raise NoDevbox(
                InvalidArgument(
                    "request",
                    ".",
                    f"these credentials reach {len(reached.names)} devboxes, and this host name stands for none",
                    hint="ask the operator for a host name (--host-devbox HOST=DEVBOX), or for a key to one devbox",
                )
            )
        return await reached.reach(None, "request")


def _host(request: Request) -> str:
    """Return the host that was asked, in lower case, without its port."""
    host = request.headers.get("host", "").lower()
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


async def place(sandbox: Sandbox, text: str, op: str) -> SandboxPath:
    """Parse a path as Sealos' clients write it: absolute, beneath the root, or relative to it. Raises
    InvalidArgument, EscapesRoot."""
    return await sandbox.parse(text, op)


def absolute(sandbox: Sandbox, path: SandboxPath) -> str:
    """Return a path as Sealos' clients read it: absolute, or its URI where it would not survive as text."""
    shown = path.shown(sandbox.name)
    if shown != path.text:
        return shown
    return sandbox.root if path.is_root else f"{sandbox.root.rstrip('/')}/{path.text}"


async def body(request: Request, most: int, op: str) -> AsyncIterator[bytes]:
    """Yield the body as it arrives. Raises TooLarge, and Cancelled where it ends before its end."""
    arrived = 0
    try:
        async for piece in request.stream():
            arrived += len(piece)
            if arrived > most:
                raise TooLarge(op, ".", f"the body is larger than {most} bytes", limit=most)
            if piece:
                yield piece
    except ClientDisconnect:
        raise Cancelled(op, ".", "the body ended before its end") from None


async def json_body(request: Request, model: type[M], most: int, op: str) -> M:
    """Return a JSON body, for which memory is held until the request is over. Raises TooLarge, InvalidArgument,
    Cancelled, Unavailable, RateLimited."""
    declared = request.headers.get("content-length", "")
    size = min(int(declared), most) if declared.isdigit() else most
    data = await bodies_of(request.scope).whole(body(request, most, op), size, request.receive)
    await require_few(data, op)
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:LONGEST_SHOWN] or "the body"
        raise InvalidArgument(op, ".", f"{where}: {first['msg']}") from None


def given(request: Request, name: str, op: str) -> str | None:
    """Return what stands behind the question mark, if it does. Raises InvalidArgument where it does twice: Sealos'
    server takes the first, and others take the last."""
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise InvalidArgument(op, ".", f"the parameter {name} is given more than once")
    return values[0] if values else None


def parameter(request: Request, name: str, op: str) -> str:
    """Return a parameter that has to be there. Raises InvalidArgument."""
    value = given(request, name, op)
    if not value:
        raise InvalidArgument(op, ".", f"the parameter {name} is missing")
    return value


def number(request: Request, name: str, default: int, most: int, op: str) -> int:
    """Return a parameter that counts. Raises InvalidArgument."""
    text = given(request, name, op)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) <= most):
        raise InvalidArgument(op, ".", f"{name} is a number from 0 to {most}")
    return int(text)


def flag(request: Request, name: str, op: str) -> bool:
    """Return a parameter that is true or false. Raises InvalidArgument."""
    text = (given(request, name, op) or "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise InvalidArgument(op, ".", f"{name} is true or false")
    return text in ("true", "1")
