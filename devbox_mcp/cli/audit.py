"""``devbox-mcp audit``: whether a log of operations is what was written."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer

app = typer.Typer(help="The log of operations.", no_args_is_help=True)

_BROKEN = 1
_CANNOT = 2


@app.callback()
def options() -> None:
    """The log of operations."""


@app.command()
def verify(
    log: Annotated[Path, typer.Argument(help="The log that serve --audit-log wrote.", show_default=False)],
    key_file: Annotated[
        Path,
        typer.Option(help="File with the key that chains its lines.", show_default=False),
    ],
    anchor: Annotated[
        Path | None, typer.Option(help="The chain's anchor; without it a tail that was cut off does not show.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Check every line of a log: was one edited, deleted, inserted or moved, or the end cut off?

    Ends with 0 where the log holds, 1 where it does not, 2 where it cannot be checked.
    """
    from devbox_mcp import audit

    key = _read(key_file, "key").strip()
    if not key:
        _refuse(f"the key file {key_file} is empty")
    try:
        verdict = audit.verify(str(log), key, None if anchor is None else str(anchor))
    except OSError as error:
        _refuse(f"cannot read {error.filename or log}: {error.strerror}")
    trouble = verdict.trouble
    if as_json:
        typer.echo(json.dumps({"holds": trouble is None, **asdict(verdict)}))
    elif trouble is None:
        anchored = "" if verdict.anchored is None else f", and the anchor knows of {verdict.anchored}"
        typer.echo(f"{log}: all {verdict.lines} lines hold{anchored}")
    else:
        where = f"line {trouble.line}" if trouble.line else "anchor"
        typer.echo(f"{log}: {trouble.kind.replace('_', ' ')} at {where}: {trouble.detail}")
        typer.echo(f"{log}: {verdict.lines} lines before that hold")
    if verdict.lost and not as_json:
        typer.echo(f'{log}: {verdict.lost} records could not be kept; lines with "result": "lost" say when')
    if trouble is not None:
        raise typer.Exit(_BROKEN)


def _read(file: Path, what: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        _refuse(f"cannot read the {what} file {file}: {error.strerror}")


def _refuse(reason: str) -> NoReturn:
    typer.echo(f"devbox-mcp: {reason}", err=True)
    raise typer.Exit(_CANNOT)
