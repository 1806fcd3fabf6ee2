"""``DEVBOX:PATH`` as people write it, taken apart without asking anybody. No I/O.

The first colon behind the DEVBOX ends it. What comes before it in a URL is no end: the scheme's own, a port's, and in
``exec:`` with ``?root=`` whatever is in the command; a colon in a URL is written ``%3A``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_URL = re.compile(
    r"(?P<devbox>[a-z][a-z0-9+-]*://(?:\[[0-9A-Fa-f:.]*\]|[^/?#:\[]*)(?::[0-9]+(?=[/?#:]|\Z))?[^:]*)(?::(?P<path>.*))?",
    re.DOTALL,
)
_CREDENTIALS = re.compile(r"[a-z][a-z0-9+-]*://[^/?#]*@")
_PREFIXED = re.compile(r"(?P<devbox>(?:k8s|local):[^:]*)(?::(?P<path>.*))?", re.DOTALL)
_EXEC, _ROOT = "exec:", "?root="
#: Stdin as a source, stdout as a destination.
STDIO = "-"


@dataclass(frozen=True, slots=True)
class Location:
    """``path`` in a ``devbox``, or with None a path of this machine. ``text`` is what was written."""

    text: str
    devbox: str | None
    path: str

    @property
    def is_stdout(self) -> bool:
        """Whether stdout is meant, of a destination."""
        return self.devbox is None and self.path == STDIO

    @property
    def says_directory(self) -> bool:
        """Whether it is written as only a directory can be: with a slash at its end, or as ``.``."""
        return self.path.rpartition("/")[2] in ("", ".", "..")

    @property
    def says_contents(self) -> bool:
        """Whether what is in a directory is meant, rather than the directory by its name: ``.`` and ``dir/.``."""
        return self.path.rstrip("/") == "" or self.path.rstrip("/").rpartition("/")[2] == "."


def parse(text: str, *, same_as: str | None = None) -> Location:
    """Parse ``DEVBOX:PATH``, a URL alone (its root), or a path of this machine, which has no colon. ``:PATH`` is in the
    devbox ``same_as``. Raises ValueError with what to write."""
    if not text:
        raise ValueError("an empty argument names nothing; write DEVBOX:PATH")
    if "\0" in text:
        raise ValueError("an argument holds a NUL character")
    if _CREDENTIALS.match(text):
        raise ValueError("a user or a key has no place in a URL; see docs/command-line.md for where keys are kept")
    devbox, path = _split(text)
    if devbox == "":
        if same_as is None:
            raise ValueError(f"{text!r} names no devbox before its colon; write DEVBOX:PATH, or .{text} for here")
        devbox = same_as
    return Location(text, devbox, text if path is None else path or ".")


def parse_devbox(text: str) -> Location:
    """Parse what is a devbox even without a colon: a directory. Raises ValueError."""
    location = parse(text)
    return location if location.devbox is not None else Location(text, text, ".")


def whole_devbox(text: str) -> str:
    """Return the DEVBOX where nothing but one can be meant; a colon at its end is no harm. Raises ValueError."""
    location = parse_devbox(text)
    if text.startswith(_EXEC) and _ROOT not in text:
        return text  # every colon is in the command
    if location.path != ".":
        raise ValueError(f"{text!r} has a path behind the devbox; write {location.devbox}")
    return location.devbox or text


def _split(text: str) -> tuple[str | None, str | None]:
    """Return the devbox, and the path behind it; without a devbox, None twice."""
    if text.startswith(_EXEC):
        return _split_exec(text)
    match = _URL.fullmatch(text) or _PREFIXED.fullmatch(text)
    if match is not None:
        return match["devbox"], match["path"] or "."
    devbox, colon, path = text.partition(":")
    return (devbox, path) if colon else (None, None)


def _split_exec(text: str) -> tuple[str, str]:
    command, found, rest = text.partition(_ROOT)
    if found:
        root, _, path = rest.partition(":")
        return f"{command}{_ROOT}{root}", path
    command, _, path = text[len(_EXEC) :].partition(":")
    return _EXEC + command, path
