"""A process that matches a pattern against files streamed to it, and that can be killed whatever the pattern."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio

from devbox_mcp.errors import InvalidArgument, Unavailable
from devbox_mcp.paths import SandboxPath

_PROGRAM = """\
import sys
sys.path.append(%a)
from devbox_mcp.backends.matching_child import main
main()
"""
_TOP = str(Path(__file__).resolve().parents[3])
_ENVIRONMENT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")  # an interpreter may not start without them
_LONGEST_ANSWER = 1 << 20  # a match with the lines around it is far shorter
_PIECE = 1 << 20

#: The number of a line and, where it matches, the match as ``guest.matching`` tells it.
Step = tuple[int, dict[str, Any] | None]


class Matcher:
    """One pattern. Files are matched one after the other."""

    def __init__(self, process: Process, path: SandboxPath) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._requests = process.stdin
        self._answers = process.stdout
        self._path = path
        self.binary = False
        """whether the file matched last was passed over for being no text"""
        self.gap: dict[str, Any] | None = None
        """what was left out of it, as ``guest.matching`` tells it"""

    async def steps(self, content: AsyncIterator[bytes], behind: int) -> AsyncGenerator[Step, None]:
        """Yield the steps of a file: its matches beyond line ``behind``, and how far all is told. To be gone
        through to the end before the next file."""
        sender = asyncio.create_task(self._feed(content, behind))
        try:
            while isinstance(answer := await self._answer(), list):
                yield answer[0], answer[1]
            self.binary, self.gap = answer["binary"], answer["gap"]
            await sender
        finally:
            sender.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([sender])

    async def _feed(self, content: AsyncIterator[bytes], behind: int) -> None:
        self._send(json.dumps({"behind": behind}).encode("ascii") + b"\n")
        try:
            async for chunk in content:
                for start in range(0, len(chunk), _PIECE):
                    piece = chunk[start : start + _PIECE]
                    self._send(len(piece).to_bytes(4, "big") + piece)
                    await self._requests.drain()
        except ConnectionError:
            return  # whoever waits for the answer is told
        finally:
            self._send(bytes(4))

    def _send(self, data: bytes) -> None:
        self._requests.write(data)

    async def begin(self, request: dict[str, Any]) -> None:
        """Say what to look for. Raises InvalidArgument for a bad pattern."""
        self._send(json.dumps(request).encode("ascii") + b"\n")
        error = (await self._answer()).get("error")
        if error is not None:
            raise InvalidArgument("search", self._path.text, error["detail"], hint=error["hint"], **error["data"])

    async def _answer(self) -> Any:
        line = await self._answers.readline()
        if not line.endswith(b"\n"):
            raise Unavailable("search", self._path.text, "the process that searches ended unexpectedly")
        return json.loads(line)

    def kill(self) -> None:
        """Stop it; whoever waits for it learns that it ended."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> None:
        """Stop it and leave nothing of it."""
        self.kill()
        self._requests.close()
        while await self._answers.read(_LONGEST_ANSWER):
            pass
        await self._process.wait()
        with suppress(ConnectionError):
            await self._requests.wait_closed()


@asynccontextmanager
async def started(path: SandboxPath) -> AsyncIterator[Matcher]:
    """Run such a process, for the search of a path, as long as the block lasts."""
    try:
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", _PROGRAM % _TOP],
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            cwd="/",
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            start_new_session=True,
            limit=_LONGEST_ANSWER,
        )
    except OSError as error:
        raise Unavailable("search", path.text, f"no process can be started: {error.strerror}") from None
    matcher = Matcher(process, path)
    try:
        yield matcher
    finally:
        with anyio.CancelScope(shield=True):
            await matcher.end()
