"""An agent on Anthropic's Messages API whose hands are devbox-mcp: ``python agent.py DEVBOX TASK``."""

import asyncio
import os
import sys
from typing import Any

import httpx2
from anthropic import AsyncAnthropic
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ContentBlock, ImageContent, TextContent

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5")
MOST_TURNS = 50


def devbox_mcp(devbox: str) -> Any:
    """A gateway's address (``https://files.example.com/mcp``), or the server started on a directory or a pod."""
    if devbox.startswith(("http://", "https://")):
        headers = {"Authorization": f"Bearer {os.environ['DEVBOX_MCP_API_KEY']}"}
        return streamable_http_client(devbox, http_client=httpx2.AsyncClient(headers=headers, timeout=60))
    return StdioServerParameters(command="devbox-mcp", args=["serve", devbox])


async def run(tools: Client, task: str) -> str:
    """Let the model work with the tools until it has no more to call; return its last words."""
    model = AsyncAnthropic()
    offered: Any = [
        {"name": tool.name, "description": tool.description or "", "input_schema": tool.input_schema}
        for tool in (await tools.list_tools()).tools
    ]
    messages: list[Any] = [{"role": "user", "content": task}]
    for _ in range(MOST_TURNS):
        answer = await model.messages.create(
            model=MODEL, max_tokens=8000, system=tools.instructions or "", tools=offered, messages=messages
        )
        messages.append({"role": "assistant", "content": answer.content})
        if answer.stop_reason != "tool_use":
            return "".join(block.text for block in answer.content if block.type == "text")
        results = [await use(tools, block) for block in answer.content if block.type == "tool_use"]
        messages.append({"role": "user", "content": results})
    raise RuntimeError(f"the model was not done after {MOST_TURNS} turns")


async def use(tools: Client, wanted: Any) -> dict[str, Any]:
    """Make one call. An error is a result too: it says what to do next, and the model does."""
    result = await tools.call_tool(wanted.name, wanted.input)
    content = [block_for_model(block) for block in result.content]
    return {"type": "tool_result", "tool_use_id": wanted.id, "content": content, "is_error": result.is_error}


def block_for_model(block: ContentBlock) -> dict[str, Any]:
    """Text and images as they are; other bytes, such as a zip, by name only: a model cannot read them."""
    if isinstance(block, TextContent):
        return {"type": "text", "text": block.text}
    if isinstance(block, ImageContent):
        source = {"type": "base64", "media_type": block.mime_type, "data": block.data}
        return {"type": "image", "source": source}
    return {"type": "text", "text": f"({block.type}, not shown)"}


async def main(devbox: str, task: str) -> None:
    async with Client(devbox_mcp(devbox)) as tools:
        print(await run(tools, task))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
