"""An agent with tools of its own beside devbox-mcp's: ``python report.py DEVBOX TABLE.csv REPORT.zip``

The model reads and writes files through MCP. Numbers and pictures are made here, by two tools of this program that
reach the same devbox through the Python SDK: a model should not add up columns in its head, nor write out a PNG.
"""

import asyncio
import csv
import io
import os
import sys
from collections import Counter
from pathlib import Path

from fastmcp.client.transports import StdioTransport
from matplotlib.figure import Figure
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset

from devbox_mcp import AsyncDevbox

MODEL = os.environ.get("PYDANTIC_AI_MODEL", "openai:gpt-5.4")
TASK = """Report on {table}: what is in it, and what stands out. Draw one plot. Write the report as report/report.md,
with the plot beside it."""


class Tables:
    """The program's own tools. The model learns from their names, types and docstrings what they are for."""

    def __init__(self, box: AsyncDevbox) -> None:
        self._box = box

    async def total(self, path: str, of: str, by: str) -> dict[str, float]:
        """Add up one column of a CSV file for each value of another."""
        rows = csv.DictReader(io.StringIO(str(await self._box.fs.read_file(path))))
        totals: Counter[str] = Counter()
        for row in rows:
            totals[row[by]] += float(row[of])
        return dict(totals)

    async def plot(self, path: str, of: str, by: str, to: str) -> str:
        """Draw what `total` would say as bars, and save the picture as a PNG file."""
        totals = await self.total(path, of, by)
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.add_subplot(title=f"{of} by {by}", ylabel=of)
        axes.bar(list(totals), list(totals.values()))
        axes.tick_params(axis="x", rotation=45)
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
        await self._box.fs.write_file(to, picture.getvalue())
        return f"saved {to}, {len(picture.getvalue())} bytes"


async def main(devbox: str, table: str) -> bytes:
    """Let the model work; return what it made as a zip."""
    async with AsyncDevbox(devbox) as box:
        own = Tables(box)
        server = MCPToolset(StdioTransport("devbox-mcp", ["serve", devbox]), include_instructions=True, max_retries=3)
        async with Agent(MODEL, tools=[own.total, own.plot], toolsets=[server]) as agent:
            print((await agent.run(TASK.format(table=table))).output)
        return await box.fs.download_files(["report"])


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    devbox, table, archive = sys.argv[1:]
    Path(archive).write_bytes(asyncio.run(main(devbox, table)))
    print(f"saved {archive}")
