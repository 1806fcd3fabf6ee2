"""Models as plain JSON, as the HTTP API tells them: the inverse of ``answers``.

Three things do not go through JSON as they are. A path that is not one line of UTF-8 text is its ``devbox://`` URI; a
link's target that is not UTF-8 has its bytes beside it, percent-encoded, as ``target_encoded``; and a cursor is
percent-encoded text. ``mode`` is octal text, for people.
"""

from __future__ import annotations

import os
from typing import NotRequired
from urllib.parse import quote_from_bytes

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict  # pydantic takes no other before Python 3.12

from devbox_mcp.models import (
    Event,
    Events,
    EventType,
    FileInfo,
    FileType,
    Found,
    GapReason,
    Lines,
    Match,
    Matches,
    Names,
    Page,
    Written,
)
from devbox_mcp.paths import SandboxPath

#: What is written below a field is its description in the schema.
_documented = with_config(ConfigDict(use_attribute_docstrings=True))


@_documented
class InfoJson(TypedDict):
    """One entry of a devbox."""

    path: str
    """relative to the root, or a ``devbox://`` URI where it is not one line of UTF-8 text"""
    type: FileType
    size: int
    """bytes"""
    mode: str
    """permission bits, octal: ``0644``"""
    modified: float
    """seconds since 1970"""
    links: int
    """hard links"""
    revision: str
    """changes with the file's times and identity: for caches, never for If-Match; empty where it was not asked for"""
    target: str | None
    """where a symbolic link leads, as written in it"""
    target_encoded: NotRequired[str]
    """the same percent-encoded, where it is not UTF-8"""
    sha256: str | None
    """of the content, in hex, where it is known"""


@_documented
class WrittenJson(TypedDict):
    """A file after a write."""

    info: InfoJson
    created: bool
    """whether it is new"""
    previous: str | None
    """the sha256 that it had, where that was computed"""
    unlinked: int
    """other hard links that keep the old content"""


@_documented
class PageJson(TypedDict):
    """Entries in the order of their names' bytes."""

    entries: list[InfoJson]
    cursor: str | None
    """goes on behind them; null at the end"""
    unreadable: list[str]
    """directories that could not be looked into"""


@_documented
class NamesJson(TypedDict):
    """A listing by name."""

    names: list[str]
    """paths below the directory, directories with a slash at their end; ``devbox://`` URIs where they are not one
    line of UTF-8 text"""
    targets: dict[str, str]
    """where links lead, by name"""
    targets_encoded: NotRequired[dict[str, str]]
    """those that are not UTF-8, percent-encoded"""
    cursor: str | None
    unreadable: list[str]


@_documented
class WindowJson(TypedDict):
    """What is told of a window of lines."""

    info: InfoJson
    first: int
    """number of the first line, from 1"""
    count: int
    """lines in this window"""
    total: int | None
    """lines of the file, null while unknown"""
    more: bool
    cut: bool
    """the last line was cut, because it alone is over the limit"""
    binary: bool
    """a NUL byte was seen, and no line is shown"""


@_documented
class RootJson(TypedDict):
    """The place of an absolute path."""

    path: str | None
    """null where it is outside the root"""


@_documented
class CreatedJson(TypedDict):
    """Whether a directory is new."""

    created: bool


@_documented
class DeletedJson(TypedDict):
    """How many entries went."""

    deleted: int


@_documented
class ChangedJson(TypedDict):
    """How many entries got other permission bits."""

    changed: int


@_documented
class EditedJson(TypedDict):
    """What an edit did, or would do."""

    path: str
    diff: str
    """in unified form"""
    replacements: int
    previous: str
    """the sha256 of what was edited"""
    written: WrittenJson | None
    """null for a dry run"""


@_documented
class FoundJson(TypedDict):
    """Entries that match a glob."""

    entries: list[InfoJson]
    cursor: str | None
    timed_out: bool
    unreadable: int


@_documented
class MatchJson(TypedDict):
    """One line that matches."""

    path: str
    line: int
    text: str
    before: list[str]
    after: list[str]


@_documented
class GapJson(TypedDict):
    """What was left out of a file: its first gap, or where the search of it ended."""

    path: str
    line: int
    reason: GapReason
    """``long``: only the first 1 MiB of the line was searched; ``slow``: this line, which takes too long, and all
    behind it was not"""


@_documented
class MatchesJson(TypedDict):
    """Lines that match, in the order of paths and lines."""

    matches: list[MatchJson]
    files: int
    """files that were looked into"""
    cursor: str | None
    timed_out: bool
    skipped_binary: int
    unreadable: int
    gaps: list[GapJson]


