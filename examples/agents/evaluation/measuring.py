"""Run the tasks and count."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anthropic import APIStatusError
from mcp import Client
from mcp_types import CallToolResult, TextContent
from tasks import TASKS, Task

sys.path.append(str(Path(__file__).parent.parent / "anthropic_messages"))
from agent import devbox_mcp, run


def tokens(text: str) -> int:
    """An estimate that needs no model: four characters are a token, as English text and code have it on average."""
    return -(-len(text) // 4)


@dataclass
class Cost:
    """What one task took."""

    done: bool = False
    calls: int = 0
    errors: int = 0
    tokens: int = 0


class Counted:
    """The client's tools, each call counted. ``run`` asks no more of a client than this."""

    def __init__(self, client: Client, cost: Cost, task: Task, root: Path) -> None:
        self.instructions = client.instructions
        self.list_tools = client.list_tools
        self._client, self._cost, self._root = client, cost, root
        self._meanwhile = task.meanwhile

    async def call_tool(self, name: str, arguments: dict[str, Any]) -> CallToolResult:
        result = await self._client.call_tool(name, arguments)
        self._cost.calls += 1
        self._cost.errors += result.is_error
        self._cost.tokens += sum(tokens(block.text) for block in result.content if isinstance(block, TextContent))
        if name == "read_file" and self._meanwhile:
            self._meanwhile(self._root)
            self._meanwhile = None
        return result


def lay_out(task: Task, root: Path) -> None:
    """Put a task's files in place of the last one's. The root itself stays: the server holds it open."""
    for path in root.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    for name, content in task.files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


async def measured(client: Client, task: Task, root: Path) -> Cost:
    """Lay out a task's files, let the model work, look what became of them."""
    lay_out(task, root)
    cost = Cost()
    counted: Any = Counted(client, cost, task, root)
    try:
        await run(counted, task.asked)
    except (APIStatusError, RuntimeError) as error:
        print(f"{task.name}: {error}", file=sys.stderr)
    else:
        cost.done = task.done(root)
    return cost


async def evaluate() -> dict[str, Any]:
    """Run all tasks on one server."""
    with tempfile.TemporaryDirectory(prefix="evaluation-") as directory:
        root = Path(directory) / "box"
        root.mkdir()
        async with Client(devbox_mcp(str(root))) as client:
            offered = [tool.model_dump(exclude_none=True, by_alias=True) for tool in (await client.list_tools()).tools]
            costs = {task.name: asdict(await measured(client, task, root)) for task in TASKS}
            described = tokens(json.dumps(offered, ensure_ascii=False) + (client.instructions or ""))
    return {"descriptions": described, "tasks": costs}
