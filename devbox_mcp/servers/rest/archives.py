"""Many files in one stream."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import FailFast, Field
from starlette.responses import Response

from devbox_mcp.backends.reported import MEDIA_TYPE, piece
from devbox_mcp.callers import Scope
from devbox_mcp.errors import DevboxError, InvalidArgument
from devbox_mcp.models import Archive as Packed
from devbox_mcp.servers.outgoing import Stream
from devbox_mcp.servers.problems import fields
from devbox_mcp.servers.rest.calls import Call
from devbox_mcp.servers.rest.changing import SMALL_JSON, Asked
from devbox_mcp.servers.rest.incoming import json_body
from devbox_mcp.servers.rest.operations import Answer, Body, Operation, Routes, json_of
from devbox_mcp.servers.rest.parameters import Choice, Flag, Number, Several
from devbox_mcp.servers.tars import tar_gz

ROUTES = Routes("archives")

Format = Literal["zip", "tar.gz"]

PATHS = Several("path", "A file or directory to put in; may be given many times.", (), required=True)
REPORT = Flag("report", "Pieces of a told length (4 bytes), an empty one, and JSON that tells what was packed.", False)
MAX_BYTES: Number[int | None] = Number("max_bytes", "Most bytes of content.", None, low=0)
MAX_FILES: Number[int | None] = Number("max_files", "Most entries.", None, low=0)
FORMAT: Choice[Format] = Choice("format", "What to make.", "zip", words=("zip", "tar.gz"))

_ANSWERS = {200: Answer("The archive, as it is made.", Body({"application/zip": None, "application/gzip": None}))}
_ERRORS = ("too_large", "escapes_root", "permission_denied", "denied", "unsupported")
_OPTIONS = (MAX_BYTES, MAX_FILES, REPORT)
_ABOUT = (
    "Links are kept as links, and modes and times as they are. Names are from the root. An archive that cannot be "
    "finished breaks the connection."
)


class Archived(Asked):
    paths: Annotated[list[str], FailFast(), Field(min_length=1, max_length=10_000)]
    format: Format = "zip"


GET = Operation(
    ("GET",), "/archive", "archive", "archive", Scope.READ, "Download files and directories as an archive", _ABOUT,
    _ANSWERS, (PATHS, FORMAT, *_OPTIONS), errors=_ERRORS,
)  # fmt: skip
POST = Operation(
    ("POST",), "/archive", "archive_many", "archive", Scope.READ, "The same for a long list of paths", _ABOUT,
    _ANSWERS, _OPTIONS, body=json_of(Archived, {"paths": ["src", "README.md"], "format": "zip"}), errors=_ERRORS,
)  # fmt: skip


@ROUTES.add(GET)
async def archive(call: Call) -> Response:
    return await _archive(call, call.get(PATHS), call.get(FORMAT))


@ROUTES.add(POST)
async def archive_many(call: Call) -> Response:
    asked = await json_body(call.request, "archive", Archived, SMALL_JSON)
    return await _archive(call, asked.paths, asked.format)


async def _archive(call: Call, texts: Sequence[str], wanted: Format) -> Response:
    paths = [await call.named(text) for text in texts]
    if wanted == "zip":
        archive = await call.sandbox.archive(paths, max_bytes=call.get(MAX_BYTES), max_files=call.get(MAX_FILES))
        chunks = await _begun(aiter(archive))
        if call.get(REPORT):
            return Stream(200, [(b"content-type", MEDIA_TYPE.encode("ascii"))], _reported(call, archive, chunks))
    elif call.get(REPORT):
        raise InvalidArgument("archive", ".", "a report comes with a zip only")
    else:
        chunks = await _begun(tar_gz(call.sandbox, paths))
    headers = [
        (b"content-type", b"application/zip" if wanted == "zip" else b"application/gzip"),
        (b"content-disposition", f'attachment; filename="{call.sandbox.name}.{wanted}"'.encode("ascii")),
    ]
    return Stream(200, headers, chunks)


async def _reported(call: Call, packed: Packed, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield an archive with its report, which tells an error that came in the middle as well."""
    try:
        async for chunk in chunks:
            if chunk:
                yield piece(chunk)
    except DevboxError as error:
        told: dict[str, Any] = {"error": fields(error)}
    else:
        skipped = [path.shown(call.sandbox.name) for path in packed.skipped]
        told = {"files": packed.files, "bytes": packed.bytes, "skipped": skipped}
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()
    yield piece(b"") + json.dumps(told).encode("ascii")


async def _begun(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Return an iterator whose first chunk is there: what goes wrong before it is still told as an error."""
    first = await anext(chunks, b"")

    async def all_of_them() -> AsyncIterator[bytes]:
        try:
            yield first
            async for chunk in chunks:
                yield chunk
        finally:
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()

    return all_of_them()
