"""The ``devbox-mcp`` command."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand

from devbox_mcp import __version__
from devbox_mcp.cli import audit, changing, copying, looking
from devbox_mcp.cli.doctor import doctor
from devbox_mcp.cli.failing import INTERRUPTED, TABLE
from devbox_mcp.cli.keys import keys
from devbox_mcp.cli.serve import serve

_ROOM_FOR_FRAMES = _WIDEST = 80
#: The base of all that is wrong about a command line, which typer gives no name of its own.
_WRONG_USAGE: Any = typer.BadParameter.__base__


class _Command(TyperCommand):
    """Shows its arguments as they are written, without braces around them."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # typer's own context has no public name
        return ["[OPTIONS]", *(str(one.metavar) for one in self.params if isinstance(one, TyperArgument))]


app = typer.Typer(
    name="devbox-mcp",
    help="Hands for AI agents on the files of a development sandbox.",
    epilog=TABLE,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_SERVER, _FILES = "The server", "Files"
app.command("serve", rich_help_panel=_SERVER)(serve)
app.command("doctor", cls=_Command, rich_help_panel=_SERVER)(doctor)
app.add_typer(keys, name="keys", rich_help_panel=_SERVER)
app.add_typer(audit.app, name="audit", rich_help_panel=_SERVER)
for name, command in (
    ("ls", looking.ls),
    ("cat", looking.cat),
    ("find", looking.find),
    ("grep", looking.grep),
    ("watch", looking.watch),
    ("put", copying.put),
    ("get", copying.get),
    ("cp", copying.cp),
    ("sync", copying.sync),
    ("zip", copying.archive),
    ("mkdir", changing.mkdir),
    ("mv", changing.mv),
    ("rm", changing.rm),
    ("edit", changing.edit),
):
    app.command(name, cls=_Command, rich_help_panel=_FILES)(command)


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
    """Run the command. Help has frames only where there is room for them: they cut words on a narrow terminal, and mean
    nothing in a pipe."""
    _stand_in()
    columns = shutil.get_terminal_size().columns
    app.rich_markup_mode = "rich" if sys.stdout.isatty() and columns >= _ROOM_FOR_FRAMES else None
    try:
        # left to itself, help is never narrower than 50
        code = app(prog_name="devbox-mcp", terminal_width=min(columns, _WIDEST), standalone_mode=False)
    except typer.Abort:
        code = INTERRUPTED
    except _WRONG_USAGE as wrong:
        code = _tell(wrong)
    sys.exit(code)


def _stand_in() -> None:
    """Put something in the place of what was closed (``>&-``): what is written is lost, and reading fails, for an empty
    stdin would become an empty file."""
    for name, flags, mode in (("stdin", os.O_WRONLY, "r"), ("stdout", os.O_WRONLY, "w"), ("stderr", os.O_WRONLY, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, flags), mode))  # noqa: PTH123, SIM115  as long as the process


def _tell(wrong: Any) -> int:
    """Say what is wrong about the command line in one sentence, or the help where there was nothing on it."""
    from devbox_mcp.cli.running import warn

    told = wrong.format_message()
    if not told or told.startswith("Usage:"):  # the help; where it has frames, it has been shown
        sys.stderr.write(f"{told}\n" if told else "")
    else:
        told = " ".join(told.split()).rstrip(".")
        place = wrong.ctx.command_path if wrong.ctx else "devbox-mcp"
        warn(f"{told[0].lower()}{told[1:]}; {place} -h shows what can be written")
    return int(wrong.exit_code)
