"""A look into a container from inside it, over connections of its own that no fault of a test touches."""

from __future__ import annotations

import asyncio
import time

from devbox_mcp.transports.base import ExecTransport

#: Prints what other processes there are. Those that ended and are not collected have no command line.
_PROCESSES = """
for process in /proc/[0-9]*; do
    case $process in /proc/1 | /proc/$$) continue ;; esac
    tr '\\0\\n' '  ' < $process/cmdline && echo
done 2> /dev/null
true # one may end while it is looked at
"""
_PATIENCE = 60.0
_HIDDEN = 'find "$1" -name ".devbox-mcp-*"'


async def run(transport: ExecTransport, script: str, *arguments: str) -> str:
    """Run a shell script in the container and return what it prints. Raises AssertionError where it fails."""
    channel = await transport.start(["sh", "-c", script, "sh", *arguments])
    try:
        said = b""
        while piece := await channel.receive():
            said += piece
        end = await channel.exit()
    finally:
        await channel.aclose()
    assert end.status == 0, f"{script!r} ended so: {end}"
    return said.decode(errors="replace")


async def sha256(transport: ExecTransport, path: str) -> str:
    """Return the hash of a file there."""
    return (await run(transport, 'sha256sum < "$1"', path)).split()[0]


async def hidden(transport: ExecTransport, directory: str) -> list[str]:
    """Return the server's own files beneath a directory."""
    return (await run(transport, _HIDDEN, directory)).splitlines()


async def processes(transport: ExecTransport) -> list[str]:
    """Return the command lines of what runs there beside the first process and who asks."""
    return [line for line in (await run(transport, _PROCESSES)).splitlines() if line.strip()]


async def nothing_runs(transport: ExecTransport, *own: str) -> None:
    """Wait until nothing runs there any more that was started by exec; the container's ``own`` command lines may."""
    deadline = time.monotonic() + _PATIENCE
    while left := [line for line in await processes(transport) if line.strip() not in own]:
        assert time.monotonic() < deadline, f"left in {transport.name}: {[line[:120] for line in left]}"
        await asyncio.sleep(0.3)
