"""What both ways of resolving answer, in words to compare."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from devbox_mcp.guest.beneath import Root
from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.places import kind_of
from devbox_mcp.guest.policy import Policy


@contextmanager
def roots(base: Path, policy: Policy | None = None) -> Iterator[list[Root]]:
    """Open the root in both ways of resolving."""
    opened = [Root(str(base / "root"), policy, use_openat2=use_openat2) for use_openat2 in (True, False)]
    try:
        yield opened
    finally:
        for root in opened:
            root.close()


def answer(root: Root, path: str, **options: Any) -> str:
    """Return ``kind path`` of what a path leads to (``nothing path`` where it could be made), or the error's code."""
    try:
        with root.locate(path, **options) as place:
            return "%s %s" % ("nothing" if place.st is None else kind_of(place.st.st_mode), place.path)
    except GuestError as error:
        return error.code


def answers(base: Path, path: str, **options: Any) -> str:
    """Return what both ways of resolving answer alike."""
    with roots(base) as both:
        found = [answer(root, path, **options) for root in both]
    assert found[0] == found[1]
    return found[0]
