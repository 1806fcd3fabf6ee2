"""Serve a directory over HTTP by the real server, the fixtures loaded: ``python -m tests.mcp_conformance.serve DIR``.

The port is a free one, printed as the only line on stdout.
"""

import asyncio
import sys
import warnings

from mcp.shared.exceptions import MCPDeprecationWarning

from devbox_mcp.sandboxes import Sandboxes
from devbox_mcp.servers import gateway, serving
from devbox_mcp.servers.mcp.server import Door
from devbox_mcp.settings import load
from tests.mcp_conformance import fixtures

HOST = "127.0.0.1"


async def main(directory: str) -> None:
    settings = load({"devboxes": (directory,), "http": f"{HOST}:0"}, None)
    sandboxes = await Sandboxes.open(settings)
    door = Door(sandboxes, settings, over_stdio=False)
    await fixtures.load(door.server, door._subscriptions.bus)
    listener = serving.bind(HOST, 0)
    print(listener.getsockname()[1], flush=True)  # noqa: T201  # what the caller waits for
    try:
        await serving.serve(gateway.create_app(sandboxes, settings, door, HOST), listener)
    finally:
        await door.aclose()
        await sandboxes.aclose()


if __name__ == "__main__":
    warnings.simplefilter("ignore", MCPDeprecationWarning)  # the suite wants logging, which 2026-07-28 deprecates
    asyncio.run(main(sys.argv[1]))
