"""upload_batch and download_zip."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Literal

import mcp_types as types
from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field

from devbox_mcp import text as texts
from devbox_mcp.errors import Conflict, DevboxError, InvalidArgument, TooLarge, printable
from devbox_mcp.models import Archive, BatchItem, BatchOutcome
from devbox_mcp.paths import SandboxPath
from devbox_mcp.sandbox import Sandbox
from devbox_mcp.servers.access.signing import Target
from devbox_mcp.servers.mcp import destinations
from devbox_mcp.servers.mcp.registry import Call, Result, json_list, tool
from devbox_mcp.servers.mcp.results import answered, blob, notes, short, shown, text_block
from devbox_mcp.servers.mcp.tools.arguments import Devbox, decode_base64, encode_text
from devbox_mcp.servers.mcp.tools.lending import offered

#: A linked zip is read in hundreds of pieces; beyond this, saving it is the way that works.
_MOST_LINKED = 64 * 1024 * 1024


class Upload(BaseModel):
    """One file to write."""

    model_config = ConfigDict(extra="forbid")

    path: Annotated[str, Field(description="Path relative to the devbox root.")]
    content: Annotated[str, Field(description="The whole content.")]
    encoding: Annotated[Literal["utf-8", "base64"], Field(description="base64 for bytes.")] = "utf-8"
    executable: Annotated[bool, Field(description="Set the execute permission.")] = False
    if_match: Annotated[str, Field(description="Only if the file's sha256 still begins with this.")] = ""


class UploadedFile(BaseModel):
    """What became of one file; ``sha256`` is shortened as everywhere, enough for if_match."""

    path: str
    ok: bool
    sha256: str | None = None
    error: str | None = None


class BatchResult(BaseModel):
    """What upload_batch answers."""

    written: int
    failed: int
    files: list[UploadedFile]


@tool("Upload files", "transfer", destructive=True, output=BatchResult)
async def upload_batch(
    call: Call,
    files: Annotated[
        list[Upload],
        FailFast(),
        BeforeValidator(json_list),
        Field(description="Up to 1000 files.", min_length=1),
    ],
    atomic: Annotated[bool, Field(description="All or none.")] = False,
    devbox: Devbox = None,
) -> types.CallToolResult:
    """Write many files in one call, each replaced atomically, with a result for each. Parent directories are made."""
    sandbox = await call.sandboxes.reach(devbox, "write") if devbox is not None else None
    parsed: list[BatchItem | DevboxError] = []
    for file in files:
        try:
            sandbox, path = await call.sandboxes.resolve_beside(sandbox, devbox, file.path, "write")
            parsed.append(_item(path, file))
        except DevboxError as error:
            if atomic:
                raise
            parsed.append(error)
    items = [item for item in parsed if isinstance(item, BatchItem)]
    uploaded = iter(await _uploaded(sandbox, items, atomic=atomic) if sandbox is not None and items else [])
    results = [
        _failed(printable(file.path), one) if isinstance(one, DevboxError) else next(uploaded)
        for file, one in zip(files, parsed, strict=True)
    ]
    failed = sum(not one.ok for one in results)
    result = BatchResult(written=len(results) - failed, failed=failed, files=results)
    lines = [f"{one.path}: {one.error or f'sha256 {one.sha256}'}" for one in results]
    answer = answered("\n".join([f"{result.written} written, {failed} failed", *lines]), result)
    answer.is_error = failed == len(results)
    return answer


def _item(path: SandboxPath, file: Upload) -> BatchItem:
    data = (
        decode_base64(file.content, "write", file.path)
        if file.encoding == "base64"
        else encode_text(file.content, "write", file.path)
    )
    return BatchItem(path, data, file.executable or None, file.if_match or None)


def _failed(path: str, error: Exception) -> UploadedFile:
    text = str(error)
    if isinstance(error, Conflict) and error.data.get("sha256"):
        text += f"; if_match of what is there now: {short(error.data['sha256'])}"
    return UploadedFile(path=path, ok=False, error=text)


async def _uploaded(sandbox: Sandbox, items: list[BatchItem], *, atomic: bool) -> list[UploadedFile]:
    return [_told(sandbox, outcome) for outcome in await sandbox.write_batch(items, atomic=atomic)]


def _told(sandbox: Sandbox, outcome: BatchOutcome) -> UploadedFile:
    path = outcome.path.shown(sandbox.name)
    if outcome.written is None:
        return _failed(path, outcome.error or InvalidArgument("write", path, "nothing was written"))
    return UploadedFile(path=path, ok=True, sha256=short(outcome.written.info.sha256))


@tool("Download as zip", "transfer", reads_only=True, saves_locally=True)
async def download_zip(
    call: Call,
    paths: Annotated[
        list[str],
        FailFast(),
        BeforeValidator(json_list),
        Field(description="Files and directories; `.` is everything."),
    ],
    save_to: Annotated[
        str | None,
        Field(description="File on the server's machine to save the zip as, where the operator or client allows it."),
    ] = None,
    devbox: Devbox = None,
) -> Result:
    """Pack files and directories into a zip. A small one comes in the result, a bigger one as a link to read in pieces
    (`?offset=0&length=262144`), a big one with save_to. Links are stored as links; modes and times are kept."""
    if not paths:
        raise InvalidArgument("download_zip", ".", "paths is empty", hint="use . for everything")
    sandbox, first = await call.sandboxes.resolve(devbox, paths[0], "archive")
    rest = [await call.sandboxes.resolve_beside(sandbox, devbox, path, "archive") for path in paths[1:]]
    items = [first, *(path for _, path in rest)]
    target = None if save_to is None else await destinations.locate(call, save_to, "save")
    if isinstance(target, types.InputRequiredResult):
        return target
    if target is None:
        return await _handed_over(call, sandbox, items, await sandbox.archive(items, on_progress=call.on_progress))
    backend, path = target
    try:
        archive = await sandbox.archive(items, on_progress=call.on_progress)
        written = await backend.write(path, aiter(archive))
        place = printable(await destinations.absolute(backend, path))
    finally:
        await backend.aclose()
    saved = _summary(sandbox, archive, written.info.size)
    return shown(text_block(f"saved {place} {notes([*saved, f'sha256 {written.info.sha256}'])}"))


class _TooManyPieces(TooLarge):
    """The zip is larger than what a client can read in pieces."""


async def _handed_over(
    call: Call, sandbox: Sandbox, items: list[SandboxPath], archive: Archive
) -> types.CallToolResult:
    """Embed a small zip, keep a bigger one behind a link, and over HTTP tell where to fetch it."""
    head: list[bytes] = []
    size = 0
    chunks = aiter(archive)
    async for chunk in chunks:
        head.append(chunk)
        size += len(chunk)
        if size > sandbox.limits.inline_zip:
            break
    else:
        described = text_block(notes(_summary(sandbox, archive, size)))
        name = items[0].uri(sandbox.name).rstrip("/") + ".zip"
        return shown(blob(name, "application/zip", b"".join(head)), described)

    async def whole() -> AsyncIterator[bytes]:
        total = 0
        for chunk in head:
            yield chunk
        async for chunk in chunks:
            total += len(chunk)
            if size + total > _MOST_LINKED:
                raise _TooManyPieces(
                    "download_zip",
                    items[0].text,
                    f"the zip is larger than the {texts.human_size(_MOST_LINKED)} that a client can read in pieces",
                    hint="use save_to, or ask for fewer paths",
                )
            yield chunk

    fetched = await offered(call, sandbox, Target.archive(items)) if call.signer is not None else ""
    try:
        kept = await call.zips.keep(call.sandboxes.caller.name, whole())
    except _TooManyPieces:
        if not fetched:
            raise
        return shown(text_block(notes([f"a zip of more than {texts.human_size(_MOST_LINKED)}: {fetched}"])))
    piece = sandbox.limits.inline
    link = types.ResourceLink(
        uri=kept.uri,
        name=f"{items[0].name if not items[0].is_root else sandbox.name}.zip",
        mime_type="application/zip",
        size=kept.size,
        description=f"{kept.size} bytes, kept for an hour; read it in pieces: append ?offset=0&length={piece}, …",
    )
    ways = [f"read {kept.uri}?offset=0&length={piece} and so on", fetched, "or use save_to"]
    facts = notes([*_summary(sandbox, archive, kept.size), ", ".join(filter(None, ways))])
    return shown(link, text_block(facts))


def _summary(sandbox: Sandbox, archive: Archive, size: int) -> list[str]:
    skipped = [path.shown(sandbox.name) for path in archive.skipped]
    return [
        f"zip of {archive.files} file{'s' if archive.files != 1 else ''}",
        f"{texts.human_size(size)} from {texts.human_size(archive.bytes)}",
        f"{len(skipped)} left out (special or unreadable): {', '.join(skipped[:5])}" if skipped else "",
    ]
