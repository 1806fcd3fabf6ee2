"""watch."""

from __future__ import annotations

from typing import Annotated

import mcp_types as types
from pydantic import BaseModel, Field

from devbox_mcp.servers.mcp.registry import Call, tool
from devbox_mcp.servers.mcp.results import answered, notes
from devbox_mcp.servers.mcp.tools.arguments import Devbox, Limit, Path


class Change(BaseModel):
    """One event."""

    type: str
    path: str
    source: str | None = None


class Changes(BaseModel):
    """What watch answers."""

    events: list[Change]
    cursor: str
    resync: bool
    more: bool


@tool("Watch", "watch", reads_only=True, output=Changes)
async def watch(
    call: Call,
    path: Path = ".",
    cursor: Annotated[
        str | None, Field(description="cursor of the call before; without it, changes from now on.")
    ] = None,
    timeout: Annotated[float, Field(description="Longest wait in seconds; 0 answers at once.")] = 4.0,
    recursive: Annotated[bool, Field(description="Directories beneath too.")] = True,
    limit: Limit = None,
    devbox: Devbox = None,
) -> types.CallToolResult:
    """Return what changed since `cursor`, or wait for the first change: created, modified, deleted, moved.

    Call again with the returned cursor to miss nothing. `resync` means changes were lost: list the directory again.
    """
    sandbox, parsed = await call.sandboxes.resolve(devbox, path, "watch")
    found = await sandbox.watch(parsed, cursor=cursor, timeout=timeout, recursive=recursive, limit=limit)
    changes = Changes(
        events=[
            Change(
                type=event.type,
                path=event.path.shown(sandbox.name) + ("/" if event.directory else ""),
                source=None if event.source is None else event.source.shown(sandbox.name),
            )
            for event in found.events
        ],
        cursor=found.cursor,
        resync=found.resync,
        more=found.more,
    )
    lines = [
        f"{one.type} {one.path if one.source is None else f'{one.source} -> {one.path}'}" for one in changes.events
    ]
    if found.resync:
        lines.append("resync: changes were lost, list the directory again")
    lines = lines or ["(no change)"]
    lines.append(notes([f"cursor={found.cursor}", "more events are waiting: call again" if found.more else ""]))
    return answered("\n".join(lines), changes)
