"""The process that matches for ``composed.matching``: files come in by one pipe, matches go out by another.

``re`` holds the interpreter for as long as a pattern takes, so this has to be where it can be killed. It knows
nothing but the guest's pure rooms, to start quickly.

In: a line of JSON with the pattern, then for each file a line of JSON (``behind``: the line after which matches
count) and its content in pieces, each behind its length in four bytes, the last one of length zero. Out: a line of
JSON that says whether the pattern is one (``{}`` or ``{"error": …}``), then for each file lines that are a step
(``[line, match or null]``) and one that ends it: ``{"binary": …, "gap": …}``.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from typing import Any

from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.matching import MOST_CONTEXT, LineMatcher, compile_pattern, give_up_slow_lines
from devbox_mcp.guest.textfile import text_blocks

_PATIENCE = 2.0  # seconds behind the deadline until it ends unasked: whoever started it may be gone


def main() -> None:
    """Serve one search."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGALRM,))
    request = _next()
    if request is None:
        return
    signal.setitimer(signal.ITIMER_REAL, max(request["seconds"], 0.0) + _PATIENCE)
    try:
        matcher = _matcher(request)
    except GuestError as error:
        _send({"error": {"code": error.code, "detail": error.detail, "hint": error.hint, "data": error.data}})
        return
    _send({})
    give_up_slow_lines()
    while (file := _next()) is not None:
        _match(matcher, file["behind"])


def _matcher(request: dict[str, Any]) -> LineMatcher:
    context = request["context"]
    if not 0 <= context <= MOST_CONTEXT:
        raise GuestError("invalid_argument", ".", f"context is {context}, but from 0 to {MOST_CONTEXT}")
    return LineMatcher(
        compile_pattern(request["pattern"], regex=request["regex"], ignore_case=request["ignore_case"]), context
    )


def _match(matcher: LineMatcher, behind: int) -> None:
    pieces = _pieces()
    blocks = text_blocks(pieces)
    for number, match in matcher.steps(blocks or (), behind):
        _send([number, match])
    for _ in pieces:
        pass
    _send({"binary": blocks is None, "gap": matcher.gap})


def _next() -> dict[str, Any] | None:
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        return None
    found: dict[str, Any] = json.loads(line)
    return found


def _pieces() -> Iterator[bytes]:
    while True:
        length = int.from_bytes(_exactly(4), "big")
        if not length:
            return
        yield _exactly(length)


def _exactly(length: int) -> bytes:
    data = sys.stdin.buffer.read(length)
    if len(data) < length:
        sys.exit()
    return data


def _send(message: Any) -> None:
    sys.stdout.buffer.write(json.dumps(message).encode("ascii") + b"\n")
    sys.stdout.buffer.flush()
