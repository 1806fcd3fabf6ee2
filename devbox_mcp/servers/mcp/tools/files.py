"""make_dir, delete, move, copy, chmod."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated

import mcp_types as types
from pydantic import BaseModel, Field

from devbox_mcp.errors import DevboxError, Exists, InvalidArgument, IsDirectory, NotEmpty
from devbox_mcp.paths import SandboxPath
from devbox_mcp.sandbox import Sandbox
from devbox_mcp.servers.mcp.registry import Call, tool
from devbox_mcp.servers.mcp.results import answered
from devbox_mcp.servers.mcp.tools.arguments import Devbox, IfMatch, Path

Overwrite = Annotated[bool, Field(description="Replace a file that is at the destination.")]


class DirectoryMade(BaseModel):
    """What make_dir answers."""

    path: str
    created: bool


@tool("Make directory", "write", idempotent=True, output=DirectoryMade)
async def make_dir(call: Call, path: Path, devbox: Devbox = None) -> types.CallToolResult:
    """Make a directory and its missing parents; fine if it is there. Writing a file makes its parents anyway."""
    sandbox, parsed = await call.sandboxes.resolve(devbox, path, "mkdir")
    made = DirectoryMade(path=parsed.shown(sandbox.name), created=await sandbox.make_dir(parsed))
    return answered(f"{'created' if made.created else 'was there:'} {made.path}", made)


class Deleted(BaseModel):
    """What delete answers."""

    path: str
    entries: int


@tool("Delete", "write", destructive=True, output=Deleted)
async def delete(
    call: Call,
    path: Path,
    recursive: Annotated[bool, Field(description="A directory with everything in it.")] = False,
    if_match: IfMatch = None,
    devbox: Devbox = None,
) -> types.CallToolResult:
    """Delete a file, link or directory; a link goes, never what it leads to. There is no undo."""
    sandbox, parsed = await call.sandboxes.resolve(devbox, path, "delete")
    count = await sandbox.delete(parsed, recursive=recursive, if_match=if_match)
    gone = Deleted(path=parsed.shown(sandbox.name), entries=count)
    return answered(f"deleted {gone.path}" + (f" ({count} entries)" if count > 1 else ""), gone)


class Transferred(BaseModel):
    """What move and copy answer."""

    source: str
    destination: str
    type: str


async def _both(
    call: Call, source: str, destination: str, devbox: str | None, op: str
) -> tuple[Sandbox, SandboxPath, SandboxPath]:
    sandbox, from_path = await call.sandboxes.resolve(devbox, source, op)
    _, to_path = await call.sandboxes.resolve_beside(sandbox, devbox, destination, op)
    if destination.endswith("/") and (await sandbox.stat(from_path, follow=False)).type != "directory":
        raise InvalidArgument(
            op, destination, f"the destination is the full new path, and this names a directory; {source} is none",
            hint=f"to put it there, the destination is {destination}{from_path.name}",
        )  # fmt: skip
    return sandbox, from_path, to_path


@asynccontextmanager
async def _taken_destination(
    sandbox: Sandbox, source: SandboxPath, destination: SandboxPath, *, overwrite: bool
) -> AsyncIterator[None]:
    """Say what can be done where something is at the destination."""
    try:
        yield
    except (Exists, NotEmpty, IsDirectory) as error:
        if await _is_directory(sandbox, destination) and not source.is_root:
            inside = destination.child(source.name).shown(sandbox.name)
            error.hint = f"a directory is there; to put {source.name} into it, the destination is {inside}"
        elif overwrite or not isinstance(error, Exists):
            error.hint = "choose another destination, or delete this one first"
        else:
            error.hint = "choose another, or pass overwrite=true"
        raise


async def _is_directory(sandbox: Sandbox, path: SandboxPath) -> bool:
    with suppress(DevboxError):
        return (await sandbox.stat(path)).type == "directory"
    return False


@tool("Move", "write", destructive=True, output=Transferred)
async def move(
    call: Call,
    source: Path,
    destination: Annotated[str, Field(description="The full new path, not the directory to move into.")],
    overwrite: Overwrite = False,
    if_match: IfMatch = None,
    devbox: Devbox = None,
) -> types.CallToolResult:
    """Move or rename a file, link or directory. Missing parents of the destination are made."""
    sandbox, from_path, to_path = await _both(call, source, destination, devbox, "move")
    async with _taken_destination(sandbox, from_path, to_path, overwrite=overwrite):
        info = await sandbox.move(from_path, to_path, overwrite=overwrite, if_match=if_match)
    done = Transferred(source=from_path.shown(sandbox.name), destination=to_path.shown(sandbox.name), type=info.type)
    return answered(f"moved {done.type} {done.source} to {done.destination}", done)


@tool("Copy", "write", destructive=True, output=Transferred)
async def copy(
    call: Call,
    source: Path,
    destination: Annotated[str, Field(description="The full path of the copy, not the directory to copy into.")],
    overwrite: Overwrite = False,
    devbox: Devbox = None,
) -> types.CallToolResult:
    """Copy a file, or a directory with everything in it, all or nothing."""
    sandbox, from_path, to_path = await _both(call, source, destination, devbox, "copy")
    async with _taken_destination(sandbox, from_path, to_path, overwrite=overwrite):
        info = await sandbox.copy(from_path, to_path, overwrite=overwrite)
    done = Transferred(source=from_path.shown(sandbox.name), destination=to_path.shown(sandbox.name), type=info.type)
    return answered(f"copied {done.type} {done.source} to {done.destination}", done)


class ModeSet(BaseModel):
    """What chmod answers."""

    path: str
    mode: str
    changed: int


@tool("Change mode", "permissions", destructive=True, idempotent=True, output=ModeSet)
async def chmod(
    call: Call,
    path: Path,
    mode: Annotated[str, Field(description="Octal permission bits such as 644 or 0755.")],
    recursive: Annotated[bool, Field(description="Everything beneath a directory too.")] = False,
    devbox: Devbox = None,
) -> types.CallToolResult:
    """Set permission bits."""
    sandbox, parsed = await call.sandboxes.resolve(devbox, path, "chmod")
    if not re.fullmatch(r"(0o?)?[0-7]{3,4}", mode):
        raise InvalidArgument("chmod", parsed.text, f"{mode[:20]!r} is no octal mode", hint="write 644 or 755")
    bits = int(mode.removeprefix("0o"), 8)
    changed = await sandbox.chmod(parsed, bits, recursive=recursive)
    done = ModeSet(path=parsed.shown(sandbox.name), mode=f"{bits:04o}", changed=changed)
    return answered(f"mode {done.mode}: {done.path}" + (f" ({changed} entries)" if changed != 1 else ""), done)
