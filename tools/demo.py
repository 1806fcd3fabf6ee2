"""An agent's errand on the real server, call by call: ``make demo``.

Starts ``devbox-mcp serve`` on a throw-away copy of ``examples/wordcount`` and lets the official MCP client find a bug,
mend it, add files, watch a change arrive and take the result home as a zip.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import shutil
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import mcp_types as types
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from rich.console import Console
from rich.padding import Padding
from rich.syntax import Syntax
from rich.text import Text

PROJECT = Path(__file__).parent.parent / "examples" / "wordcount"
_MOST_LINES = 24


class Errand:
    """A client that shows what it asks and what it is told."""

    def __init__(self, client: Client, console: Console) -> None:
        self._client = client
        self._console = console

    async def call(self, why: str, name: str, **arguments: Any) -> types.CallToolResult:
        """Call a tool and print the call and its result. Raises RuntimeError if the tool fails."""
        self._console.print(Text(why, style="bold"))
        shown = ", ".join(f"{key}={_short(value)}" for key, value in arguments.items())
        self._console.print(Text.assemble(("  → ", "cyan"), (name, "bold cyan"), (f"({shown})", "cyan")))
        started = time.perf_counter()
        result = await self._client.call_tool(name, arguments)
        took = (time.perf_counter() - started) * 1e3
        for block in result.content:
            self._show(block)
        self._console.print(Text(f"    {took:.1f} ms\n", style="dim"))
        if result.is_error:
            raise RuntimeError(f"{name} failed")
        return result

    def _show(self, block: types.ContentBlock) -> None:
        if isinstance(block, types.TextContent):
            lines = block.text.splitlines()
            text = "\n".join(lines[:_MOST_LINES]) + (
                f"\n… {len(lines) - _MOST_LINES} more lines" * (len(lines) > _MOST_LINES)
            )
            body = Syntax(text, "diff", background_color="default") if "\n@@ " in text else Text(text)
            self._console.print(Padding(body, (0, 0, 0, 4)))
        elif isinstance(block, types.EmbeddedResource) and isinstance(block.resource, types.BlobResourceContents):
            data = base64.b64decode(block.resource.blob)
            self._console.print(Padding(Text(f"{block.resource.mime_type}, {len(data)} bytes"), (0, 0, 0, 4)))
        else:
            self._console.print(Padding(Text(block.type), (0, 0, 0, 4)))


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 72 else text[:69] + "…"


async def run(client: Client, project: Path, console: Console) -> None:
    """Do the errand. Raises RuntimeError where something is not as it should be."""
    errand = Errand(client, console)
    await errand.call("What is here?", "list_dir", path=".", depth=2)
    await errand.call("Where are words found?", "search_text", pattern=r"findall|lower\(", glob="*.py", context=1)
    await errand.call("Read that file.", "read_file", path="wordcount/__init__.py")
    edit = {"old_text": "WORD.findall(text)", "new_text": "WORD.findall(text.lower())"}
    await errand.call("Case is not ignored: mend it.", "edit_file", path="wordcount/__init__.py", edits=[edit])
    changelog = "# Changes\n\n- Words are counted whatever their case.\n"
    await errand.call("Note the change.", "write_file", path="CHANGELOG.md", content=changelog)
    more = [
        {"path": "data/haiku.txt", "content": "old pond\na frog leaps in\nwater's sound\n"},
        {"path": "data/dots.bin", "content": base64.b64encode(bytes(range(16))).decode(), "encoding": "base64"},
        {"path": "bin/count", "content": '#!/bin/sh\nexec python3 -m wordcount "$@"\n', "executable": True},
    ]
    await errand.call("Add three files at once.", "upload_batch", files=more, atomic=True)
    started = await errand.call("Start watching.", "watch", path=".", timeout=0)
    (project / "data" / "arrived.txt").write_text("hello from another program\n")
    cursor = _structured(started)["cursor"]
    seen = await errand.call("Another program wrote a file: what changed?", "watch", path=".", cursor=cursor)
    if not any(event["path"] == "data/arrived.txt" for event in _structured(seen)["events"]):
        raise RuntimeError("the change did not arrive")
    stale = {"path": "CHANGELOG.md", "content": "", "if_match": "0" * 12}
    refused = await client.call_tool("write_file", stale)
    console.print(Text("A write with a stale if_match is refused, and nothing is lost.", style="bold"))
    console.print(Padding(Text(_text(refused), style="red"), (0, 0, 1, 4)))
    result = await errand.call("Take the project home.", "download_zip", paths=["."])
    names = _zip_names(result)
    console.print(Text(f"The zip holds {', '.join(names)}.", style="green"))
    if "CHANGELOG.md" not in names or not refused.is_error:
        raise RuntimeError("the errand did not end as it should")


def _structured(result: types.CallToolResult) -> dict[str, Any]:
    structured: dict[str, Any] = result.structured_content
    return structured


def _text(result: types.CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, types.TextContent))


def _zip_names(result: types.CallToolResult) -> list[str]:
    for block in result.content:
        if isinstance(block, types.EmbeddedResource) and isinstance(block.resource, types.BlobResourceContents):
            with zipfile.ZipFile(io.BytesIO(base64.b64decode(block.resource.blob))) as archive:
                return [name for name in archive.namelist() if not name.endswith("/")]
    raise RuntimeError("there is no zip in the result")


async def main() -> None:
    """Copy the project, start the server, run the errand."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="devbox-demo-") as directory:
        project = Path(directory) / "wordcount"
        shutil.copytree(PROJECT, project)
        command = StdioServerParameters(command=sys.executable, args=["-m", "devbox_mcp", "serve", str(project)])
        started = time.perf_counter()
        async with Client(command) as client:
            took = (time.perf_counter() - started) * 1e3
            tools = (await client.list_tools()).tools
            console.rule(f"devbox-mcp serve {project.name}: {len(tools)} tools, ready in {took:.0f} ms")
            await run(client, project, console)


if __name__ == "__main__":
    asyncio.run(main())
