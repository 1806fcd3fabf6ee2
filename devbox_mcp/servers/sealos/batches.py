"""Many files in one request, each way."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, FailFast, Field
from starlette.requests import Request
from starlette.responses import Response

from devbox_mcp.errors import Cancelled, DevboxError
from devbox_mcp.paths import SandboxPath
from devbox_mcp.sandbox import Sandbox
from devbox_mcp.servers import tars
from devbox_mcp.servers.sealos.answering import message_of, streamed, succeeded
from devbox_mcp.servers.sealos.asking import absolute, body, json_body, place
from devbox_mcp.servers.sealos.forms import Form, Part

_BREAK = "\r\n"


class Downloaded(BaseModel):
    paths: Annotated[list[str], FailFast(), Field(min_length=1, max_length=10_000)]
    format: str | None = None


async def upload(sandbox: Sandbox, request: Request) -> Response:
    """Write the parts as they arrive, each by itself; one that fails leaves the others alone."""
    form = Form(request.headers.get("content-type", ""), body(request, sandbox.limits.transfer, "write"))
    results = [await _uploaded(sandbox, part) async for part in form.parts() if part.name in ("files", "file")]
    good = sum(result["success"] for result in results)
    return succeeded({"results": results, "totalFiles": len(results), "successCount": good})


async def _uploaded(sandbox: Sandbox, part: Part) -> dict[str, Any]:
    name = part.filename or ""
    try:
        path = await place(sandbox, name, "write")
        written = await sandbox.write(path, part.chunks())
    except Cancelled:
        raise
    except DevboxError as error:
        shown = name.encode("utf-8", "replace").decode("utf-8")
        return {"path": shown, "success": False, "error": message_of(error)}
    return {"path": absolute(sandbox, path), "success": True, "size": written.info.size}


async def download(sandbox: Sandbox, request: Request) -> Response:
    """A tar, packed unless asked otherwise, or the files as parts."""
    asked = await json_body(request, Downloaded, sandbox.limits.body, "archive")
    paths = [await place(sandbox, text, "archive") for text in asked.paths]
    for path in paths:
        await sandbox.stat(path)
    if asked.format in ("multipart", "mixed"):
        boundary = secrets.token_hex(16)
        return _attached(_parts(sandbox, paths, boundary), f"multipart/mixed; boundary={boundary}", "multipart")
    if asked.format == "tar":
        return _attached(tars.tar(sandbox, paths), "application/x-tar", "tar")
    # their server gives this for every other word too, and their SDK has one more (direct)
    return _attached(tars.tar_gz(sandbox, paths), "application/gzip", "tar.gz")


def _attached(chunks: AsyncIterator[bytes], kind: str, ending: str) -> Response:
    headers = {"content-type": kind, "content-disposition": f'attachment; filename="download.{ending}"'}
    return streamed(chunks, headers)


async def _parts(sandbox: Sandbox, paths: Sequence[SandboxPath], boundary: str) -> AsyncIterator[bytes]:
    begun = False
    async for piece in tars.files(sandbox, paths):
        if isinstance(piece, bytes):
            yield piece
            continue
        name = absolute(sandbox, piece.path).replace('"', "%22")
        head = f'Content-Disposition: attachment; filename="{name}"{_BREAK}Content-Type: application/octet-stream'
        yield f"{'' if not begun else _BREAK}--{boundary}{_BREAK}{head}{_BREAK}{_BREAK}".encode()
        begun = True
    if begun:
        yield _BREAK.encode()
    yield f"--{boundary}--{_BREAK}".encode()
