"""read_file, list_dir, stat."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Literal, NamedTuple

import mcp_types as types
from pydantic import BaseModel, Field

from devbox_mcp import text as texts
from devbox_mcp.errors import DevboxError, InvalidArgument, TooLarge, Unsupported, printable
from devbox_mcp.models import FileInfo, Lines, Names
from devbox_mcp.paths import SandboxPath, parse
from devbox_mcp.sandbox import Sandbox
from devbox_mcp.servers.mcp.registry import Call, tool
from devbox_mcp.servers.mcp.resources import link
from devbox_mcp.servers.mcp.results import answered, blob, notes, short, shown, text_block, when
from devbox_mcp.servers.mcp.tools.arguments import Cursor, Devbox, Limit, Path, decode_cursor, encode_cursor

_HASHED_BY_STAT = 64 * 1024 * 1024
#: A directory's name ends in a slash, a link's in its target.
_TOLD_BY_NAME = frozenset({"file", "directory", "symlink"})
_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


@tool("Read file", "read", reads_only=True)
async def read_file(
    call: Call,
    path: Path,
    offset: Annotated[
        int | None,
        Field(
            description="First line, from 1; negative counts from the end. With encoding=base64: first byte, from 0."
        ),
    ] = None,
    limit: Annotated[int | None, Field(description="Most lines; with encoding=base64, bytes.")] = None,
    encoding: Annotated[
        Literal["auto", "utf-8", "base64"],
        Field(description="auto shows text, images, and other bytes embedded; base64 shows any bytes as text."),
    ] = "auto",
    line_numbers: Annotated[
        bool | None, Field(description="Number the lines (default); false gives the bare text.")
    ] = None,
    devbox: Devbox = None,
) -> types.CallToolResult:
    """Read a file: whole if it is small, otherwise a range of lines and how to go on.

    Lines are shown as `number<TAB>text`; the text is verbatim, so it can be pasted into edit_file. The last line of
    the result tells size, sha256 (for if_match), and whether there is more.
    """
    sandbox, parsed = await call.sandboxes.resolve(devbox, path, "read")
    if encoding == "base64":
        return await _read_bytes(sandbox, parsed, offset or 0, limit)
    lines = await sandbox.read_lines(parsed, first=1 if offset is None else offset, count=limit)
    decoded = None if lines.binary else texts.decode(lines.data)
    if decoded is None:
        if encoding == "utf-8":
            raise Unsupported("read", parsed.text, "this is not UTF-8 text", hint="read it with encoding=base64")
        return await _embed(call, sandbox, parsed, lines.info)
    numbered = call.settings.line_numbers if line_numbers is None else line_numbers
    body = texts.number(decoded, lines.first) if numbered else decoded
    facts = _facts(parsed, lines)
    return shown(text_block(body), text_block(facts)) if body else shown(text_block(facts))


def _facts(path: SandboxPath, lines: Lines) -> str:
    total = "" if lines.total is None else f" of {lines.total}"
    last = lines.first + lines.count - 1
    if lines.count == 0:
        span = (
            "empty file"
            if lines.info.size == 0
            else f"no lines from {lines.first} on{total and f'; there are {lines.total}'}"
        )
    elif lines.more or lines.first > 1:
        span = f"lines {lines.first}-{last}{total}"
    else:
        span = f"{lines.count} line{'s' if lines.count != 1 else ''}"
    onward = ""
    if lines.cut:
        rest = f"offset={len(lines.data)}" if lines.first == 1 else "a byte offset"
        onward = f"line {last} is longer than one result: read the rest with encoding=base64 and {rest}"
        if lines.more:
            onward += f"; the next line is offset={last + 1}"
    elif lines.more:
        onward = f"truncated: continue with offset={last + 1}"
    return notes(
        [
            span,
            texts.human_size(lines.info.size),
            texts.mime_type(path.name, lines.data[:512]),
            f"sha256 {short(lines.info.sha256)}" if lines.info.sha256 else "",
            onward,
        ]
    )


async def _read_bytes(sandbox: Sandbox, path: SandboxPath, offset: int, limit: int | None) -> types.CallToolResult:
    most = sandbox.limits.inline
    if limit is not None and limit < 1:
        raise InvalidArgument("read", path.text, f"limit is {limit}, but a number of bytes is at least 1")
    if limit is not None and limit > most:
        raise TooLarge(
            "read", path.text, f"{limit} bytes are over the {most} that one result holds", hint="read it in pieces"
        )
    content = await sandbox.read_bytes(path, offset=offset, length=most if limit is None else limit)
    data = await content.read()
    end = content.offset + len(data)
    facts = notes(
        [
            f"base64 of bytes {content.offset}-{end - 1}" if data else f"no bytes from {offset} on",
            f"of {content.info.size}",
            f"truncated: continue with offset={end}" if end < content.info.size else "",
        ]
    )
    return shown(text_block(base64.b64encode(data).decode("ascii")), text_block(facts))


async def _embed(call: Call, sandbox: Sandbox, path: SandboxPath, info: FileInfo) -> types.CallToolResult:
    """Show bytes that are no text: images as such, small ones embedded, big ones by a link."""
    size = texts.human_size(info.size)
    if info.size > sandbox.limits.inline:
        head = await (await sandbox.read_bytes(path, length=512)).read()
        mime_type = texts.mime_type(path.name, head)
        facts = notes(
            [
                mime_type,
                size,
                (
                    f"too large to embed: read the link in pieces of {sandbox.limits.inline} bytes, "
                    "or read_file with encoding=base64, offset and limit"
                ),
                _past_the_model(call),
            ]
        )
        return shown(link(sandbox, path, mime_type, info.size), text_block(facts))
    data = await (await sandbox.read_bytes(path, length=sandbox.limits.inline)).read()
    mime_type = texts.mime_type(path.name, data[:512])
    described = text_block(notes([mime_type, size, f"sha256 {short(info.sha256)}" if info.sha256 else ""]))
    if mime_type in _IMAGES:
        encoded = base64.b64encode(data).decode("ascii")
        return shown(types.ImageContent(data=encoded, mime_type=mime_type), described)
    return shown(blob(path.uri(sandbox.name), mime_type, data), described)


def _past_the_model(call: Call) -> str:
    lends = call.signer is not None and "transfer" in call.settings.published
    return "signed_url makes a URL that fetches it whole" if lends else ""


class Details(BaseModel):
    """An entry of a listing with details; ``size`` in bytes."""

    path: str
    type: str
    size: int
    modified: str
    mode: str


class Listing(BaseModel):
    """What list_dir answers."""

    path: str
    entries: list[str] = Field(description="Paths below path; directories end in /, links read name -> target.")
    details: list[Details] | None = None
    truncated: bool
    next_cursor: str | None = None
    unreadable: list[str] | None = None


@tool("List directory", "read", reads_only=True, output=Listing)
async def list_dir(
    call: Call,
    path: Path = ".",
    depth: Annotated[int, Field(description="Levels to descend; 1 is the directory alone.")] = 1,
    glob: Annotated[str | None, Field(description="Only entries whose path below `path` matches.")] = None,
    details: Annotated[bool, Field(description="Also size in bytes, time and mode of every entry.")] = False,
    limit: Limit = None,
    cursor: Cursor = None,
    devbox: Devbox = None,
) -> types.CallToolResult:
    """List a directory, hidden entries too. Directories end in `/`, links show `-> target`."""
    sandbox, parsed = await call.sandboxes.resolve(devbox, path, "list")
    resume = None if cursor is None else _resumed(cursor, parsed)
    if details:
        found = await _with_details(sandbox, parsed, depth, glob, limit, resume)
    else:
        page = await sandbox.names(parsed, depth=depth, glob=glob, limit=limit, after=resume)
        found = _Found(page.names, _shown(sandbox, parsed, page), None, page.after is not None, page.unreadable)
    lines = found.entries
    if found.rows is not None:
        lines = [_line(row) for row in found.rows]
    fitting = _fitting(lines, sandbox.limits.text)
    truncated = found.more or fitting < len(lines)
    listing = Listing(
        path=parsed.shown(sandbox.name),
        entries=found.entries[:fitting],
        details=None if found.rows is None else found.rows[:fitting],
        truncated=truncated,
        next_cursor=_cursor(parsed, found.names[fitting - 1].rstrip("/")) if truncated else None,
        unreadable=[one.shown(sandbox.name) for one in found.unreadable] or None,
    )
    lines = lines[:fitting] or ["(no entries)" if glob is None else "(no entry matches)"]
    if truncated:
        lines.append(notes([f"{fitting} entries, truncated: continue with cursor={listing.next_cursor}"]))
    if listing.unreadable:
        lines.append(notes([f"could not look into {', '.join(listing.unreadable)}"]))
    return answered("\n".join(lines), listing)


def _cursor(path: SandboxPath, name: str) -> str:
    """Return the cursor that goes on behind a name below a directory."""
    return encode_cursor(f"{path.text}\0{name}")


def _resumed(cursor: str, path: SandboxPath) -> str:
    """Return the name that a cursor goes on behind. Raises InvalidArgument for what is no cursor of this listing."""
    directory, _, name = decode_cursor(cursor, "list", path.text).partition("\0")
    if directory == path.text:
        with suppress(DevboxError):
            return parse(name, "list").text
    raise InvalidArgument(
        "list", path.text, "this is no cursor of this listing", hint="start again without a cursor, or with its path"
    )


def _line(row: Details) -> str:
    kind = "" if row.type in _TOLD_BY_NAME else f"\t{row.type}"
    return f"{row.path}\t{row.size}\t{row.modified}\t{row.mode}{kind}"


class _Found(NamedTuple):
    """A page: names below the listed directory, as they are and as they are shown, and rows if details are asked."""

    names: list[str]
    entries: list[str]
    rows: list[Details] | None
    more: bool
    unreadable: list[SandboxPath]


async def _with_details(
    sandbox: Sandbox, parsed: SandboxPath, depth: int, glob: str | None, limit: int | None, resume: str | None
) -> _Found:
    after = None if resume is None else parsed.child(resume)
    page = await sandbox.list(parsed, depth=depth, glob=glob, limit=limit, after=after, details=True)
    names = [info.path.below(parsed) + ("/" if info.type == "directory" else "") for info in page.entries]
    targets = {name: info.target for name, info in zip(names, page.entries, strict=True) if info.target is not None}
    entries = _shown(sandbox, parsed, Names(names, targets))
    rows = [
        Details(path=name, type=info.type, size=info.size, modified=when(info.modified), mode=f"{info.mode:04o}")
        for name, info in zip(entries, page.entries, strict=True)
    ]
    return _Found(names, entries, rows, page.after is not None, page.unreadable)


def _shown(sandbox: Sandbox, parsed: SandboxPath, found: Names) -> list[str]:
    """Return names as results show them: one line each, links with where they lead."""
    if not found.targets and "".join(found.names).isprintable():
        return found.names
    return [_entry(sandbox, parsed, name, found.targets.get(name)) for name in found.names]


def _entry(sandbox: Sandbox, parsed: SandboxPath, name: str, target: str | None) -> str:
    shown = name if name.isprintable() else parsed.child(name.rstrip("/")).uri(sandbox.name) + "/" * name.endswith("/")
    return shown if target is None else f"{shown} -> {printable(target)}"


def _fitting(lines: Sequence[str], most: int) -> int:
    """Return how many lines fit into a text, one at least."""
    if len("\n".join(lines)) <= most:
        return len(lines)
    size = 0
    for count, line in enumerate(lines):
        size += len(line) + 1
        if size > most and count:
            return count
    return len(lines)


class Status(BaseModel):
    """What stat answers."""

    path: str
    type: str
    size: int
    modified: str
    mode: str
    mime_type: str | None = None
    sha256: str | None = None
    target: str | None = None
    hard_links: int | None = None
    root: str | None = None
    uri: str | None = None


@tool("File information", "read", reads_only=True, output=Status)
async def stat(call: Call, path: Path = ".", devbox: Devbox = None) -> types.CallToolResult:
    """Describe a file, directory or link: type, size in bytes, time, mode, sha256 of files up to 64 MiB, link target.

    For `.` it also tells the root's absolute path, to use with a shell in the same place.
    """
    sandbox, parsed = await call.sandboxes.resolve(devbox, path, "stat")
    info = await sandbox.stat(parsed)
    if info.type == "file" and info.size <= _HASHED_BY_STAT:
        info = await sandbox.stat(parsed, sha256=True)
    status = Status(
        path=parsed.shown(sandbox.name),
        type=info.type,
        size=info.size,
        modified=when(info.modified),
        mode=f"{info.mode:04o}",
        mime_type=texts.mime_type(parsed.name, b"") if info.type == "file" else None,
        sha256=info.sha256,
        target=None if info.target is None else printable(info.target),
        hard_links=info.links if info.type == "file" and info.links > 1 else None,
        root=printable(sandbox.root) if parsed.is_root else None,
        uri=parsed.uri(sandbox.name),
    )
    return answered(
        "\n".join(f"{name}: {value}" for name, value in status.model_dump(exclude_none=True).items()), status
    )
