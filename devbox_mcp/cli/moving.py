"""What ``mv`` does."""

from __future__ import annotations

from collections.abc import Sequence

from devbox_mcp.cli.boxes import opened
from devbox_mcp.cli.failing import Failed
from devbox_mcp.cli.locations import Location
from devbox_mcp.cli.output import Output
from devbox_mcp.cli.running import tell
from devbox_mcp.cli.transfers import kind_of


async def move_all(sources: Sequence[Location], target: Location, *, overwrite: bool, as_json: bool) -> int:
    """Move places of one devbox to another place there; return the exit code. Raises Failed."""
    code, output = 0, Output(as_json=as_json)
    async with opened([*sources, target], "move") as places:
        *found, destination = places
        kind = await kind_of(destination)
        if len(found) > 1 and kind not in (None, "directory"):
            raise Failed("not_directory", target.text, "several things cannot be moved to one file")
        into = len(found) > 1 or target.says_directory or kind == "directory"
        for place in found:
            path = destination.path.child(place.path.name) if into else destination.path
            try:
                with place.box.telling():
                    await place.box.sandbox.move(place.path, path, overwrite=overwrite)
            except Failed as failure:
                code = code or tell(failure)
                continue
            if as_json:
                name = place.box.sandbox.name
                output.record({"source": place.path.shown(name), "path": path.shown(name)})
    return code
