"""write_file and edit_file."""

from __future__ import annotations

from typing import Annotated, Literal

import mcp_types as types
from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field

from devbox_mcp import text as texts
from devbox_mcp.edits import Edit
from devbox_mcp.errors import Exists, TooLarge
from devbox_mcp.models import Written
from devbox_mcp.sandbox import Sandbox
from devbox_mcp.servers.mcp.registry import Call, json_list, tool
from devbox_mcp.servers.mcp.results import answered, notes, short
from devbox_mcp.servers.mcp.tools.arguments import Devbox, IfMatch, Path, decode_base64, encode_text

InPlace = Annotated[
    bool,
    Field(description="Write into the existing file to keep its hard links or mount; not atomic: avoid."),
]


class WriteOutcome(BaseModel):
    """What write_file answers."""

    path: str
    sha256: str
    size: int
    created: bool
    note: str | None = None


@tool("Write file", "write", destructive=True, output=WriteOutcome)
async def write_file(
    call: Call,
    path: Path,
    content: Annotated[str, Field(description="The whole content, written exactly as given.")],
    encoding: Annotated[Literal["utf-8", "base64"], Field(description="base64 for bytes.")] = "utf-8",
    mode: Annotated[
        Literal["overwrite", "create", "append"], Field(description="create fails if the file exists.")
    ] = "overwrite",
    if_match: IfMatch = None,
    executable: Annotated[bool | None, Field(description="Set or clear the execute permission.")] = None,
    in_place: InPlace = False,
    devbox: Devbox = None,
) -> types.CallToolResult:
    """Write a file atomically and make missing parent directories. To change a part of a file, use edit_file."""
    sandbox, parsed = await call.sandboxes.resolve(devbox, path, "write")
    data = decode_base64(content, "write", path) if encoding == "base64" else encode_text(content, "write", path)
    if len(data) > sandbox.limits.write:
        raise TooLarge(
            "write",
            parsed.text,
            f"{len(data)} bytes are more than the {sandbox.limits.write} that one write_file takes",
            hint="write a first part, then the others with mode=append",
        )
    try:
        written = await sandbox.write(
            parsed, data, mode=mode, if_match=if_match, executable=executable, in_place=in_place
        )
    except Exists as error:
        error.hint = "mode=overwrite replaces it, edit_file changes a part of it"
        raise
    outcome = WriteOutcome(
        path=parsed.shown(sandbox.name),
        sha256=written.info.sha256 or "",
        size=written.info.size,
        created=written.created,
        note=broken_links(written),
    )
    verb = "created" if written.created else "appended to" if mode == "append" else "replaced"
    facts = notes([texts.human_size(outcome.size), f"sha256 {outcome.sha256}", outcome.note or ""])
    return answered(f"{verb} {outcome.path} {facts}", outcome)


def broken_links(written: Written) -> str | None:
    """Say that other hard links keep the old content, where they do."""
    if not written.unlinked:
        return None
    links = "1 other hard link keeps" if written.unlinked == 1 else f"{written.unlinked} other hard links keep"
    return f"{links} the old content; in_place=true would have kept them together"


class Replacement(BaseModel):
    """One exact replacement."""

    model_config = ConfigDict(extra="forbid")

    old_text: Annotated[str, Field(description="Exact text, without line numbers; must occur once unless replace_all.")]
    new_text: Annotated[str, Field(description="What stands there afterwards.")]
    replace_all: Annotated[bool, Field(description="Replace every occurrence.")] = False


class EditOutcome(BaseModel):
    """What edit_file answers."""

    path: str
    replacements: int
    diff: str
    dry_run: bool
    sha256: str | None = None
    note: str | None = None


@tool("Edit file", "write", destructive=True, output=EditOutcome)
async def edit_file(
    call: Call,
    path: Path,
    edits: Annotated[
        list[Replacement],
        FailFast(),
        BeforeValidator(json_list),
        Field(description="Made in order, all or none.", min_length=1, max_length=1000),
    ],
    if_match: IfMatch = None,
    dry_run: Annotated[bool, Field(description="Only show the diff.")] = False,
    in_place: InPlace = False,
    devbox: Devbox = None,
) -> types.CallToolResult:
    """Replace exact texts in a file and get the unified diff. Line endings, BOM, mode and owner are kept; a line break
    in old_text matches the file's own kind."""
    sandbox, parsed = await call.sandboxes.resolve(devbox, path, "edit")
    wanted = [Edit(_text(one.old_text, path), _text(one.new_text, path), one.replace_all) for one in edits]
    done = await sandbox.edit(parsed, wanted, if_match=if_match, dry_run=dry_run, in_place=in_place)
    outcome = EditOutcome(
        path=parsed.shown(sandbox.name),
        replacements=done.replacements,
        diff=_shown_diff(done.diff, sandbox),
        dry_run=dry_run,
        sha256=None if done.written is None else done.written.info.sha256,
        note=None if done.written is None else broken_links(done.written),
    )
    facts = notes(
        [
            f"{'would make ' if dry_run else ''}{done.replacements} replacement{'s' if done.replacements != 1 else ''}",
            f"unchanged, sha256 {short(done.previous)}" if dry_run else f"sha256 {short(outcome.sha256)}",
            outcome.note or "",
        ]
    )
    return answered(f"{outcome.diff}\n{facts}", outcome)


def _text(value: str, path: str) -> str:
    encode_text(value, "edit", path)
    return value


def _shown_diff(diff: str, sandbox: Sandbox) -> str:
    """Keep a diff within the text limit."""
    if len(diff) <= sandbox.limits.text:
        return diff
    kept = diff[: sandbox.limits.text].rpartition("\n")[0]
    return f"{kept}\n… {diff.count(chr(10)) - kept.count(chr(10))} more lines of diff"
