"""An agent on Pydantic AI whose hands are devbox-mcp: ``python agent.py DEVBOX TASK``."""

import asyncio
import os
import sys

from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset

MODEL = os.environ.get("PYDANTIC_AI_MODEL", "openai:gpt-5.4")


def devbox_mcp(devbox: str) -> MCPToolset:
    """A gateway's address (``https://files.example.com/mcp``), or the server started on a directory or a pod."""
    if devbox.startswith(("http://", "https://")):
        headers = {"Authorization": f"Bearer {os.environ['DEVBOX_MCP_API_KEY']}"}
        return MCPToolset(devbox, headers=headers, include_instructions=True, max_retries=3)
    server = StdioTransport("devbox-mcp", ["serve", devbox])
    return MCPToolset(server, include_instructions=True, max_retries=3)


async def main(devbox: str, task: str) -> None:
    agent = Agent(MODEL, toolsets=[devbox_mcp(devbox)])
    async with agent:
        print((await agent.run(task)).output)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
