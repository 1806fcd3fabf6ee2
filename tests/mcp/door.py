"""What the tests of the door share: a server process, a client on it, and what holds for every result."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import mcp_types as types
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

PROJECT = Path(__file__).parent.parent.parent
SERVE = [sys.executable, "-m", "devbox_mcp", "serve"]

#: Every way a client can come in: by which transport, and whether by the handshake or by the modern era's discovery.
EVERY_DOOR = ("stdio-handshake", "stdio-modern", "http-handshake", "http-modern")

_SERVED = re.compile(r"https?://\S+/mcp(?=[,\n])")

#: The directory around the one that is served is called so; no result may name it.
OUTSIDE = "outside-of-the-box"


@dataclass(frozen=True)
class Answer:
    """A tool's result, good or bad."""

    result: types.CallToolResult

    @property
    def texts(self) -> list[str]:
        """The text blocks."""
        return [block.text for block in self.result.content if isinstance(block, types.TextContent)]

    @property
    def text(self) -> str:
        """All that a model reads."""
        return "\n".join(self.texts)

    @property
    def lines(self) -> list[str]:
        """The lines of it."""
        return self.text.splitlines()

    @property
    def data(self) -> dict[str, Any]:
        """The structured content."""
        assert self.result.structured_content is not None
        return self.result.structured_content

    def only(self, kind: type[Any]) -> Any:
        """Return the one block of a kind."""
        (found,) = [block for block in self.result.content if isinstance(block, kind)]
        return found


@dataclass
class Door:
    """An open client, and ``box``, the directory behind the server it talks to."""

    client: Client = field(repr=False)
    box: Path
    kind: str
    tools: dict[str, types.Tool] = field(default_factory=dict, repr=False)

    async def call(self, tool: str, /, **arguments: Any) -> Answer:
        """Call a tool that has to succeed."""
        answer = await self._call(tool, arguments)
        assert not answer.result.is_error, answer.text
        self._check_structure(tool, answer)
        return answer

    async def refused(self, tool: str, /, **arguments: Any) -> str:
        """Call a tool that has to fail, and return what the model is told: one text, which ends in nothing
        structured."""
        answer = await self._call(tool, arguments)
        assert answer.result.is_error, answer.text
        assert len(answer.result.content) == 1
        assert answer.result.structured_content is None
        return answer.text

    async def mixed(self, tool: str, /, **arguments: Any) -> Answer:
        """Call a tool whose result may say that it failed and have a structure all the same."""
        answer = await self._call(tool, arguments)
        self._check_structure(tool, answer)
        return answer

    async def mixed_or_refused(self, tool: str, /, **arguments: Any) -> Answer:
        """Call a tool whose failure may come with or without a structure."""
        answer = await self._call(tool, arguments)
        if answer.result.structured_content is not None:
            self._check_structure(tool, answer)
        return answer

    async def _call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        result = await self.client.call_tool(tool, arguments, read_timeout_seconds=60)
        written = result.model_dump_json()
        given = json.dumps(arguments)
        assert OUTSIDE not in written or OUTSIDE in given or (tool, arguments.get("path", ".")) == ("stat", ".")
        assert len(written) < 1024 * 1024, "clients drop what is larger"
        return Answer(result)

    def _check_structure(self, tool: str, answer: Answer) -> None:
        schema = self.tools[tool].output_schema
        if schema is None:
            assert answer.result.structured_content is None
            return
        jsonschema.validate(answer.data, schema)
        assert len(answer.texts) == 1
        for text in _texts(answer.data):
            assert text in answer.text or text[:12] in answer.text, f"only the structured content says {text!r}"

    def make(self, tree: Mapping[str, str | bytes | None]) -> None:
        """Make files behind the server's back; None makes a directory."""
        for name, content in tree.items():
            path = self.box / name
            if content is None:
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def uri(self, path: str) -> str:
        """Return the URI of a file in the box."""
        return f"devbox://{self.box.name}/{path}"


