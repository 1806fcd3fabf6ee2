"""The ``devbox-mcp`` command."""

from __future__ import annotations

import typer

from devbox_mcp import __version__
from devbox_mcp.cli.serve import serve

app = typer.Typer(
    name="devbox-mcp",
    help="Hands for AI agents on the files of a development sandbox.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"devbox-mcp {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version."),
) -> None:
    """Hands for AI agents on the files of a development sandbox."""


def main() -> None:
    """Run the command."""
    app()