@_documented
class EventJson(TypedDict):
    """One change."""

    type: EventType
    path: str
    directory: bool
    source: str | None
    """the old name of what moved"""


@_documented
class EventsJson(TypedDict):
    """Changes since a cursor."""

    events: list[EventJson]
    cursor: str
    """goes on behind them"""
    resync: bool
    """some were lost: list again"""
    more: bool
    """there are more at once"""


def encoded(text: str) -> str:
    """Return text, of whatever bytes, percent-encoded; ``paths.decoded`` undoes it."""
    return quote_from_bytes(os.fsencode(text), safe="/~!$&'()*+,;=:@")


def _cursor(after: str | None) -> str | None:
    return None if after is None else encoded(after)


def _clean(text: str) -> str:
    """Return text fit for JSON: undecodable bytes become the replacement character."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _shown(devbox: str, paths: list[SandboxPath]) -> list[str]:
    return [path.shown(devbox) for path in paths]


def info(devbox: str, found: FileInfo) -> InfoJson:
    """Tell an entry."""
    told: InfoJson = {
        "path": found.path.shown(devbox),
        "type": found.type,
        "size": found.size,
        "mode": f"{found.mode:04o}",
        "modified": found.modified,
        "links": found.links,
        "revision": found.revision,
        "target": None,
        "sha256": found.sha256,
    }
    if found.target is not None:
        told["target"] = _clean(found.target)
        if told["target"] != found.target:
            told["target_encoded"] = encoded(found.target)
    return told


def written(devbox: str, done: Written) -> WrittenJson:
    """Tell what became of a write."""
    return {
        "info": info(devbox, done.info),
        "created": done.created,
        "previous": done.previous,
        "unlinked": done.unlinked,
    }


def page(devbox: str, found: Page) -> PageJson:
    """Tell a page of a listing."""
    return {
        "entries": [info(devbox, entry) for entry in found.entries],
        "cursor": None if found.after is None else encoded(found.after.text),
        "unreadable": _shown(devbox, found.unreadable),
    }


def names(devbox: str, above: SandboxPath, found: Names) -> NamesJson:
    """Tell a listing by name of the directory ``above``."""

    def shown(name: str) -> str:
        return name if name.isprintable() else above.child(name).uri(devbox)

    told: NamesJson = {
        # most are plain, and one look at all of them says so
        "names": found.names if "".join(found.names).isprintable() else [shown(name) for name in found.names],
        "targets": {shown(name): _clean(target) for name, target in found.targets.items()},
        "cursor": _cursor(found.after),
        "unreadable": _shown(devbox, found.unreadable),
    }
    odd = {shown(name): encoded(target) for name, target in found.targets.items() if _clean(target) != target}
    if odd:
        told["targets_encoded"] = odd
    return told


def window(devbox: str, lines: Lines) -> WindowJson:
    """Tell all of a window of lines but the lines."""
    return {
        "info": info(devbox, lines.info),
        "first": lines.first,
        "count": lines.count,
        "total": lines.total,
        "more": lines.more,
        "cut": lines.cut,
        "binary": lines.binary,
    }


def found_entries(devbox: str, found: Found) -> FoundJson:
    """Tell what a glob found."""
    return {
        "entries": [info(devbox, entry) for entry in found.entries],
        "cursor": _cursor(found.after),
        "timed_out": found.timed_out,
        "unreadable": found.unreadable,
    }


def matches(devbox: str, found: Matches) -> MatchesJson:
    """Tell the lines that match."""
    return {
        "matches": [_match(devbox, match) for match in found.matches],
        "files": found.files,
        "cursor": _cursor(found.after),
        "timed_out": found.timed_out,
        "skipped_binary": found.skipped_binary,
        "unreadable": found.unreadable,
        "gaps": [{"path": gap.path.shown(devbox), "line": gap.line, "reason": gap.reason} for gap in found.gaps],
    }


def _match(devbox: str, match: Match) -> MatchJson:
    return {
        "path": match.path.shown(devbox),
        "line": match.line,
        "text": _clean(match.text),
        "before": [_clean(line) for line in match.before],
        "after": [_clean(line) for line in match.after],
    }


def events(devbox: str, found: Events) -> EventsJson:
    """Tell changes."""
    return {
        "events": [event(devbox, change) for change in found.events],
        "cursor": found.cursor,
        "resync": found.resync,
        "more": found.more,
    }


def event(devbox: str, change: Event) -> EventJson:
    """Tell one change."""
    return {
        "type": change.type,
        "path": change.path.shown(devbox),
        "directory": change.directory,
        "source": None if change.source is None else change.source.shown(devbox),
    }
