"""Let an agent read whatever arrives in ``inbox/``: ``python watch.py DEVBOX AGENT…``, until Ctrl-C.

Nothing is polled: the server answers when something changed, and a cursor sees to it that nothing is missed between
two calls. ``WATCH_FILES=3`` ends after as many files.
"""

import asyncio
import os
import subprocess
import sys
from typing import Any

from mcp import Client
from mcp.client.stdio import StdioServerParameters

TASK = "The file `{path}` arrived. Write what it is about, in one line, to `notes/` as a .md file of the same name."
QUIET = 0.3  # seconds without a change after which a file counts as written to its end


async def changes(tools: Client, **arguments: Any) -> Any:
    result = await tools.call_tool("watch", {"path": "inbox", **arguments})
    if result.is_error:
        raise RuntimeError(result.content)
    return result.structured_content


async def arrived(tools: Client, cursor: str) -> tuple[set[str], str]:
    """Wait for files, until no more come; also the cursor to go on from."""
    paths: set[str] = set()
    while True:
        seen = await changes(tools, cursor=cursor, timeout=QUIET if paths else 30)
        cursor = seen["cursor"]
        if seen["resync"]:  # changes were lost: take all that is there, though some may have been noted before
            listed: Any = (await tools.call_tool("list_dir", {"path": "inbox", "glob": "*.txt"})).structured_content
            paths.update(f"inbox/{name}" for name in listed["entries"])
        for event in seen["events"]:
            if event["type"] == "deleted":
                paths.discard(event["path"])
            elif event["path"].endswith(".txt"):
                paths.add(event["path"])
        if paths and not seen["events"]:
            return paths, cursor


async def main(devbox: str, *agent: str) -> None:
    left = int(os.environ.get("WATCH_FILES", "1000000"))
    async with Client(StdioServerParameters(command="devbox-mcp", args=["serve", devbox])) as tools:
        await tools.call_tool("make_dir", {"path": "inbox"})
        cursor = (await changes(tools, timeout=0))["cursor"]
        print("watching inbox/", flush=True)
        while left > 0:
            paths, cursor = await arrived(tools, cursor)
            for path in sorted(paths):
                command = [*agent, devbox, TASK.format(path=path)]
                await asyncio.to_thread(subprocess.run, command, check=True)
            left -= len(paths)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
