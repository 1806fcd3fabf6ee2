"""The guest's answers, plain JSON, as models; and its errors as the project's.

What a guest in a container says is not to be trusted, so everything is looked at: ValueError, TypeError and KeyError
say that it is not what was promised.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, get_args

from devbox_mcp.errors import DevboxError, from_code
from devbox_mcp.guest.errors import GuestError
from devbox_mcp.models import (
    BatchItem,
    BatchOutcome,
    Event,
    Events,
    EventType,
    FileInfo,
    FileType,
    Found,
    Gap,
    GapReason,
    Lines,
    Match,
    Matches,
    Names,
    Page,
    Written,
)
from devbox_mcp.paths import SandboxPath

_OPTIONAL_TEXT: frozenset[type] = frozenset({str, type(None)})
_TEXT = frozenset({str})
_NUMBER = frozenset({int})
_OPTIONAL_NUMBER: frozenset[type] = frozenset({int, type(None)})
_FLAG = frozenset({bool})
_INFO = {
    "type": _TEXT,
    "size": _NUMBER,
    "mode": _NUMBER,
    "modified": frozenset({float, int}),
    "links": _NUMBER,
    "revision": _TEXT,
    "target": _OPTIONAL_TEXT,
    "sha256": _OPTIONAL_TEXT,
}
#: Of a file of a batch.
_ROWS = [(int, int, float, int, str, str, bool, previous, int) for previous in (type(None), str)]
_FILE_TYPES = frozenset(get_args(FileType))
_EVENT_TYPES = frozenset(get_args(EventType))
_GAP_REASONS = frozenset(get_args(GapReason))
#: Parts that no path beneath a root has: none at all, dots, a NUL.
_ODD = re.compile(r"(?:\A|/)\.{0,2}(?:/|\Z)|\0")
#: The same of names between NULs, which may end in a slash.
_ODD_BETWEEN_NULS = [
    "\0\0", "//", "\0/", *(before + dots + behind for before in "\0/" for dots in (".", "..") for behind in "\0/")
]  # fmt: skip
_RESERVED = frozenset({"self", "op", "path", "detail", "hint"})


def path_of(text: Any) -> SandboxPath:
    """Return a path as the guest names it."""
    if type(text) is not str or (_ODD.search(text) and text != "."):
        raise ValueError("a path beneath the root")
    return SandboxPath(text)


def paths_of(texts: Any) -> list[SandboxPath]:
    """Return several."""
    return [path_of(text) for text in _list(texts)]


def info(found: Any) -> FileInfo:
    """Return an entry as ``describe`` tells it."""
    fields = dict(found)
    path = path_of(fields.pop("path"))
    for name, value in fields.items():
        if type(value) not in _INFO[name]:
            raise TypeError(name)
    if fields["type"] not in _FILE_TYPES:
        raise ValueError("a type of entry")
    return FileInfo(path, **fields)


def written(found: Any) -> Written:
    """Return what became of a write."""
    return Written(
        info(found["info"]),
        _one(found["created"], _FLAG),
        _one(found["previous"], _OPTIONAL_TEXT),
        _one(found["unlinked"], _NUMBER),
    )


def page(found: Any) -> Page:
    """Return a page of a listing."""
    after = found["after"]
    return Page(
        [info(entry) for entry in _list(found["entries"])],
        None if after is None else path_of(after),
        paths_of(found["unreadable"]),
    )


def names(found: Any) -> Names:
    """Return a listing by name."""
    listed = _list(found["names"])
    # all at once, between NULs: a look at each of a thousand names would take longer than listing them
    together = "\0".join(["", *listed, ""])
    if listed and (together.count("\0") != len(listed) + 1 or any(odd in together for odd in _ODD_BETWEEN_NULS)):
        raise ValueError("a name beneath the root")
    for name, target in found["targets"].items():
        path_of(name)
        _one(target, _TEXT)
    return Names(found["names"], found["targets"], _one(found["after"], _OPTIONAL_TEXT), paths_of(found["unreadable"]))


def lines(found: Any, data: bytes) -> Lines:
    """Return a window of lines."""
    return Lines(
        info(found["info"]),
        data,
        _one(found["first"], _NUMBER),
        _one(found["count"], _NUMBER),
        _one(found["total"], _OPTIONAL_NUMBER),
        *(_one(found[name], _FLAG) for name in ("more", "cut", "binary")),
    )


def found_entries(found: Any) -> Found:
    """Return what a glob found."""
    return Found(
        [info(entry) for entry in _list(found["entries"])],
        _one(found["after"], _OPTIONAL_TEXT),
        _one(found["timed_out"], _FLAG),
        _one(found["unreadable"], _NUMBER),
    )


def matches(found: Any) -> Matches:
    """Return the lines that match."""
    return Matches(
        [
            Match(
                path_of(match["path"]),
                _one(match["line"], _NUMBER),
                _one(match["text"], _TEXT),
                _texts(match["before"]),
                _texts(match["after"]),
            )
            for match in _list(found["matches"])
        ],
        _one(found["files"], _NUMBER),
        _one(found["after"], _OPTIONAL_TEXT),
        _one(found["timed_out"], _FLAG),
        _one(found["skipped_binary"], _NUMBER),
        _one(found["unreadable"], _NUMBER),
        [_gap(gap) for gap in _list(found["gaps"])],
    )


def _gap(found: Any) -> Gap:
    if found["reason"] not in _GAP_REASONS:
        raise ValueError("a reason of a gap")
    return Gap(path_of(found["path"]), _one(found["line"], _NUMBER), found["reason"])


def events(found: Any) -> Events:
    """Return changes."""
    return Events(
        [_event(event) for event in _list(found["events"])],
        _one(found["cursor"], _TEXT),
        _one(found["resync"], _FLAG),
        _one(found["more"], _FLAG),
    )


def _event(found: Any) -> Event:
    if found["type"] not in _EVENT_TYPES:
        raise ValueError("a type of change")
    source = found["source"]
    return Event(
        found["type"],
        path_of(found["path"]),
        _one(found["directory"], _FLAG),
        None if source is None else path_of(source),
    )


def outcomes(items: Sequence[BatchItem], found: Sequence[dict[str, Any]]) -> list[BatchOutcome]:
    """Return what became of each file of a batch, as the guest tells it in process."""
    return [
        BatchOutcome(
            item.path,
            None if outcome["written"] is None else written(outcome["written"]),
            None if outcome["error"] is None else error("write", outcome["error"]),
        )
        for item, outcome in zip(items, found, strict=True)
    ]


def rows(items: Sequence[BatchItem], found: Any) -> list[BatchOutcome]:
    """Return the same from what a guest elsewhere sends: for each file a row, or the fields of an error."""
    return [
        _outcome_of_row(item.path, row) if type(row) is list else BatchOutcome(item.path, None, error_of("write", row))
        for item, row in zip(items, _list(found), strict=True)
    ]


def _outcome_of_row(path: SandboxPath, row: list[Any]) -> BatchOutcome:
    if tuple(map(type, row)) not in _ROWS:
        raise TypeError("a row")
    size, mode, modified, links, revision, sha256, created, previous, unlinked = row
    info = FileInfo(path, "file", size, mode, modified, links, revision, sha256=sha256)
    return BatchOutcome(path, Written(info, created, previous, unlinked))


def error(op: str, failed: GuestError) -> DevboxError:
    """Return the guest's error as the project's."""
    return from_code(failed.code, op, failed.path, failed.detail, failed.hint, failed.data)


def error_of(op: str, found: Any) -> DevboxError:
    """Return an error from its fields."""
    texts = [_one(found[name], _TEXT) for name in ("code", "path", "detail", "hint")]
    data = {key: value for key, value in found["data"].items() if key not in _RESERVED}
    code, path, detail, hint = texts
    return from_code(code, op, path, detail, hint, data)


def _one(value: Any, kinds: frozenset[type]) -> Any:
    if type(value) not in kinds:
        raise TypeError(type(value).__name__)
    return value


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise TypeError(type(value).__name__)
    return value


def _texts(value: Any) -> list[str]:
    return [_one(text, _TEXT) for text in _list(value)]
