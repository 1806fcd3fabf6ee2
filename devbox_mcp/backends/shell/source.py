"""The program that a warm shell runs: the text of ``program/*.sh``, and how it gets there."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

_ROOMS = ("answers", "places", "reading", "locks", "writing", "batches", "tree", "probe", "watch", "loop")
_END = "#end"

#: Reads the program from stdin line by line, for a command line is short in some places and logged in others.
BOOT = f"""p=; while IFS= read -r l && [ "$l" != '{_END}' ]; do p="$p$l
"; done; eval "$p\""""


@cache
def program() -> bytes:
    """Return what ``BOOT`` reads, without comments."""
    room = files(__package__) / "program"
    lines = [
        line
        for name in _ROOMS
        for line in (room / f"{name}.sh").read_text("utf-8").splitlines()
        if line and not line.lstrip().startswith("#")
    ]
    return "\n".join([*lines, _END, ""]).encode()
