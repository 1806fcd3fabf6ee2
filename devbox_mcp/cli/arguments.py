"""What commands have in common: options, places as they are written, and the way to their work."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Annotated, Any, NoReturn

import typer

from devbox_mcp.cli.failing import wrong_usage
from devbox_mcp.cli.locations import Location, parse, parse_devbox

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Nul = Annotated[bool, typer.Option("--null", "-0", help="End names with NUL, for xargs -0.")]
Keep = Annotated[bool, typer.Option("--no-overwrite", "-n", help="What exists is an error.")]
Follow = Annotated[bool, typer.Option("--follow", "-L", help="Copy files that links lead to. [links are left out]")]
Exclude = Annotated[
    list[str] | None, typer.Option(metavar="GLOB", help="Leave out what matches, such as .git or '**/*.log'. Repeat.")
]
Ignored = Annotated[bool, typer.Option("--no-ignore", help="Also what .gitignore excludes, and .git.")]


def start(work: Callable[[], Coroutine[Any, Any, int | None]]) -> NoReturn:
    """Do a command's work and end with its exit code. Nothing heavy is imported before."""
    from devbox_mcp.cli.running import run

    run(work)


def places(texts: Sequence[str]) -> list[Location]:
    """Parse arguments of which each is a ``DEVBOX:PATH`` or a path of this machine, and ``:PATH`` is in the devbox
    before it. Raises Failed."""
    found: list[Location] = []
    for text in texts:
        before = [location.devbox for location in found if location.devbox is not None]
        found.append(_parsed(partial(parse, text, same_as=before[-1] if before else None)))
    return found


def devboxes(texts: Sequence[str]) -> list[Location]:
    """Parse arguments of which each is a ``DEVBOX:PATH``, where a path alone would be ambiguous. Raises Failed."""
    found = places(texts)
    for location in found:
        if location.devbox is None:
            raise wrong_usage(f"{location.text!r} names no devbox; write DEVBOX:PATH, here .:{location.text}")
    return found


def directory(text: str) -> Location:
    """Parse an argument that is a ``DEVBOX:PATH`` or a devbox alone. Raises Failed."""
    return _parsed(lambda: parse_devbox(text))


def here(texts: Sequence[str]) -> list[Location]:
    """Return paths of this machine, whose colons are nothing special. Raises Failed."""
    for text in texts:
        if not text or "\0" in text:
            raise wrong_usage("an empty argument names no file")
    return [Location(text, None, text) for text in texts]


def split_last(texts: Sequence[str], usage: str) -> tuple[list[str], str]:
    """Return all but the last argument, and the last. Raises Failed, which says the ``usage``."""
    if len(texts) < 2:
        raise wrong_usage(f"where to? write devbox-mcp {usage}")
    return list(texts[:-1]), texts[-1]


def _parsed(parse_it: Callable[[], Location]) -> Location:
    try:
        return parse_it()
    except ValueError as error:
        raise wrong_usage(str(error)) from None
