"""An agent's hands without a framework: search a directory, read around what was found: ``python client.py DEVBOX``."""

import asyncio
import sys

from mcp import Client
from mcp.client.stdio import StdioServerParameters


async def main(devbox: str) -> bool:
    """Print the Python files that still hold a TODO; False where the search failed."""
    server = StdioServerParameters(command="devbox-mcp", args=["serve", devbox, "--read-only"])
    async with Client(server) as client:
        print(client.instructions, end="\n\n")
        found = await client.call_tool("search_text", {"pattern": r"\bTODO\b", "glob": "*.py", "context": 2})
        for block in found.content:
            print(getattr(block, "text", block.type))
        return not found.is_error


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else ".")) else 1)
