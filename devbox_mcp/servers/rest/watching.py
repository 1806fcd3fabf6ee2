"""What changes: asked for, or as it happens."""

from __future__ import annotations

from starlette.responses import Response

from devbox_mcp.backends import told as telling
from devbox_mcp.callers import Scope
from devbox_mcp.servers.rest.calls import Call, told
from devbox_mcp.servers.rest.looking import LIMIT
from devbox_mcp.servers.rest.operations import Answer, Operation, Routes, json_of
from devbox_mcp.servers.rest.parameters import Flag, Seconds, Text

ROUTES = Routes("watching")

PATH = Text("path", "The directory to watch.", ".")
CURSOR: Text[str | None] = Text("cursor", "Go on behind an earlier answer; without it, now.", None)
TIMEOUT = Seconds("timeout", "How long to wait for the first change.", 4.0)
RECURSIVE = Flag("recursive", "Everything beneath the directory.", True)

CHANGES = Operation(
    ("GET",), "/changes", "changes", "watch", Scope.READ, "Wait for changes",
    "The changes since the cursor, or the first that comes. With `resync`, some were lost: list again.",
    {200: Answer("The changes.", json_of(telling.EventsJson))}, (PATH, CURSOR, TIMEOUT, RECURSIVE, LIMIT),
    errors=("not_directory", "escapes_root", "permission_denied", "unsupported"),
)  # fmt: skip


@ROUTES.add(CHANGES)
async def changes(call: Call) -> Response:
    found = await call.sandbox.watch(
        await call.named(call.get(PATH)),
        cursor=call.get(CURSOR),
        timeout=call.get(TIMEOUT),
        recursive=call.get(RECURSIVE),
        limit=call.get(LIMIT),
    )
    return told(telling.events(call.sandbox.name, found))
