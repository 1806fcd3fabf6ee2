"""An agent's hands without a framework: start the server on a directory, search it, read around what was found."""

import asyncio
import sys

from mcp import Client
from mcp.client.stdio import StdioServerParameters


async def main(directory: str) -> None:
    server = StdioServerParameters(command="devbox-mcp", args=["serve", directory, "--read-only"])
    async with Client(server) as client:
        print(client.instructions, end="\n\n")
        found = await client.call_tool("search_text", {"pattern": r"\bTODO\b", "glob": "*.py", "context": 2})
        for block in found.content:
            print(getattr(block, "text", block.type))
        sys.exit(1 if found.is_error else 0)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "."))
