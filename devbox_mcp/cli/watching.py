"""What ``watch`` does."""

from __future__ import annotations

import time

from devbox_mcp.cli.boxes import opened
from devbox_mcp.cli.locations import Location
from devbox_mcp.cli.output import Output
from devbox_mcp.cli.running import warn
from devbox_mcp.models import Event

_WAIT = 30.0
_STYLES = {"created": "32", "modified": "33", "deleted": "31", "moved": "36"}


async def follow(
    location: Location, *, recursive: bool, count: int | None, seconds: float | None, as_json: bool
) -> None:
    """Print events until there were ``count``, or ``seconds`` are over. Raises Failed."""
    output = Output(as_json=as_json)
    deadline = None if seconds is None else time.monotonic() + seconds
    async with opened([location], "watch") as (place,):
        sandbox = place.box.sandbox
        with place.box.telling():
            cursor = (await sandbox.watch(place.path, timeout=0, recursive=recursive)).cursor
        warn(f"watching {location.text}")
        while deadline is None or time.monotonic() < deadline:
            wait = _WAIT if deadline is None else min(_WAIT, max(deadline - time.monotonic(), 0))
            with place.box.telling():
                found = await sandbox.watch(
                    place.path, cursor=cursor, timeout=wait, recursive=recursive,
                    limit=min(count or sandbox.limits.page_most, sandbox.limits.page_most),
                )  # fmt: skip
            cursor = found.cursor
            if found.resync:
                _resync(output)
            for event in found.events:
                _show(output, event, sandbox.name)
            output.flush()
            if count is not None:
                count -= len(found.events)
                if count <= 0:
                    return


def _resync(output: Output) -> None:
    if output.as_json:
        output.record({"type": "resync"})
    else:
        output.line(output.styled("resync", "31"), "   some changes were missed; look again")


def _show(output: Output, event: Event, devbox: str) -> None:
    source = event.source
    if output.as_json:
        output.record(
            {
                "type": event.type, "path": event.path.shown(devbox), "directory": event.directory,
                "source": None if source is None else source.shown(devbox),
            }
        )  # fmt: skip
        return
    slash = "/" if event.directory else ""
    before = "" if source is None else f"{output.name(source.text)}{slash} -> "
    output.line(
        output.styled(f"{event.type:<8}", _STYLES[event.type]), " ", before, output.name(event.path.text), slash
    )
