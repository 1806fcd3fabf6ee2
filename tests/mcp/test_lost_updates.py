"""Eight writers on two server processes change one file: what was acknowledged is what is there."""

import asyncio
import re
import sys

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

WRITERS = 8
EDITS = 1000


@pytest.mark.slow
async def test_no_acknowledged_edit_is_lost_between_two_servers(tmp_path):
    counters = tmp_path / "counters.txt"
    counters.write_text("".join(f"writer-{number}: 0\n" for number in range(WRITERS)))
    command = StdioServerParameters(command=sys.executable, args=["-m", "devbox_mcp", "serve", str(tmp_path)])
    acknowledged = [0] * WRITERS
    conflicts = 0

    async def increment(client: Client, number: int) -> None:
        """Half of the writers leave repeating to the server, half do compare-and-set themselves."""
        nonlocal conflicts
        careful = number % 2 == 1
        while acknowledged[number] < EDITS:
            done = acknowledged[number]
            edit = {"old_text": f"writer-{number}: {done}\n", "new_text": f"writer-{number}: {done + 1}\n"}
            arguments = {"path": "counters.txt", "edits": [edit]}
            if careful:
                read = await client.call_tool("read_file", {"path": "counters.txt"})
                version = re.search(r"sha256 ([0-9a-f]{12})", read.content[-1].text)
                arguments["if_match"] = version[1]
            result = await client.call_tool("edit_file", arguments)
            if result.is_error:
                assert careful, result.content[0].text
                assert "[conflict]" in result.content[0].text, result.content[0].text
                conflicts += 1
            else:
                acknowledged[number] += 1

    async with Client(command) as one, Client(command) as other, asyncio.TaskGroup() as group:
        for number in range(WRITERS):
            group.create_task(increment(one if number < WRITERS // 2 else other, number))

    assert counters.read_text() == "".join(f"writer-{number}: {EDITS}\n" for number in range(WRITERS))
    assert conflicts > 0, "the writers never met: nothing was proved"
    assert [path.name for path in tmp_path.iterdir()] == ["counters.txt"]
