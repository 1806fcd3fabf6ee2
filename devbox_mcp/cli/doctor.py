"""``doctor``: what a devbox offers, and how to mend what is missing."""

from __future__ import annotations

from typing import Annotated, NoReturn

import typer

from devbox_mcp.cli.arguments import start


def doctor(
    devbox: Annotated[
        str, typer.Argument(metavar="DEVBOX", help="A directory, k8s://…, exec:…, https://…, or a name.")
    ],
    no_write: Annotated[
        bool, typer.Option("--no-write", help="Do not make and delete a small file to see whether that works.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> NoReturn:
    """Look what a devbox offers, and say how to mend what is missing."""

    async def work() -> int:
        from devbox_mcp.cli.examining import examine

        return await examine(devbox, write=not no_write, as_json=as_json)

    start(work)
