"""``rm``, ``mkdir``, ``mv`` and ``edit``: commands that change what is in a devbox."""

from __future__ import annotations

from typing import Annotated, NoReturn

import typer

from devbox_mcp.cli.arguments import AsJson, Keep, devboxes, places, split_last, start
from devbox_mcp.cli.failing import Failed, wrong_usage


def rm(
    paths: Annotated[list[str], typer.Argument(metavar="DEVBOX:PATH...", help="What to delete; links themselves.")],
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Directories with everything in them.")] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="What is not there is no error.")] = False,
    as_json: AsJson = False,
) -> NoReturn:
    """Delete files and directories."""

    async def work() -> int:
        from devbox_mcp.cli.boxes import opened
        from devbox_mcp.cli.output import Output
        from devbox_mcp.cli.running import tell

        code, output = 0, Output(as_json=as_json)
        async with opened(devboxes(paths), "delete") as found:
            for place in found:
                try:
                    with place.box.telling():
                        deleted = await place.box.sandbox.delete(place.path, recursive=recursive)
                except Failed as failure:
                    if failure.code != "not_found" or not force:
                        code = code or failure.exit_code
                        tell(failure)
                    continue
                if as_json:
                    output.record({"path": place.path.shown(place.box.sandbox.name), "deleted": deleted})
        return code

    start(work)


def mkdir(
    paths: Annotated[list[str], typer.Argument(metavar="DEVBOX:PATH...", help="The directories.")],
    as_json: AsJson = False,
) -> NoReturn:
    """Make directories and their parents; one that is there is no error."""

    async def work() -> None:
        from devbox_mcp.cli.boxes import opened
        from devbox_mcp.cli.output import Output

        output = Output(as_json=as_json)
        async with opened(devboxes(paths), "mkdir") as found:
            for place in found:
                with place.box.telling():
                    created = await place.box.sandbox.make_dir(place.path)
                if as_json:
                    output.record({"path": place.path.shown(place.box.sandbox.name), "created": created})

    start(work)


def mv(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="DEVBOX:PATH... DESTINATION", help="In one devbox; :PATH is in the devbox before it."),
    ],
    keep: Keep = False,
    as_json: AsJson = False,
) -> NoReturn:
    """Move or rename within a devbox; links themselves."""

    async def work() -> int:
        from devbox_mcp.cli.moving import move_all

        split_last(paths, "mv DEVBOX:PATH... DESTINATION")
        *sources, target = places(paths)
        devboxes(paths[:1])
        if any(location.devbox != target.devbox for location in sources):
            raise wrong_usage("mv works within one devbox; cp copies to another, and rm deletes what was copied")
        return await move_all(sources, target, overwrite=not keep, as_json=as_json)

    start(work)


def edit(
    file: Annotated[str, typer.Argument(metavar="DEVBOX:PATH", help="The file.")],
    replace: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="OLD NEW", help="Replace this text, which must be there once.", show_default=False),
    ] = None,
    everywhere: Annotated[bool, typer.Option("--all", help="Replace OLD wherever it is.")] = False,
    edits: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help='JSON with several: [{"old_text": …, "new_text": …, "replace_all": false}]; - is stdin.',
        ),
    ] = None,
    if_match: Annotated[
        str | None, typer.Option(metavar="SHA256", help="Only if the file is this version (12 hex digits or more).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would change.")] = False,
    as_json: AsJson = False,
) -> NoReturn:
    """Edit a file: replace text in it, or open it in $VISUAL or $EDITOR.

    What others change meanwhile is never overwritten: a replacement is made to what is there then, and the editor's
    result is kept aside if the file is not what it was.
    """

    async def work() -> None:
        from devbox_mcp.cli import editing

        (location,) = devboxes([file])
        if replace is None and edits is None:
            if everywhere or dry_run or as_json or if_match:
                raise wrong_usage("without --replace or --edits the editor is opened, and it has no other options")
            await editing.in_editor(location)
            return
        if replace is not None and edits is not None:
            raise wrong_usage("--replace and --edits cannot be given together")
        wanted = editing.read_edits(replace, everywhere=everywhere, file=edits)
        await editing.replace(location, wanted, if_match=if_match, dry_run=dry_run, as_json=as_json)

    start(work)
