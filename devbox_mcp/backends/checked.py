"""What comes from a guest, checked: it is not trusted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from devbox_mcp.backends import answers
from devbox_mcp.errors import Integrity
from devbox_mcp.models import FileInfo
from devbox_mcp.paths import SandboxPath
from devbox_mcp.session.calls import Incoming

T = TypeVar("T")


def parsed(parse: Callable[[Any], T], value: Any, op: str, path: SandboxPath) -> T:
    """Make a model of an answer. Raises Integrity for what makes none."""
    try:
        return parse(value)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise Integrity(op, path.text, "the guest's answer makes no sense", hint="try again") from error


def count(value: Any) -> int:
    """Return a number of things. Raises ValueError for anything else."""
    if type(value) is not int or value < 0:
        raise ValueError("no number of things")
    return value


def span(found: Any, offset: int, length: int | None) -> tuple[FileInfo, int, int]:
    """Return the file of an answer, and where its range begins and how long it is: no longer than was asked for.
    Raises what ``parsed`` takes."""
    info = answers.info(found["info"])
    start = min(offset, info.size)
    if found["offset"] != start:
        raise ValueError("another range")
    return info, start, info.size - start if length is None else min(info.size - start, length)


def revision(found: Any) -> str:
    """Return the revision of the file of an answer. Raises what ``parsed`` takes."""
    return answers.info(found["info"]).revision


async def at_most(stream: Incoming, most: int, path: SandboxPath) -> bytes:
    """Return the whole of a stream. Raises Integrity where it is longer than was asked for."""
    pieces: list[bytes] = []
    size = 0
    async for piece in stream:
        size += len(piece)
        if size > most:
            await stream.aclose()
            raise too_much("read", path)
        pieces.append(piece)
    return b"".join(pieces)


def too_much(op: str, path: SandboxPath) -> Integrity:
    """Return the error for more than was asked for."""
    return Integrity(op, path.text, "the guest sent more than was asked for")
