"""Where on the server's own machine a tool may save and read: what the operator allowed, and over stdio the client's
roots.

What is read-only or denied in a devbox stays so when its directory is allowed here as well: where the operator set
such a rule, nothing in a devbox of this machine is reached this way.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import mcp_types as types
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from devbox_mcp.backends.base import Backend
from devbox_mcp.errors import Denied, DevboxError
from devbox_mcp.kinds import open_directory
from devbox_mcp.paths import SandboxPath, is_absolute, parse
from devbox_mcp.sandboxes import parse_specs
from devbox_mcp.servers.mcp.registry import Call
from devbox_mcp.settings import Settings

_ROOTS_KEY = "roots"


Purpose = Literal["save", "read"]
_DONE = {"save": "saved", "read": "read"}


async def locate(call: Call, path: str, purpose: Purpose) -> tuple[Backend, SandboxPath] | types.InputRequiredResult:
    """Return the open directory that may be used and the path in it; the caller closes it. ``~/`` is the home of
    whoever runs the server.

    A modern client is first asked for its roots, by the InputRequiredResult. Raises Denied, which tells what is
    allowed.
    """
    path = _expanded(path)
    allowed = list(call.settings.allow_local)
    found = await _beneath(allowed, path, purpose)
    if found is None and call.over_stdio:
        roots = await _client_roots(call)
        if isinstance(roots, types.InputRequiredResult):
            return roots
        allowed += roots
        found = await _beneath(roots, path, purpose)
    if found is not None:
        try:
            await _respect_rules(call, found, path, purpose)
        except BaseException:
            await found[0].aclose()
            raise
        return found
    where = (
        f"{purpose} beneath {' or '.join(allowed)}"
        if allowed
        else "have the operator start the server with --allow-local DIR"
    )
    raise Denied(purpose, path, f"nothing may be {_DONE[purpose]} there on the server's machine", hint=where)


def _expanded(path: str) -> str:
    return str(Path(path).expanduser()) if path.startswith("~/") else path


async def absolute(directory: Backend, path: SandboxPath) -> str:
    """Return where on the server's machine a path in an allowed directory is."""
    return f"{(await directory.root()).rstrip('/')}/{path.text}"


async def _respect_rules(call: Call, found: tuple[Backend, SandboxPath], path: str, purpose: Purpose) -> None:
    """Raise Denied for what lies in a devbox of this machine where there are rules about it."""
    if not call.settings.read_only and not call.settings.deny:
        return
    backend, below = found
    devbox = _devbox_around(Path(await backend.root(), below.text), call.settings)
    if devbox is not None:
        raise Denied(
            purpose,
            path,
            f"this lies in the devbox {devbox}, and the operator's rules for it hold here too",
            hint="use the devbox's own tools, or a place outside it",
        )


def _devbox_around(place: Path, settings: Settings) -> str | None:
    """Return the devbox of this machine that a place, or where links lead from it, lies in."""
    real = place.resolve()
    for spec in parse_specs(settings.devboxes or (".",)):
        if spec.kind == "local" and real.is_relative_to(Path(spec.target).expanduser().resolve()):
            return spec.name
    return None


async def _beneath(directories: Sequence[str], path: str, purpose: Purpose) -> tuple[Backend, SandboxPath] | None:
    for directory in directories:
        try:
            backend = open_directory(directory)
        except DevboxError:
            continue
        try:
            found = await backend.relative(path) if is_absolute(path) else parse(path, purpose)
            if found is not None and not found.is_root:
                return backend, found
        except BaseException:
            await backend.aclose()
            raise
        await backend.aclose()
    return None


async def _client_roots(call: Call) -> list[str] | types.InputRequiredResult:
    """Return the directories that the client declared as its roots, none if it declares none."""
    capabilities = call.context.session.client_capabilities
    if capabilities is None or capabilities.roots is None:
        return []
    if call.context.session.can_send_request:
        try:
            answer = await call.context.session.send_request(types.ListRootsRequest(), types.ListRootsResult)
        except (MCPError, ValidationError):
            # it declared roots and will not tell them, or what it tells are none
            return []
        return _directories(answer)
    answered = (call.params.input_responses or {}).get(_ROOTS_KEY)
    if isinstance(answered, types.ListRootsResult):
        return _directories(answered)
    return types.InputRequiredResult(input_requests={_ROOTS_KEY: types.ListRootsRequest()})


def _directories(answer: types.ListRootsResult) -> list[str]:
    parts = [urlsplit(str(root.uri)) for root in answer.roots]
    return [unquote(part.path) for part in parts if part.scheme == "file" and part.netloc in ("", "localhost")]
