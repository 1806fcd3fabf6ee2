"""upload_file and download_file: files between the server's own machine and a devbox, whatever their size.

The local side is a devbox too: the allowed directory, opened by the local backend, so that confinement, atomicity and
errors are the same at both ends. Content streams through; nothing holds more than a few pieces of it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Annotated, Literal, Self

import anyio
import mcp_types as types
from pydantic import BaseModel, Field

from devbox_mcp import text as texts
from devbox_mcp.backends.base import Progress
from devbox_mcp.callers import Scope
from devbox_mcp.errors import Conflict, DevboxError, Exists, Integrity, IsDirectory, NotFound, TooLarge, printable
from devbox_mcp.models import Content, Written
from devbox_mcp.sandbox import Sandbox
from devbox_mcp.servers.mcp import destinations
from devbox_mcp.servers.mcp.registry import Call, Result, tool
from devbox_mcp.servers.mcp.results import answered, notes
from devbox_mcp.servers.mcp.tools.arguments import Devbox, Path
from devbox_mcp.servers.mcp.tools.writing import broken_links

Local = Annotated[
    str,
    Field(description="File on the server's machine, in a directory that the operator or, over stdio, client allows."),
]
Mode = Annotated[Literal["overwrite", "create"], Field(description="create fails if the file exists.")]
Executable = Annotated[
    bool | None, Field(description="Set or clear the execute permission; set if the original has it, when left out.")
]
IfMatch = Annotated[
    str | None,
    Field(description="Only if the sha256 of the file to be replaced still begins with this (12 hex digits or more)."),
]

#: Hashing so many bytes takes a moment that an event loop does not notice.
_AT_ONCE = 64 * 1024


class Transferred(BaseModel):
    """What upload_file and download_file answer; ``local_path`` is absolute."""

    path: str
    local_path: str
    sha256: str
    size: int
    created: bool
    note: str | None = None


@tool("Upload local file", "local", destructive=True, output=Transferred)
async def upload_file(
    call: Call,
    local_path: Local,
    path: Path,
    mode: Mode = "overwrite",
    if_match: IfMatch = None,
    executable: Executable = None,
    devbox: Devbox = None,
) -> Result:
    """Copy a file of any size from the server's machine into the devbox: atomic, verified by its sha256."""
    sandbox, parsed = await call.sandboxes.resolve(devbox, path, "write")
    sandbox.require("write", parsed, Scope.WRITE)
    source = await destinations.locate(call, local_path, "read")
    if isinstance(source, types.InputRequiredResult):
        return source
    local, local_parsed = source
    try:
        with _here("upload_file", local_path):
            content = await local.read(local_parsed)
        async with _Stream(content, call.on_progress) as stream:
            _check_size("upload_file", local_path, content, sandbox)
            written = await sandbox.write(
                parsed,
                _told_apart(stream, local_path),
                mode=mode,
                if_match=if_match,
                executable=_executable(executable, content),
            )
        place = await destinations.absolute(local, local_parsed)
    finally:
        await local.aclose()
    stream.compare("upload_file", parsed.text, written.info.sha256)
    return _answer("uploaded", parsed.shown(sandbox.name), place, written)


@tool("Download to local file", "local", reads_only=True, saves_locally=True, destructive=True, output=Transferred)
async def download_file(
    call: Call,
    path: Path,
    local_path: Local,
    mode: Mode = "overwrite",
    if_match: IfMatch = None,
    executable: Executable = None,
    devbox: Devbox = None,
) -> Result:
    """Copy a file of any size from the devbox to the server's machine: atomic, verified by its sha256."""
    sandbox, parsed = await call.sandboxes.resolve(devbox, path, "read")
    sandbox.require("read", parsed, Scope.READ)
    target = await destinations.locate(call, local_path, "save")
    if isinstance(target, types.InputRequiredResult):
        return target
    local, local_parsed = target
    try:
        content = await sandbox.read_bytes(parsed)
        async with _Stream(content, call.on_progress, sandbox) as stream:
            _check_size("download_file", parsed.text, content, sandbox)
            with _here("download_file", local_path, stream):
                written = await local.write(
                    local_parsed,
                    stream.chunks(),
                    mode=mode,
                    if_match=if_match,
                    executable=_executable(executable, content),
                )
        place = await destinations.absolute(local, local_parsed)
    finally:
        await local.aclose()
    stream.compare("download_file", local_path, written.info.sha256)
    return _answer("downloaded", parsed.shown(sandbox.name), place, written)


