"""What ``ls`` and ``find`` do."""

from __future__ import annotations

from devbox_mcp.backends import told
from devbox_mcp.cli.boxes import Box, opened
from devbox_mcp.cli.failing import Failed
from devbox_mcp.cli.locations import Location
from devbox_mcp.cli.output import Output
from devbox_mcp.cli.running import tell
from devbox_mcp.cli.walking import walk
from devbox_mcp.models import FileInfo

_PAGE = 1000


async def list_place(location: Location, *, long: bool, depth: int | None, nul: bool, as_json: bool) -> int:
    """Print a directory's entries, ``depth`` levels or all, or one file. Returns the exit code. Raises Failed."""
    output = Output(as_json=as_json, nul=nul)
    failed = 0

    def unreadable(failure: Failed) -> None:
        nonlocal failed
        failed = tell(failure)

    async with opened([location], "list") as (place,):
        box = place.box
        with box.telling():
            info = await box.sandbox.stat(place.path)
        if info.type != "directory":
            _show(output, box, info, info.path.text, long=long)
            return 0
        async for entry in walk(box, place.path, depth=depth, unreadable=unreadable):
            _show(output, box, entry, entry.path.below(place.path), long=long)
    return failed


async def find_entries(
    location: Location, pattern: str, *, newest: bool, ignored: bool, nul: bool, as_json: bool
) -> int:
    """Print what matches a glob. Returns the exit code. Raises Failed."""
    output = Output(as_json=as_json, nul=nul)
    unreadable = 0
    async with opened([location], "find") as (place,):
        box, after = place.box, None
        while True:
            with box.telling():
                found = await box.sandbox.find(
                    place.path, pattern, sort="newest" if newest else "name", ignored=ignored, limit=_PAGE, after=after
                )
            for info in found.entries:
                _show(output, box, info, info.path.text, long=False)
            output.flush()
            unreadable = max(unreadable, found.unreadable)
            if found.timed_out and found.after in (None, after):
                raise Failed("timeout", location.text, "the search took too long and is not complete", "look in less")
            after = found.after
            if after is None:
                break
    return incomplete(location, unreadable)


def incomplete(location: Location, unreadable: int) -> int:
    """Tell how much could not be looked into, if anything, and return the exit code for it."""
    if not unreadable:
        return 0
    return tell(Failed("permission_denied", location.text, f"{unreadable} directories or files cannot be read"))


def _show(output: Output, box: Box, info: FileInfo, name: str, *, long: bool) -> None:
    if output.as_json:
        output.record(told.info(box.sandbox.name, info))
    else:
        output.entry(info, name, long=long)
