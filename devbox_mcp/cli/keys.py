"""``devbox-mcp keys``: keys for the access file of a server."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

keys = typer.Typer(help="Make keys for clients of a server; see docs/access.md.", no_args_is_help=True)

_BAD_USAGE, _FAILED = 2, 1
_SHORTEST_KEY = 32
_SPAN = re.compile(r"(?P<number>[1-9][0-9]{0,4})d")


@keys.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Whose it is, as the audit log shows it.")],
    devbox: Annotated[list[str], typer.Option("--devbox", help="Glob of the devboxes that exist for it. Repeatable.")],
    scope: Annotated[list[str], typer.Option("--scope", help="read, write or lifecycle. Repeatable.")],
    expires: Annotated[
        str | None, typer.Option(help="When it ends: days from now (90d) or a date (2027-01-31).")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Access file to add it to, made if need be.")] = None,
) -> None:
    """Make a key and print it, once; what the server keeps is its hash.

    Without --file, what belongs into the access file is printed as well, to be pasted there.
    """
    from devbox_mcp.keys import hashed, new_key
    from devbox_mcp.servers.access.stanzas import parse

    key = new_key()
    stanza = _stanza(name, hashed(key), devbox, scope, _moment(expires))
    where = file or Path("access.toml")
    try:
        parse(stanza, where)
        if file is not None:
            _add(file, stanza)
    except ValueError as error:
        _refuse(str(error).replace(f"the access file {where}: ", "" if file is None else f"{where}: "))
    except OSError as error:
        _refuse(f"cannot write {file}: {error.strerror}", _FAILED)
    typer.echo(key)
    if file is None:
        typer.echo(f"\n{stanza}", nl=False)
    else:
        typer.echo(f"added to {file}; this key is not shown again", err=True)


@keys.command("hash")
def hash_() -> None:
    """Read a key from standard input and print what the access file holds of it."""
    from devbox_mcp.keys import hashed

    if sys.stdin.isatty():
        typer.echo("Type or paste the key, then press Enter:", err=True)
    try:
        key = sys.stdin.readline().strip()
    except UnicodeDecodeError:
        _refuse("the key is not UTF-8 text")
    if len(key) < _SHORTEST_KEY:
        # a plain hash protects what cannot be guessed, and nothing else
        _refuse(f"the key is shorter than {_SHORTEST_KEY} characters; make one with devbox-mcp keys new")
    typer.echo(hashed(key))


def _moment(expires: str | None) -> datetime | None:
    if expires is None:
        return None
    span = _SPAN.fullmatch(expires)
    if span is not None:
        return datetime.now(UTC).replace(microsecond=0) + timedelta(days=int(span["number"]))
    try:
        found = datetime.fromisoformat(expires)
    except ValueError:
        _refuse(f"--expires {expires!r} is no time; write 90d, 2027-01-31 or 2027-01-31T12:00:00Z")
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _stanza(name: str, hashed: str, devboxes: Sequence[str], scopes: Sequence[str], expires: datetime | None) -> str:
    lines = [
        "[[keys]]",
        f"name = {_quoted(name)}",
        f"hash = {_quoted(hashed)}",
        f"devboxes = [{', '.join(map(_quoted, devboxes))}]",
        f"scopes = [{', '.join(map(_quoted, scopes))}]",
    ]
    if expires is not None:
        lines.append(f"expires = {expires.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%SZ')}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Return a TOML string."""
    escaped = "".join(
        f"\\u{ord(letter):04x}" if ord(letter) < 0x20 or letter in '"\\\x7f' else letter for letter in text
    )
    return f'"{escaped}"'


def _add(file: Path, stanza: str) -> None:
    """Put a stanza at the end of an access file, whole or not at all, for a server may read it at any moment. Raises
    ValueError where the file would make no sense, OSError."""
    from devbox_mcp.servers.access.stanzas import parse

    target = file.resolve()
    try:
        before, old = target.read_text(encoding="utf-8"), target.stat()
    except FileNotFoundError:
        before, old = "", None
    except UnicodeDecodeError:
        raise ValueError(f"the access file {file}: it is not UTF-8 text") from None
    after = f"{before.rstrip()}\n\n{stanza}".lstrip()
    parse(after, file)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as written:
            written.write(after)
            if old is not None:
                # whoever could read the old one, the server above all, can read this one
                os.fchown(written.fileno(), old.st_uid, old.st_gid)
                os.fchmod(written.fileno(), old.st_mode & 0o777)
            written.flush()
            os.fsync(written.fileno())
        Path(temporary).replace(target)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise


def _refuse(reason: str, status: int = _BAD_USAGE) -> NoReturn:
    typer.echo(f"devbox-mcp: {reason}", err=True)
    raise typer.Exit(status)
