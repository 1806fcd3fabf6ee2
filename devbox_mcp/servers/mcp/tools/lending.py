"""signed_url: for bytes that go past the model, between the devbox and whatever can fetch an address."""

from __future__ import annotations

from typing import Annotated, Literal

import mcp_types as types
from pydantic import BaseModel, Field

from devbox_mcp.errors import InvalidArgument, Unsupported
from devbox_mcp.sandbox import Sandbox
from devbox_mcp.servers.access.metadata import base_url
from devbox_mcp.servers.access.signing import DEFAULT_SECONDS, LONGEST_SECONDS, SignedUrl, Target
from devbox_mcp.servers.mcp.registry import Call, tool
from devbox_mcp.servers.mcp.results import answered, notes, when
from devbox_mcp.servers.mcp.tools.arguments import Devbox, Path


class Lent(BaseModel):
    """What signed_url answers."""

    url: str
    method: str
    expires: str


@tool("Signed URL", "transfer", reads_only=True, output=Lent, lends=True)
async def signed_url(
    call: Call,
    path: Path,
    method: Annotated[
        Literal["GET", "PUT"], Field(description="GET to fetch, PUT to upload (the body becomes the file).")
    ] = "GET",
    expires_in: Annotated[
        int, Field(description=f"Seconds, at most {LONGEST_SECONDS}.", ge=1, le=LONGEST_SECONDS)
    ] = DEFAULT_SECONDS,
    devbox: Devbox = None,
) -> types.CallToolResult:
    """Make a URL that fetches or uploads one file without credentials, for bytes that should not pass through you.

    Use it with curl or give it to a program. A directory is fetched as a zip. A PUT URL counts once.
    """
    sandbox, parsed = await call.sandboxes.resolve(devbox, path, "sign_url")
    target = Target.archive([parsed]) if parsed.is_root and method == "GET" else Target.file(method, parsed)
    if method == "GET" and not parsed.is_root and (await sandbox.stat(parsed)).type == "directory":
        target = Target.archive([parsed])
    url = await lend(call, sandbox, target, expires_in)
    lent = Lent(url=url.url, method=url.method, expires=when(url.expires))
    facts = [f"{method} until {lent.expires}", "once" if method == "PUT" else "", "whoever has it may use it"]
    return answered(f"{lent.url}\n{notes(facts)}", lent)


async def lend(call: Call, sandbox: Sandbox, target: Target, expires_in: int = DEFAULT_SECONDS) -> SignedUrl:
    """Return a URL for whoever called. Raises Unsupported where there is no HTTP to use it, Forbidden."""
    if call.signer is None or call.context.request is None:
        raise Unsupported("sign_url", target.shown, "there are signed URLs over HTTP only")
    origin = base_url(call.context.request.scope, None)
    return await call.signer.sign(call.sandboxes.caller, sandbox.name, target, origin=origin, expires_in=expires_in)


async def offered(call: Call, sandbox: Sandbox, target: Target) -> str:
    """Return how to fetch a target past the model, nothing where that is not possible."""
    try:
        url = await lend(call, sandbox, target)
    except (InvalidArgument, Unsupported):
        return ""
    return f"GET {url.url} (until {when(url.expires)}, without credentials)"
