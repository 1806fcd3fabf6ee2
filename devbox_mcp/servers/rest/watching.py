"""What changes: asked for, or as it happens."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response

from devbox_mcp.backends import told as telling
from devbox_mcp.callers import Scope
from devbox_mcp.errors import DevboxError
from devbox_mcp.models import Events
from devbox_mcp.paths import SandboxPath
from devbox_mcp.servers.outgoing import Stream
from devbox_mcp.servers.problems import fields
from devbox_mcp.servers.rest.calls import Call, told
from devbox_mcp.servers.rest.looking import LIMIT
from devbox_mcp.servers.rest.operations import Answer, Body, Header, Operation, Routes, json_of
from devbox_mcp.servers.rest.parameters import Flag, Seconds, Text

ROUTES = Routes("watching")

#: Seconds of silence after which a stream says that it is alive.
_HEARTBEAT = 15.0
HEARTBEAT = b":\n\n"

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


EVENTS = Operation(
    ("GET",), "/events", "events", "watch", Scope.READ, "Changes as they happen",
    "Server-sent events: `ready` once it is watched, `change` with one change each, `resync` where some were lost, "
    "`error` with an error as the last one. `id` is the cursor, so a client that comes again misses nothing, and may "
    "see the last few changes twice.",
    {200: Answer("The stream.", Body({"text/event-stream": None}))}, (PATH, CURSOR, RECURSIVE),
    (Header("Last-Event-ID", "Go on behind this event; wins over the cursor."),),
    errors=("not_directory", "escapes_root", "permission_denied", "unsupported"),
)  # fmt: skip


@ROUTES.add(EVENTS)
async def events(call: Call) -> Response:
    path = await call.named(call.get(PATH))
    recursive = call.get(RECURSIVE)
    cursor = call.headers.get("last-event-id") or call.get(CURSOR)
    # what is wrong with the request shows now, while it can still be answered
    first = await call.sandbox.watch(path, cursor=cursor, timeout=0, recursive=recursive)
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
    return Stream(200, headers, _stream(call, path, first, recursive=recursive))


async def _stream(call: Call, path: SandboxPath, found: Events, *, recursive: bool) -> AsyncIterator[bytes]:
    yield _event("ready", {}, None if found.events or found.resync else found.cursor)
    while True:
        for event in _told(call.sandbox.name, found):
            yield event
        if not found.events and not found.resync:
            yield HEARTBEAT
        try:
            found = await call.sandbox.poll(path, found.cursor, timeout=_HEARTBEAT, recursive=recursive)
        except DevboxError as error:
            yield _event("error", fields(error))
            return


def _told(devbox: str, found: Events) -> list[bytes]:
    """Return the events of an answer. Only the last one has an id: behind it the cursor goes on."""
    kinds: list[tuple[str, Any]] = [("change", telling.event(devbox, change)) for change in found.events]
    if found.resync:
        kinds.append(("resync", {}))
    return [
        _event(name, value, found.cursor if number == len(kinds) else None)
        for number, (name, value) in enumerate(kinds, 1)
    ]


def _event(name: str, value: Any, cursor: str | None = None) -> bytes:
    identity = "" if cursor is None else f"id: {cursor}\n"
    return f"{identity}event: {name}\ndata: {json.dumps(value, separators=(',', ':'))}\n\n".encode("ascii")
