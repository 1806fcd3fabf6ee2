"""find_files and search_text."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated, Literal

import mcp_types as types
from pydantic import Field

from devbox_mcp.models import Gap, Match
from devbox_mcp.sandbox import Sandbox
from devbox_mcp.servers.mcp.registry import Call, tool
from devbox_mcp.servers.mcp.results import notes, shown, text_block
from devbox_mcp.servers.mcp.tools.arguments import Cursor, Devbox, Limit, Path, decode_cursor, encode_cursor

_GAPS = 5  # files that a result names because they were not searched to their end

Ignored = Annotated[bool, Field(description="Also what .gitignore excludes, and .git itself.")]


@tool("Find files", "search", reads_only=True)
async def find_files(
    call: Call,
    pattern: Annotated[
        str, Field(description="Glob: `*.py` finds names at any depth, `src/**/*.{js,ts}` paths below `path`.")
    ],
    path: Path = ".",
    sort: Annotated[Literal["name", "newest"], Field(description="newest: last modified first.")] = "name",
    include_ignored: Ignored = False,
    limit: Limit = None,
    cursor: Cursor = None,
    devbox: Devbox = None,
) -> types.CallToolResult:
    """Find files and directories by name, as paths from the root. Skips what .gitignore excludes."""
    sandbox, parsed = await call.sandboxes.resolve(devbox, path, "find")
    after = None if cursor is None else decode_cursor(cursor, "find", parsed.text)
    found = await sandbox.find(parsed, pattern, sort=sort, ignored=include_ignored, limit=limit, after=after)
    lines = [info.path.shown(sandbox.name) + ("/" if info.type == "directory" else "") for info in found.entries]
    if not lines:
        lines.append("(nothing matches)" if not found.timed_out else "(nothing found in the time allowed)")
    lines += _onward(len(found.entries), "entries", found.after, found.timed_out, found.unreadable)
    return shown(text_block(_within(lines, sandbox)))


@tool("Search text", "search", reads_only=True)
async def search_text(
    call: Call,
    pattern: Annotated[str, Field(description="A Python regular expression, matched line by line.")],
    path: Path = ".",
    glob: Annotated[str | None, Field(description="Only files that match, such as `*.py`.")] = None,
    regex: Annotated[bool, Field(description="false: search for the exact text.")] = True,
    ignore_case: bool = False,
    context: Annotated[int, Field(description="Lines to show before and after each match.", ge=0, le=20)] = 0,
    include_ignored: Ignored = False,
    limit: Limit = None,
    cursor: Cursor = None,
    devbox: Devbox = None,
) -> types.CallToolResult:
    """Search the lines of text files. Matches are grouped by file as `number: text`, context as `number- text`.
    Skips binary files and what .gitignore excludes."""
    sandbox, parsed = await call.sandboxes.resolve(devbox, path, "search")
    after = None if cursor is None else decode_cursor(cursor, "search", parsed.text)
    found = await sandbox.search(
        parsed,
        pattern,
        glob=glob,
        regex=regex,
        ignore_case=ignore_case,
        context=context,
        ignored=include_ignored,
        limit=limit,
        after=after,
    )
    lines: list[str] = []
    for file, matches in groupby(found.matches, key=lambda match: match.path):
        lines.append(file.shown(sandbox.name))
        lines += _lines(list(matches))
    if not lines:
        lines.append(f"(no match in {found.files} files)")
    lines += _onward(len(found.matches), "matches", found.after, found.timed_out, found.unreadable)
    lines += _left_out(found.gaps, sandbox.name)
    return shown(text_block(_within(lines, sandbox)))


def _lines(matches: list[Match]) -> list[str]:
    """Render a file's matches; context that two of them share is shown once."""
    context: dict[int, str] = {}
    hits: dict[int, str] = {}
    for match in matches:
        hits[match.line] = match.text
        for distance, text in enumerate(reversed(match.before), 1):
            context[match.line - distance] = text
        for distance, text in enumerate(match.after, 1):
            context[match.line + distance] = text
    rendered = []
    previous = None
    for number in sorted(context.keys() | hits.keys()):
        if context and previous is not None and number > previous + 1:
            rendered.append("  --")
        rendered.append(f"  {number}: {hits[number]}" if number in hits else f"  {number}- {context[number]}")
        previous = number
    return rendered


def _onward(count: int, what: str, after: str | None, timed_out: bool, unreadable: int) -> list[str]:
    facts = []
    ways = [] if after is None else [f"continue with cursor={encode_cursor(after)}"]
    if timed_out:
        ways.append("narrow it by path or glob, or use a simpler pattern")
    if ways:
        why = "the time allowed is over" if timed_out else "truncated"
        facts.append(f"{count} {what}, {why}: {'; or '.join(ways)}")
    if unreadable:
        facts.append(f"{unreadable} unreadable directories or files passed over")
    return [notes([fact]) for fact in facts]


def _left_out(gaps: list[Gap], devbox: str) -> list[str]:
    if not gaps:
        return []
    told = [f"{gap.path.shown(devbox)} {gap.extent}" for gap in gaps[:_GAPS]]
    if len(gaps) > _GAPS:
        told.append(f"parts of {len(gaps) - _GAPS} more files")
    slow = any(gap.reason == "slow" for gap in gaps)
    return [notes([f"not searched: {'; '.join(told)}", "use a simpler pattern" if slow else ""])]


def _within(lines: list[str], sandbox: Sandbox) -> str:
    """Keep a result within the text limit; where lines go, so does the cursor behind them."""
    text = "\n".join(lines)
    if len(text) <= sandbox.limits.text:
        return text
    kept = text[: sandbox.limits.text].rpartition("\n")[0]
    left = len(lines) - kept.count("\n") - 1
    return f"{kept}\n" + notes([f"{left} more lines cut: ask for a smaller limit or less context"])
