"""``put``, ``get``, ``cp``, ``zip`` and ``sync``: files that go from one place to another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, NoReturn

import typer

from devbox_mcp.cli.arguments import AsJson, Exclude, Follow, Keep, devboxes, here, places, split_last, start
from devbox_mcp.cli.failing import wrong_usage
from devbox_mcp.cli.locations import Location

#: Sources and destination; raises Failed.
Route = Callable[[], tuple[list[Location], Location]]


def put(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="FILE... DEVBOX:PATH", help="Files and directories of this machine; - is stdin."),
    ],
    follow: Follow = False,
    keep: Keep = False,
    exclude: Exclude = None,
    as_json: AsJson = False,
) -> NoReturn:
    """Copy files and directories of this machine into a devbox.

    They go into the destination by their names where it is a directory, or is written with a slash at its end. DIR/.
    stands for what is in a directory. Links are left out, and told.
    """

    def route() -> tuple[list[Location], Location]:
        sources, target = split_last(paths, "put FILE... DEVBOX:PATH")
        return here(sources), devboxes([target])[0]

    _copy(route, follow, keep, exclude, as_json)


def get(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="DEVBOX:PATH... [FILE]", help="What to fetch, and where to; - is stdout. [the working directory]"
        ),
    ],
    follow: Follow = False,
    keep: Keep = False,
    exclude: Exclude = None,
    as_json: AsJson = False,
) -> NoReturn:
    """Copy files and directories of a devbox to this machine.

    They go into the destination by their names where it is a directory, or is written with a slash at its end. DIR/.
    stands for what is in a directory. Links are left out, and told.
    """

    def route() -> tuple[list[Location], Location]:
        sources, target = (paths, ".") if len(paths) == 1 else split_last(paths, "get DEVBOX:PATH... FILE")
        return devboxes(sources), here([target])[0]

    _copy(route, follow, keep, exclude, as_json)


def cp(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE... DESTINATION",
            help="Each a DEVBOX:PATH or a path of this machine; :PATH is in the devbox before it.",
        ),
    ],
    follow: Follow = False,
    keep: Keep = False,
    exclude: Exclude = None,
    as_json: AsJson = False,
) -> NoReturn:
    """Copy within a devbox, between two, or to and from here.

    What is copied between devboxes streams through this machine and lies nowhere in between.
    """

    def route() -> tuple[list[Location], Location]:
        split_last(paths, "cp SOURCE... DESTINATION")
        *sources, target = places(paths)
        return sources, target

    _copy(route, follow, keep, exclude, as_json)


def archive(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="DEVBOX:PATH... OUT.zip", help="What to pack, of one devbox, and where to; - is stdout."
        ),
    ],
    keep: Keep = False,
) -> NoReturn:
    """Pack files and directories of a devbox into a zip."""

    async def work() -> int:
        from devbox_mcp.cli.transfers import pack

        split_last(paths, "zip DEVBOX:PATH... OUT.zip")
        *sources, target = places(paths)
        devboxes(paths[:1])
        if any(location.devbox != sources[0].devbox for location in sources):
            raise wrong_usage("a zip holds files of one devbox")
        return await pack(sources, target, overwrite=not keep)

    start(work)


def sync(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A directory: DEVBOX:PATH, or of this machine.")],
    destination: Annotated[str, typer.Argument(metavar="DESTINATION", help="The directory that is to be like it.")],
    delete: Annotated[bool, typer.Option("--delete", help="Delete what is not in SOURCE.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only print what would be done.")] = False,
    exclude: Exclude = None,
    as_json: AsJson = False,
) -> NoReturn:
    """Make one directory like another; only differences move.

    Files are the same if their size and sha256 are. Each is replaced whole or not at all; after an interruption, call
    it again and it goes on.
    """

    async def work() -> int:
        from devbox_mcp.cli.syncing import synchronise

        one, other = places([source, destination])
        return await synchronise(
            one, other, delete=delete, dry_run=dry_run, exclude=exclude or (), as_json=as_json
        )  # fmt: skip

    start(work)


def _copy(route: Route, follow: bool, keep: bool, exclude: list[str] | None, as_json: bool) -> NoReturn:
    async def work() -> int:
        from devbox_mcp.cli.transfers import copy_all

        sources, target = route()
        return await copy_all(
            sources, target, overwrite=not keep, follow=follow, exclude=exclude or (), as_json=as_json
        )  # fmt: skip

    start(work)
