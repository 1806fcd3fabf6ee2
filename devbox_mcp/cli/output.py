"""What a command prints: for people on a terminal, plain and stable in a pipe, or JSON."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any

from devbox_mcp.errors import printable
from devbox_mcp.models import FileInfo

_NARROW = 60
_UNITS = ("B", "K", "M", "G", "T", "P", "E")
_TYPES = {"file": "-", "directory": "d", "symlink": "l", "fifo": "p", "socket": "s", "device": "c"}


class Output:
    """Stdout. Names go out as the bytes they are, but to a terminal, which they could command, with escapes."""

    def __init__(self, *, as_json: bool = False, nul: bool = False) -> None:
        """With ``as_json`` commands print records instead of lines; ``nul`` ends lines with NUL and escapes nothing."""
        self.as_json = as_json
        self._end = b"\0" if nul else b"\n"
        self.terminal = sys.stdout.isatty()
        self._escaped = self.terminal and not nul
        # as no-color.org has it: any value but the empty one
        self._coloured = self._escaped and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self.narrow = self.terminal and shutil.get_terminal_size().columns < _NARROW

    def line(self, *parts: str) -> None:
        """Print text that was made safe by ``name`` or by whoever wrote it."""
        sys.stdout.buffer.write(os.fsencode("".join(parts)) + self._end)

    def record(self, fields: Mapping[str, Any]) -> None:
        """Print one JSON object on a line of its own."""
        sys.stdout.buffer.write(json.dumps(fields).encode("ascii") + b"\n")

    def flush(self) -> None:
        """Let the reader have what was printed so far."""
        sys.stdout.buffer.flush()

    def name(self, text: str, style: str = "") -> str:
        """Return a name, or a line of a file, fit to be printed here; ``style`` colours it where colours are shown."""
        shown = printable(text) if self._escaped else text
        return self.styled(shown, style)

    def styled(self, text: str, style: str) -> str:
        """Colour what is known to be harmless."""
        return f"\x1b[{style}m{text}\x1b[0m" if style and self._coloured else text

    def entry(self, info: FileInfo, name: str, *, long: bool) -> None:
        """Print an entry of a listing as a line, with ``long`` what is known of it."""
        style = {"directory": "34", "symlink": "36"}.get(info.type, "32" if info.mode & 0o111 else "")
        shown = self.name(name, style) + ("/" if info.type == "directory" else "")
        if long and info.target is not None:
            shown += f" -> {self.name(info.target)}"
        if not long:
            self.line(shown)
        elif self.narrow:
            day = time.strftime("%m-%d %H:%M", time.localtime(info.modified))
            self.line(f"{_TYPES[info.type]}{human(info.size):>6} {day} ", shown)
        elif self.terminal:
            day = time.strftime("%Y-%m-%d %H:%M", time.localtime(info.modified))
            self.line(f"{permissions(info)} {human(info.size):>6} {day} ", shown)
        else:
            day = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(info.modified))
            self.line(f"{permissions(info)} {info.size:>12} {day} ", shown)


def human(size: float) -> str:
    """Return a size as people read it, in units of 1024: ``980B``, ``1.4K``, ``12M``."""
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:
            break
        size /= 1024
    return f"{size:.1f}{unit}" if unit != "B" and size < 10 else f"{size:.0f}{unit}"


def permissions(info: FileInfo) -> str:
    """Return type and permission bits as ``ls -l`` writes them."""
    bits = "".join(letter if info.mode >> (8 - index) & 1 else "-" for index, letter in enumerate("rwxrwxrwx"))
    return _TYPES[info.type] + bits
