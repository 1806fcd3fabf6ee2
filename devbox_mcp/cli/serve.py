"""``devbox-mcp serve``: settings in, a running server out, and one sentence for whatever is wrong."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from pydantic import SecretStr, ValidationError

if TYPE_CHECKING:
    from devbox_mcp.sandboxes import Sandboxes
    from devbox_mcp.servers.mcp import stdio
    from devbox_mcp.settings import Settings

_BAD_SETTINGS = 2
_BASIC, _HTTP, _LIMITS = "Options", "HTTP", "Limits (bytes, or 512K, 10M, 1G)"


def serve(
    devbox: Annotated[
        list[str] | None,
        typer.Argument(
            help="A directory, k8s://NAMESPACE/POD/CONTAINER?root=/DIR, or exec:COMMAND?root=/DIR (exec:docker exec -i "
            "web), each with NAME= before it if you like. The first is the default one; without any, the working "
            "directory.",
            show_default=False,
        ),
    ] = None,
    http: Annotated[
        str | None, typer.Option(help="Serve HTTP at HOST:PORT (MCP at /mcp) instead of stdio.", rich_help_panel=_HTTP)
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Nothing can be changed.")] = False,
    toolsets: Annotated[
        str | None,
        typer.Option(help="Comma-separated: read, write, search, transfer, local, watch, permissions (chmod), or all."),
    ] = None,
    deny: Annotated[
        list[str] | None,
        typer.Option(help="Glob of paths that are hidden and refused, such as .env or secrets/**. Repeatable."),
    ] = None,
    allow_local: Annotated[
        list[str] | None,
        typer.Option(help="Directory of this machine that save_to, upload_file and download_file may use. Repeatable."),
    ] = None,
    audit_log: Annotated[str | None, typer.Option(help="File to append a JSON line to for every operation.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file with these settings.", envvar="DEVBOX_MCP_CONFIG")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Allow / or the home directory as a devbox.")] = False,
    no_line_numbers: Annotated[
        bool, typer.Option("--no-line-numbers", help="read_file shows bare text unless asked for numbers.")
    ] = False,
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with the bearer token (or DEVBOX_MCP_TOKEN).", rich_help_panel=_HTTP),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Further Host header to accept: example.com:8000 or example.com:*.", rich_help_panel=_HTTP),
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="Further Origin header to accept.", rich_help_panel=_HTTP)
    ] = None,
    max_file_size: Annotated[
        str | None, typer.Option(help="Largest file after any write. [1G]", rich_help_panel=_LIMITS)
    ] = None,
    max_write_size: Annotated[
        str | None, typer.Option(help="Content of one write_file; largest file to edit. [10M]", rich_help_panel=_LIMITS)
    ] = None,
    max_text: Annotated[
        str | None, typer.Option(help="Text that one call shows. [64K]", rich_help_panel=_LIMITS)
    ] = None,
    max_inline: Annotated[
        str | None, typer.Option(help="Binary content in a result. [256K]", rich_help_panel=_LIMITS)
    ] = None,
    max_inline_zip: Annotated[
        str | None, typer.Option(help="A zip in a result. [512K]", rich_help_panel=_LIMITS)
    ] = None,
    max_transfer: Annotated[
        str | None, typer.Option(help="Content of a zip or of one transfer. [1G]", rich_help_panel=_LIMITS)
    ] = None,
    max_batch_size: Annotated[
        str | None, typer.Option(help="Content of one upload_batch. [32M]", rich_help_panel=_LIMITS)
    ] = None,
    max_body: Annotated[str | None, typer.Option(help="HTTP request body. [48M]", rich_help_panel=_LIMITS)] = None,
) -> None:
    """Serve devboxes to an MCP client, over stdio or HTTP.

    Every option is also an environment variable, DEVBOX_MCP_READ_ONLY=true or DEVBOX_MCP_DENY=.env,secrets/**, and a
    key of the TOML file; the command line wins over the environment, and that over the file.
    """
    options: dict[str, Any] = {
        "devboxes": devbox,
        "http": http,
        "read_only": read_only or None,
        "toolsets": toolsets,
        "deny": deny,
        "allow_local": allow_local,
        "audit_log": audit_log,
        "force": force or None,
        "line_numbers": False if no_line_numbers else None,
        "allow_hosts": allow_host,
        "allow_origins": allow_origin,
        "max_file_size": max_file_size,
        "max_write_size": max_write_size,
        "max_text": max_text,
        "max_inline": max_inline,
        "max_inline_zip": max_inline_zip,
        "max_transfer": max_transfer,
        "max_batch_size": max_batch_size,
        "max_body": max_body,
    }
    try:
        if token_file is not None:
            options["token"] = _read_token(token_file)
        settings = _load({name: value for name, value in options.items() if value not in (None, [])}, config)
        asyncio.run(_run(settings))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _read_token(file: Path) -> SecretStr:
    try:
        token = file.read_text().strip()
    except OSError as error:
        _refuse(f"cannot read the token file {file}: {error.strerror}")
    except UnicodeDecodeError:
        _refuse(f"the token file {file} is not UTF-8 text")
    if not token:
        _refuse(f"the token file {file} is empty; write the token into it")
    return SecretStr(token)


def _load(options: dict[str, Any], config: Path | None) -> Settings:
    from devbox_mcp import settings

    try:
        return settings.load(options, config)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = str(problem["loc"][0]) if problem["loc"] else "settings"
        if problem["type"] == "extra_forbidden":
            _refuse(f"there is no setting {name!r}; see devbox-mcp serve --help")
        _refuse(f"bad setting {name}: {problem['msg'].removeprefix('Value error, ')}")
    except (OSError, ValueError) as error:
        _refuse(str(error))


async def _run(settings: Settings) -> None:
    from devbox_mcp.errors import DevboxError
    from devbox_mcp.sandboxes import Sandboxes
    from devbox_mcp.servers.mcp import stdio

    # before a devbox is opened: what is started for that, a credential plugin or ssh, inherits stdin
    pipes = None if settings.http is not None else stdio.claim()
    try:
        sandboxes = await Sandboxes.open(settings)
    except DevboxError as error:
        hint = f"; {error.hint}" if error.hint else ""
        _refuse(f"cannot open the devbox {error.path}: {error.detail}{hint}")
    except (OSError, ValueError) as error:
        _refuse(str(error))
    try:
        await _serve(sandboxes, settings, pipes)
    finally:
        await sandboxes.aclose()


async def _serve(sandboxes: Sandboxes, settings: Settings, pipes: stdio.Pipes | None) -> None:
    # imported late: the command's help and its errors need none of this
    from devbox_mcp.cli.memory import keep_freed
    from devbox_mcp.servers.mcp.server import Door

    keep_freed()
    door = Door(sandboxes, settings, over_stdio=settings.http is None)
    try:
        if settings.http is None:
            from devbox_mcp.servers.mcp import stdio

            await _until_told(stdio.serve(door.server, pipes))
            return
        from devbox_mcp.servers.mcp import http

        host, port = http.split_address(settings.http)
        try:
            app = http.create_app(door.server, settings, host)
            listener = http.bind(host, port)
        except OSError as error:
            _refuse(f"cannot listen on {settings.http}: {error.strerror}; choose another HOST:PORT")
        except ValueError as error:
            _refuse(str(error))
        names = ", ".join(f"{sandbox.name} ({sandbox.root})" for sandbox in sandboxes)
        # the port may have been 0, for any that is free
        address = f"{settings.http.rpartition(':')[0]}:{listener.getsockname()[1]}"
        typer.echo(f"devbox-mcp serves {names} at http://{address}/mcp", err=True)
        await http.serve(app, listener, door.end_streams)
    finally:
        await door.aclose()


async def _until_told(serving: Coroutine[Any, Any, None]) -> None:
    """Run to the end or until SIGTERM or SIGHUP, so that what is open then is closed as at any other end."""
    task = asyncio.ensure_future(serving)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        this = asyncio.current_task()
        if this is not None and this.cancelling():
            raise  # by SIGINT, which asyncio.run turns into KeyboardInterrupt


def _refuse(reason: str) -> NoReturn:
    """End with one sentence."""
    typer.echo(f"devbox-mcp: {reason}", err=True)
    raise typer.Exit(_BAD_SETTINGS)
