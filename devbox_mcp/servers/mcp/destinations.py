"""Where on the server's own machine a tool may save: what the operator allowed, and over stdio the client's roots."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

import mcp_types as types
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from devbox_mcp.backends.base import Backend
from devbox_mcp.errors import Denied, DevboxError
from devbox_mcp.paths import SandboxPath, is_absolute, parse
from devbox_mcp.sandboxes import open_directory
from devbox_mcp.servers.mcp.registry import Call

_ROOTS_KEY = "roots"


async def locate(call: Call, path: str) -> tuple[Backend, SandboxPath] | types.InputRequiredResult:
    """Return the open directory that may be written and the path in it; the caller closes it.

    A modern client is first asked for its roots, by the InputRequiredResult. Raises Denied, which tells what is
    allowed.
    """
    allowed = list(call.settings.allow_local)
    found = await _beneath(allowed, path)
    if found is None and call.over_stdio:
        roots = await _client_roots(call)
        if isinstance(roots, types.InputRequiredResult):
            return roots
        allowed += roots
        found = await _beneath(roots, path)
    if found is not None:
        return found
    where = (
        f"save beneath {' or '.join(allowed)}"
        if allowed
        else "have the operator start the server with --allow-local DIR"
    )
    raise Denied("save", path, "nothing may be saved there on the server's machine", hint=where)


async def _beneath(directories: Sequence[str], path: str) -> tuple[Backend, SandboxPath] | None:
    for directory in directories:
        try:
            backend = open_directory(directory)
        except DevboxError:
            continue
        try:
            found = await backend.relative(path) if is_absolute(path) else parse(path, "save")
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