def _texts(node: Any) -> Iterator[str]:
    """Return the texts in structured content that its text has to say as well. A listing does not repeat its path,
    and the names in it tell which are directories and links."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, list):
        for item in node:
            yield from _texts(item)
    elif isinstance(node, dict):
        for name, item in node.items():
            listed = name == "path" and isinstance(node.get("entries"), list)
            plain = name == "type" and "modified" in node and item in ("file", "directory", "symlink")
            if not listed and not plain:
                yield from _texts(item)


def empty(directory: Path) -> None:
    """Remove everything in a directory, but not itself."""
    for entry in list(os.scandir(directory)):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a server: the project importable, and no setting of whoever runs the tests."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DEVBOX_MCP_")}
    return {**inherited, "PYTHONPATH": str(PROJECT), **(extra or {})}


@contextmanager
def http_server(log: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run ``devbox-mcp serve … --http`` on a free port, and yield the address that it says it serves at."""
    with http_process(log, *arguments, env=env) as (_, url):
        yield url


@contextmanager
def http_process(
    log: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """As ``http_server``, with the process."""
    argv = [*SERVE, *arguments, *(() if "--http" in arguments else ("--http", "127.0.0.1:0"))]
    with (
        log.open("wb") as stderr,
        subprocess.Popen(argv, stdout=stderr, stderr=stderr, env=environment(env), cwd=log.parent) as process,
    ):
        try:
            yield process, _address(log, process)
        finally:
            process.terminate()
            process.wait(timeout=20)
    assert_clean(log)


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        said = log.read_text()
        if (found := _SERVED.search(said)) is not None:
            return found[0]
        assert process.poll() is None, said
        time.sleep(0.01)
    raise AssertionError(f"the server did not start: {log.read_text()}")


def assert_clean(log: Path) -> None:
    """What a server writes to stderr is nothing that went wrong inside it."""
    said = log.read_text()
    assert "Traceback" not in said, said
    assert "Error" not in said, said


@asynccontextmanager
async def open_door(kind: str, box: Path, log: Path, url: str | None, *options: str) -> AsyncIterator[Door]:
    """Come in by one of EVERY_DOOR: over HTTP to the server at ``url``, over stdio to a new one with ``options``.

    For fixtures that live long: a task of its own holds the client, for they are not closed in the order of their
    opening, which the client's cancel scopes would need within one task.
    """
    mode = "legacy" if kind.endswith("handshake") else "auto"
    opening = stdio_door(box, log, *options, mode=mode) if url is None else http_door(box, url, mode=mode)
    opened: asyncio.Future[Door] = asyncio.get_running_loop().create_future()
    closing = asyncio.Event()

    async def hold() -> None:
        async with opening as door:
            opened.set_result(door)
            await closing.wait()

    holder = asyncio.create_task(hold())
    await asyncio.wait([holder, opened], return_when=asyncio.FIRST_COMPLETED)
    if opened.done():
        yield opened.result()
    closing.set()
    await holder


@asynccontextmanager
async def stdio_door(
    box: Path, log: Path, *options: str, mode: str = "auto", directories: Sequence[str] = (), **client: Any
) -> AsyncIterator[Door]:
    """Start a server over stdio, and be its client."""
    argv = [*SERVE[1:], *(directories or (str(box),)), *options]
    parameters = StdioServerParameters(command=SERVE[0], args=argv, env=environment(), cwd=log.parent)
    with log.open("w") as stderr:
        async with Client(stdio_client(parameters, errlog=stderr), mode=mode, cache=None, **client) as opened:
            yield await _door(opened, box, "stdio")
    assert_clean(log)


@asynccontextmanager
async def http_door(box: Path, url: str, *, mode: str = "auto", **client: Any) -> AsyncIterator[Door]:
    """Be a client of a running HTTP server."""
    async with Client(url, mode=mode, cache=None, **client) as opened:
        yield await _door(opened, box, "http")


async def _door(client: Client, box: Path, kind: str) -> Door:
    tools = (await client.list_tools()).tools
    return Door(client, box, kind, {tool.name: tool for tool in tools})
