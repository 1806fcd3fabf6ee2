"""find_files and search_text."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Annotated, Literal, TypeVar

import mcp_types as types
from pydantic import Field

from devbox_mcp.models import FileInfo, Gap, Match, Matches
from devbox_mcp.sandbox import Sandbox
from devbox_mcp.servers.mcp.registry import Call, tool
from devbox_mcp.servers.mcp.results import notes, shown, text_block
from devbox_mcp.servers.mcp.tools.arguments import Cursor, Devbox, Limit, Path

_GAPS = 5  # files that a result names because they were not searched to their end

_Entry = TypeVar("_Entry", FileInfo, Match)

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
    ask = partial(sandbox.find, parsed, pattern, sort=sort, ignored=include_ignored, after=cursor)
    show = partial(_paths, devbox=sandbox.name)
    found = await ask(limit=limit)
    # asked again for what one result holds: only whoever searched knows how to go on behind it
    while (fitting := _fitting(found.entries, show, sandbox)) < len(found.entries):
        found = await ask(limit=fitting)
    lines = _within(show(found.entries), sandbox)
    if not lines:
        lines.append("(nothing matches)" if not found.timed_out else "(nothing found in the time allowed)")
    count = _counted(len(found.entries), "entry", "entries")
    lines += _onward(count, found.after, found.timed_out, found.unreadable)
    return shown(text_block("\n".join(lines)))


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
    ask = partial(
        sandbox.search,
        parsed,
        pattern,
        glob=glob,
        regex=regex,
        ignore_case=ignore_case,
        context=context,
        ignored=include_ignored,
        after=cursor,
    )
    show = partial(_files, devbox=sandbox.name)
    found = await ask(limit=limit)
    while (fitting := _fitting(found.matches, show, sandbox)) < len(found.matches):
        found = await ask(limit=fitting)
    lines = _within(show(found.matches), sandbox)
    if not lines:
        lines.append(_nothing(found, may_be_ignored=not include_ignored and cursor is None))
    count = _counted(len(found.matches), "match", "matches")
    lines += _onward(count, found.after, found.timed_out, found.unreadable)
    lines += _left_out(found.gaps, sandbox.name)
    return shown(text_block("\n".join(lines)))


def _paths(entries: Sequence[FileInfo], devbox: str) -> list[str]:
    return [info.path.shown(devbox) + ("/" if info.type == "directory" else "") for info in entries]


def _files(matches: Sequence[Match], devbox: str) -> list[str]:
    lines: list[str] = []
    for file, those in groupby(matches, key=lambda match: match.path):
        lines.append(file.shown(devbox))
        lines += _lines(list(those))
    return lines


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


def _nothing(found: Matches, *, may_be_ignored: bool) -> str:
    """Say that there is no match, and which files were not asked."""
    binary = _counted(found.skipped_binary, "binary file") + " passed over" if found.skipped_binary else ""
    if found.files or found.timed_out:
        return f"(no match in {_counted(found.files, 'file')}{binary and ', ' + binary})"
    if not binary and may_be_ignored:
        return "(no file to search; include_ignored=true also searches what .gitignore excludes)"
    return f"(no file to search{binary and ', ' + binary})"


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _onward(count: str, after: str | None, timed_out: bool, unreadable: int) -> list[str]:
    facts = []
    ways = [] if after is None else [f"continue with cursor={after}"]
    if timed_out:
        ways.append("narrow it by path or glob, or use a simpler pattern")
    if ways:
        why = "the time allowed is over" if timed_out else "truncated"
        facts.append(f"{count}, {why}: {'; or '.join(ways)}")
    if unreadable:
        facts.append(f"{_counted(unreadable, 'directory or file', 'directories or files')} passed over: unreadable")
    return [notes([fact]) for fact in facts]


def _left_out(gaps: list[Gap], devbox: str) -> list[str]:
    if not gaps:
        return []
    told = [f"{gap.path.shown(devbox)} {gap.extent}" for gap in gaps[:_GAPS]]
    if len(gaps) > _GAPS:
        told.append(f"parts of {_counted(len(gaps) - _GAPS, 'more file')}")
    slow = any(gap.reason == "slow" for gap in gaps)
    return [notes([f"not searched: {'; '.join(told)}", "use a simpler pattern" if slow else ""])]


def _fitting(found: Sequence[_Entry], show: Callable[[Sequence[_Entry]], list[str]], sandbox: Sandbox) -> int:
    """Return how many of the first ones a result can show; it shows one at least."""
    sizes = range(1, len(found) + 1)
    return max(1, bisect_right(sizes, sandbox.limits.text, key=lambda size: len("\n".join(show(found[:size])))))


def _within(lines: list[str], sandbox: Sandbox) -> list[str]:
    """Keep even a single match with all that is around it within the text limit."""
    text = "\n".join(lines)
    if len(text) <= sandbox.limits.text:
        return lines
    kept = text[: sandbox.limits.text].split("\n")[:-1]
    return [*kept, notes([f"{len(lines) - len(kept)} more lines cut: ask for less context"])]
