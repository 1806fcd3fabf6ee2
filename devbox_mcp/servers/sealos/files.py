"""Files: listed, read, written, moved, deleted."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import AsyncIterator
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from devbox_mcp.errors import InvalidArgument, Unsupported
from devbox_mcp.models import FileInfo
from devbox_mcp.paths import LONGEST, SandboxPath
from devbox_mcp.sandbox import Sandbox
from devbox_mcp.servers.access.fields import require_whole
from devbox_mcp.servers.sealos.answering import streamed, succeeded
from devbox_mcp.servers.sealos.asking import absolute, body, flag, given, json_body, number, parameter, place
from devbox_mcp.servers.sealos.forms import Form, Part

#: Entries of a listing unless asked for more, and at most; how far into one.
_LISTED, _MOST_LISTED, _FARTHEST = 100, 10_000, 1_000_000
#: What the part of a form is called that is the file.
_FILE = ("file", "files")


class Written(BaseModel):
    path: str
    content: str
    encoding: str | None = None


class Deleted(BaseModel):
    path: str
    recursive: bool = False


class Moved(BaseModel):
    source: str
    destination: str
    overwrite: bool = False


class Renamed(BaseModel):
    oldPath: str  # noqa: N815  Sealos' name
    newPath: str  # noqa: N815  as above


class Chmodded(BaseModel):
    path: str
    mode: str
    recursive: bool = False
    owner: str | None = None


async def list_files(sandbox: Sandbox, request: Request) -> Response:
    path = await place(sandbox, given(request, "path", "list") or ".", "list")
    limit = number(request, "limit", _LISTED, _MOST_LISTED, "list")
    offset = number(request, "offset", 0, _FARTHEST, "list")
    hidden = flag(request, "showHidden", "list")
    found: list[dict[str, Any]] = []
    async for entry in _entries(sandbox, path):
        if not hidden and entry.path.name.startswith("."):
            continue
        if offset:
            offset -= 1
        elif len(found) < limit:
            found.append(_told(sandbox, entry))
        else:
            break
    return succeeded({"files": found})


async def _entries(sandbox: Sandbox, path: SandboxPath) -> AsyncIterator[FileInfo]:
    after: SandboxPath | None = None
    while True:
        page = await sandbox.list(path, limit=sandbox.limits.page_most, after=after, details=True)
        for entry in page.entries:
            yield entry
        after = page.after
        if after is None:
            return


def _told(sandbox: Sandbox, entry: FileInfo) -> dict[str, Any]:
    return {
        "name": entry.path.name.encode("utf-8", "replace").decode("utf-8"),
        "path": absolute(sandbox, entry.path),
        "size": entry.size,
        "isDir": entry.type == "directory",
        "permissions": f"0{entry.mode & 0o777:o}",
        "modified": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.modified)),
    }


async def read(sandbox: Sandbox, request: Request) -> Response:
    path = await place(sandbox, parameter(request, "path", "read"), "read")
    content = await sandbox.read_bytes(path)
    headers = {
        "content-type": "application/octet-stream",
        "content-length": str(content.info.size),
        # what lies in a sandbox is not to act in the name of this server in a browser
        "content-disposition": "attachment",
        "x-content-type-options": "nosniff",
    }
    return streamed(content.chunks, headers)


async def write(sandbox: Sandbox, request: Request) -> Response:
    require_whole(request.headers, ".", hint="send the whole file")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        asked = await json_body(request, Written, sandbox.limits.body, "write")
        return await _write(sandbox, asked.path, _decoded(asked))
    if kind == "multipart/form-data":
        return await _write_form(sandbox, request)
    path = parameter(request, "path", "write")
    return await _write(sandbox, path, body(request, sandbox.limits.file, "write"))


def _decoded(asked: Written) -> bytes:
    if asked.encoding not in (None, "base64", "utf8", "utf-8"):
        raise InvalidArgument("write", asked.path, "encoding is base64, or left out for text")
    if asked.encoding != "base64":
        return asked.content.encode()
    try:
        return base64.b64decode(asked.content, validate=True)
    except (ValueError, binascii.Error):
        raise InvalidArgument("write", asked.path, "content is not base64") from None


async def _write_form(sandbox: Sandbox, request: Request) -> Response:
    form = Form(request.headers["content-type"], body(request, 2 * sandbox.limits.file, "write"))
    path: str | None = None
    parts = form.parts()
    async for part in parts:
        if part.name == "path":
            path = await part.text(LONGEST)
        elif part.name in _FILE:
            return await _write(sandbox, path or part.filename or "", _last(part, parts))
    raise InvalidArgument("write", ".", "the form has no part file")


async def _last(file: Part, parts: AsyncIterator[Part]) -> AsyncIterator[bytes]:
    """Pass a file on, and read the form to its end before whoever writes it knows that it is complete. Raises
    InvalidArgument where what follows says that it, or something else, was to be written elsewhere."""
    async for chunk in file.chunks():
        yield chunk
    async for part in parts:
        if part.name == "path":
            raise InvalidArgument("write", ".", "the part path comes behind the file", hint="send path before file")
        if part.name in _FILE:
            raise InvalidArgument("write", ".", "the form has more than one file", hint="use files/batch-upload")


async def _write(sandbox: Sandbox, text: str, data: bytes | AsyncIterator[bytes]) -> Response:
    path = await place(sandbox, text, "write")
    written = await sandbox.write(path, data)
    return succeeded({"path": absolute(sandbox, path), "size": written.info.size})


async def delete(sandbox: Sandbox, request: Request) -> Response:
    asked = await json_body(request, Deleted, sandbox.limits.body, "delete")
    await sandbox.delete(await place(sandbox, asked.path, "delete"), recursive=asked.recursive)
    return succeeded({"success": True})


async def move(sandbox: Sandbox, request: Request) -> Response:
    asked = await json_body(request, Moved, sandbox.limits.body, "move")
    source = await place(sandbox, asked.source, "move")
    await sandbox.move(source, await place(sandbox, asked.destination, "move"), overwrite=asked.overwrite)
    return succeeded({"success": True})


async def rename(sandbox: Sandbox, request: Request) -> Response:
    asked = await json_body(request, Renamed, sandbox.limits.body, "move")
    source = await place(sandbox, asked.oldPath, "move")
    await sandbox.move(source, await place(sandbox, asked.newPath, "move"))
    return succeeded({"success": True})


async def chmod(sandbox: Sandbox, request: Request) -> Response:
    asked = await json_body(request, Chmodded, sandbox.limits.body, "chmod")
    if asked.owner is not None:
        raise Unsupported("chmod", asked.path, "files are not given away here", hint="leave owner out")
    path = await place(sandbox, asked.path, "chmod")
    await sandbox.chmod(path, _mode(asked), recursive=asked.recursive)
    return succeeded({"success": True})


def _mode(asked: Chmodded) -> int:
    text = asked.mode.strip().lower().removeprefix("0o")
    if not text or len(text) > 5 or set(text) - set("01234567"):
        raise InvalidArgument("chmod", asked.path, "mode is octal, as 755 or 0644")
    return int(text, 8)