class _Stream:
    """The content of a file as it passes: hashed, counted, and at its end compared with what the devbox it comes
    from says it should be, so that what is wrong never takes its place. Given up with the context, also when a call
    is cancelled while a chunk is on its way."""

    def __init__(self, content: Content, on_progress: Progress, sandbox: Sandbox | None = None) -> None:
        self._content = content
        self._on_progress = on_progress
        self._sandbox = sandbox
        self._digest = hashlib.sha256()
        self._reading = asyncio.Lock()
        self._ended = False
        self.error: DevboxError | None = None
        """what ended it, if that was at its source"""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            async with self._reading:
                self._ended = True
                await self._content.aclose()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes. Raises what reading raises, Integrity, Conflict."""
        done = 0
        try:
            while chunk := await self._next():
                if len(chunk) > _AT_ONCE:
                    await asyncio.to_thread(self._digest.update, chunk)
                else:
                    self._digest.update(chunk)
                done += len(chunk)
                self._on_progress(done, self._content.info.size)
                yield chunk
            await self._verify()
        except DevboxError as error:
            self.error = error
            raise

    async def _next(self) -> bytes:
        """Return the next chunk, nothing at the end."""
        async with self._reading:
            return b"" if self._ended else await anext(self._content.chunks, b"")

    async def _verify(self) -> None:
        if self._sandbox is None:
            return
        info = self._content.info
        if info.sha256 is None:
            known = await self._sandbox.stat(info.path, sha256=True)
            if known.revision != info.revision:
                raise Conflict(
                    "download_file", info.path.text, "the file was changed meanwhile", hint="download it again"
                )
            info = known
        self.compare("download_file", info.path.text, info.sha256)

    def compare(self, op: str, path: str, sha256: str | None) -> None:
        """Raise Integrity where the bytes that passed have another hash."""
        if sha256 != self._digest.hexdigest():
            raise Integrity(op, path, "the bytes that arrived are not those that were sent", hint="try again")


async def _told_apart(stream: _Stream, local_path: str) -> AsyncIterator[bytes]:
    with _here("upload_file", local_path):
        async for chunk in stream.chunks():
            yield chunk


@contextmanager
def _here(op: str, local_path: str, stream: _Stream | None = None) -> Iterator[None]:
    """Let errors in the block tell the path on the server's machine as the caller wrote it, except those that the
    stream brought from the devbox."""
    try:
        yield
    except DevboxError as error:
        if stream is not None and error is stream.error:
            raise
        error.op, error.path = op, local_path
        error.detail = f"on the server's machine: {error.detail}"
        if isinstance(error, NotFound | IsDirectory):
            error.hint = "local_path has to name a file; paths in it are from the allowed directory, or absolute"
        elif isinstance(error, Exists):
            error.hint = "mode=overwrite replaces it"
        elif isinstance(error, Conflict):
            error.hint = "look at what is there now"
        raise


def _check_size(op: str, path: str, content: Content, sandbox: Sandbox) -> None:
    most = sandbox.limits.transfer
    if content.info.size > most:
        raise TooLarge(
            op,
            path,
            f"{content.info.size} bytes are more than the {most} that one transfer takes",
            hint="have the operator raise --max-transfer",
            limit=most,
        )


def _executable(asked: bool | None, content: Content) -> bool | None:
    """Return what is asked for, or as the original is; what is not executable leaves the mode of an old file alone."""
    return asked if asked is not None else (bool(content.info.mode & 0o111) or None)


def _answer(verb: str, path: str, local_path: str, written: Written) -> types.CallToolResult:
    outcome = Transferred(
        path=path,
        local_path=printable(local_path),
        sha256=written.info.sha256 or "",
        size=written.info.size,
        created=written.created,
        note=broken_links(written),
    )
    ends = (outcome.local_path, path) if verb == "uploaded" else (path, outcome.local_path)
    facts = [
        texts.human_size(outcome.size),
        f"sha256 {outcome.sha256}",
        "new" if outcome.created else "replaced",
        outcome.note or "",
    ]
    return answered(f"{verb} {' to '.join(ends)} {notes(facts)}", outcome)
