"""``ls``, ``cat``, ``find``, ``grep`` and ``watch``: commands that change nothing."""

from __future__ import annotations

from typing import Annotated, NoReturn

import typer

from devbox_mcp.cli.arguments import AsJson, Ignored, Nul, devboxes, directory, start

Directory = Annotated[str, typer.Argument(metavar="DEVBOX[:PATH]", help="Where to look; the root without a path.")]


def ls(
    place: Directory,
    long: Annotated[bool, typer.Option("--long", "-l", help="Type, permissions, size and time, too.")] = False,
    recursive: Annotated[bool, typer.Option("--recursive", "-R", help="Everything beneath.")] = False,
    depth: Annotated[int | None, typer.Option(min=1, help="Levels to go down. [1]", show_default=False)] = None,
    nul: Nul = False,
    as_json: AsJson = False,
) -> NoReturn:
    """List a directory, or show one file."""

    async def work() -> int:
        from devbox_mcp.cli.listing import list_place

        levels = depth if depth is not None or recursive else 1
        return await list_place(directory(place), long=long, depth=levels, nul=nul, as_json=as_json)

    start(work)


def cat(
    files: Annotated[list[str], typer.Argument(metavar="DEVBOX:PATH...", help="The files.")],
    offset: Annotated[int, typer.Option(min=0, help="Byte to begin with, from 0.", show_default=False)] = 0,
    length: Annotated[int | None, typer.Option(min=0, help="Bytes to print. [to the end]")] = None,
) -> NoReturn:
    """Print files."""

    async def work() -> None:
        from devbox_mcp.cli.boxes import opened
        from devbox_mcp.cli.output import Output
        from devbox_mcp.cli.transfers import to_stdout

        async with opened(devboxes(files), "read") as places:
            for place in places:
                await to_stdout(place, Output(), offset=offset, length=length)

    start(work)


def find(
    place: Directory,
    pattern: Annotated[
        str, typer.Argument(metavar="[GLOB]", help="'**/*.py', or a name at any depth: '*.py', '{a,b}.txt'.")
    ] = "**",
    newest: Annotated[bool, typer.Option("--newest", help="The last changed first. [by name]")] = False,
    no_ignore: Ignored = False,
    nul: Nul = False,
    as_json: AsJson = False,
) -> NoReturn:
    """Find files and directories by a glob. Paths are printed from the devbox's root."""

    async def work() -> int:
        from devbox_mcp.cli.listing import find_entries

        return await find_entries(
            directory(place), pattern, newest=newest, ignored=no_ignore, nul=nul, as_json=as_json
        )  # fmt: skip

    start(work)


def grep(
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", help="A regular expression as in Python's re.")],
    place: Directory,
    ignore_case: Annotated[bool, typer.Option("--ignore-case", "-i", help="Upper or lower case alike.")] = False,
    fixed: Annotated[bool, typer.Option("--fixed-strings", "-F", help="PATTERN is plain text.")] = False,
    context: Annotated[
        int, typer.Option("--context", "-C", min=0, max=20, help="Lines around each match.", show_default=False)
    ] = 0,
    files: Annotated[bool, typer.Option("--files-with-matches", "-l", help="Only names of files.")] = False,
    glob: Annotated[str | None, typer.Option("--glob", "-g", metavar="GLOB", help="Only in files that match.")] = None,
    no_ignore: Ignored = False,
    nul: Annotated[bool, typer.Option("--null", "-0", help="With -l, end names with NUL.")] = False,
    as_json: AsJson = False,
) -> NoReturn:
    """Find lines in text files. Ends with 1 if there are none."""

    async def work() -> int:
        from devbox_mcp.cli.matching import Wanted, search

        wanted = Wanted(pattern, glob, not fixed, ignore_case, context, no_ignore)
        return await search(directory(place), wanted, only_names=files, nul=nul, as_json=as_json)

    start(work)


def watch(
    place: Directory,
    flat: Annotated[bool, typer.Option("--flat", help="Only the directory itself, nothing beneath.")] = False,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many events.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="End after so many seconds.")] = None,
    as_json: AsJson = False,
) -> NoReturn:
    """Print changes as they happen, one a line, until Ctrl-C."""

    async def work() -> None:
        from devbox_mcp.cli.watching import follow

        await follow(directory(place), recursive=not flat, count=count, seconds=seconds, as_json=as_json)

    start(work)
