"""What the HTTP API tells, made what ``answers`` takes: the inverse of ``backends/told.py``.

Nothing is believed: ValueError, TypeError, KeyError and AttributeError say that it is not what was promised.
"""

from __future__ import annotations

from typing import Any

from devbox_mcp.backends import answers
from devbox_mcp.models import Events, FileInfo, Found, Lines, Matches, Names, Page, Written
from devbox_mcp.paths import SCHEME, SandboxPath, decoded, split_uri

_LAST_MODE = 0o7777


class Shapes:
    """The models in the answers of one devbox, whose ``name`` is in its URIs."""

    def __init__(self, name: str) -> None:
        self._name = name

    def path(self, text: Any) -> SandboxPath:
        """Return a path, which may be a ``devbox://`` URI."""
        return answers.path_of(self._plain(text))

    def info(self, found: Any) -> FileInfo:
        """Return an entry."""
        return answers.info(self._info(found))

    def written(self, found: Any) -> Written:
        """Return what became of a write."""
        return answers.written({**found, "info": self._info(found["info"])})

    def page(self, found: Any) -> Page:
        """Return a page of a listing."""
        entries = [self._info(entry) for entry in _list(found["entries"])]
        return answers.page(
            {"entries": entries, "after": _after(found), "unreadable": self._paths(found["unreadable"])}
        )

    def names(self, above: SandboxPath, found: Any) -> Names:
        """Return a listing by name of the directory ``above``."""
        listed = _list(found["names"])
        # looked at one by one only where there is one
        if any(type(name) is str and name.startswith(SCHEME) for name in listed):
            listed = [self._below(above, name) for name in listed]
        targets = {self._below(above, name): target for name, target in found["targets"].items()}
        for name, target in found.get("targets_encoded", {}).items():
            targets[self._below(above, name)] = decoded(_text(target))
        told = {"names": listed, "targets": targets, "after": _after(found)}
        return answers.names({**told, "unreadable": self._paths(found["unreadable"])})

    def window(self, found: Any, data: bytes) -> Lines:
        """Return a window of lines."""
        return answers.lines({**found, "info": self._info(found["info"])}, data)

    def found(self, found: Any) -> Found:
        """Return what a glob found."""
        entries = [self._info(entry) for entry in _list(found["entries"])]
        return answers.found_entries({**found, "entries": entries, "after": _after(found)})

    def matches(self, found: Any) -> Matches:
        """Return the lines that match."""
        told = [{**match, "path": self._plain(match["path"])} for match in _list(found["matches"])]
        gaps = [{**gap, "path": self._plain(gap["path"])} for gap in _list(found["gaps"])]
        return answers.matches({**found, "matches": told, "gaps": gaps, "after": _after(found)})

    def events(self, found: Any) -> Events:
        """Return changes."""
        told = [
            {**event, "path": self._plain(event["path"]), "source": self._optional(event["source"])}
            for event in _list(found["events"])
        ]
        return answers.events({**found, "events": told})

    def _info(self, found: Any) -> dict[str, Any]:
        fields = dict(found)
        fields["path"] = self._plain(fields["path"])
        fields["mode"] = mode(fields["mode"])
        encoded = fields.pop("target_encoded", None)
        if encoded is not None:
            fields["target"] = decoded(_text(encoded))
        return fields

    def _plain(self, text: Any) -> str:
        """Return a path's own text. Raises ValueError for another devbox's."""
        found = split_uri(_text(text))
        if found is None:
            return _text(text)
        if found[0] != self._name:
            raise ValueError("another devbox")
        return found[1]

    def _optional(self, text: Any) -> str | None:
        return None if text is None else self._plain(text)

    def _paths(self, texts: Any) -> list[str]:
        return [self._plain(text) for text in _list(texts)]

    def _below(self, above: SandboxPath, name: Any) -> str:
        """Return a name below a directory, which is from the root where it is a URI."""
        text = self._plain(name)
        if not name.startswith(SCHEME) or above.is_root:
            return text
        if not text.startswith(above.text + "/"):
            raise ValueError("another directory")
        return text[len(above.text) + 1 :]


def mode(text: Any) -> int:
    """Return permission bits of octal text."""
    found = int(_text(text), 8)
    if not 0 <= found <= _LAST_MODE:
        raise ValueError("permission bits")
    return found


def count(value: Any) -> int:
    """Return a number of things."""
    if type(value) is not int or value < 0:
        raise TypeError("a number")
    return value


def _after(found: Any) -> str | None:
    cursor = found["cursor"]
    return None if cursor is None else decoded(_text(cursor))


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(type(value).__name__)
    return value


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise TypeError(type(value).__name__)
    return value
