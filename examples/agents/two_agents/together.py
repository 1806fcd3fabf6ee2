"""Two agents write one file at the same time, and no line is lost: ``python together.py DEVBOX AGENT…``

Each is a process with a server of its own. Only if_match stands between them: who wrote second is refused, reads
what is there now, and writes again.
"""

import asyncio
import sys

from devbox_mcp import AsyncDevbox

TASK = """Add the line `{line}` to `log.md`, below the others. Another agent writes the file too, right now:
read it, write it with if_match, and if it changed meanwhile, read and write again."""
LINES = ["- Ada: the boat is painted", "- Grace: the engine runs"]


async def add(line: str, devbox: str, agent: list[str]) -> None:
    working = await asyncio.create_subprocess_exec(*agent, devbox, TASK.format(line=line))
    if await working.wait() != 0:
        raise RuntimeError("an agent failed")


async def main(devbox: str, *agent: str) -> int:
    async with AsyncDevbox(devbox) as box:
        await box.fs.write_file("log.md", "# Log\n\n")
        async with asyncio.TaskGroup() as both:
            for line in LINES:
                both.create_task(add(line, devbox, list(agent)))
        log = str(await box.fs.read_file("log.md"))
    print(log)
    lost = [line for line in LINES if line not in log]
    print(f"lost: {lost}" if lost else "both lines are there")
    return 1 if lost else 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(asyncio.run(main(*sys.argv[1:])))
