"""``devbox-mcp serve``: settings in, a running server out, and one sentence for whatever is wrong."""

from __future__ import annotations

import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from pydantic import SecretStr

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
    audit_key_file: Annotated[
        Path | None, typer.Option(help="File with the key that chains the lines; see devbox-mcp audit verify.")
    ] = None,
    audit_anchor: Annotated[
        Path | None, typer.Option(help="File, kept elsewhere, that holds the chain's head and count.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file with these settings.", envvar="DEVBOX_MCP_CONFIG")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Allow / or the home directory as a devbox, and / for --allow-local.")
    ] = False,
    no_line_numbers: Annotated[
        bool, typer.Option("--no-line-numbers", help="read_file shows bare text unless asked for numbers.")
    ] = False,
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with the bearer token (or DEVBOX_MCP_TOKEN).", rich_help_panel=_HTTP),
    ] = None,
    access: Annotated[
        Path | None,
        typer.Option(help="TOML file with keys and token issuers; see docs/access.md.", rich_help_panel=_HTTP),
    ] = None,
    secret_file: Annotated[
        Path | None,
        typer.Option(help="File with the secret that signs URLs, the same for all replicas.", rich_help_panel=_HTTP),
    ] = None,
    public_url: Annotated[
        str | None, typer.Option(help="Where clients reach this: https://files.example.com.", rich_help_panel=_HTTP)
    ] = None,
    host_devbox: Annotated[
        list[str] | None,
        typer.Option(help="HOST=DEVBOX that Sealos' routes mean by a host name. Repeatable.", rich_help_panel=_HTTP),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="PEM file with the certificate chain.", rich_help_panel=_HTTP)
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file with its key.", rich_help_panel=_HTTP)] = None,
    redis_url: Annotated[
        str | None, typer.Option(help="Store that replicas share their limits in.", rich_help_panel=_HTTP)
    ] = None,
    rate_operations: Annotated[
        int | None, typer.Option(help="Operations a second of one caller; 0: any. [0]", rich_help_panel=_HTTP)
    ] = None,
    rate_bytes: Annotated[
        str | None, typer.Option(help="Bytes a second of one caller, or 20M; 0: any. [0]", rich_help_panel=_HTTP)
    ] = None,
    max_transfers: Annotated[
        int | None, typer.Option(help="Transfers of one caller at a time. [64]", rich_help_panel=_HTTP)
    ] = None,
    writers: Annotated[
        int | None,
        typer.Option(
            help="Processes that write for a directory when many write at once; 0: none. [2]", rich_help_panel=_HTTP
        ),
    ] = None,
    header_timeout: Annotated[
        float | None, typer.Option(help="Seconds for a request's head. [10]", rich_help_panel=_HTTP)
    ] = None,
    body_timeout: Annotated[
        float | None,
        typer.Option(help="Seconds between two pieces of a request's body. [30]", rich_help_panel=_HTTP),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Further Host header to accept: example.com:8000 or example.com:*.", rich_help_panel=_HTTP),
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="Further Origin header to accept.", rich_help_panel=_HTTP)
    ] = None,
    max_file_size: Annotated[
        str | None,
        typer.Option(
            help="Largest file after any write; a copy is as large as its source. [1G]", rich_help_panel=_LIMITS
        ),
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
        "audit_anchor": None if audit_anchor is None else str(audit_anchor),
        "force": force or None,
        "line_numbers": False if no_line_numbers else None,
        "access": None if access is None else str(access),
        "public_url": public_url,
        "host_devboxes": host_devbox,
        "tls_cert": None if tls_cert is None else str(tls_cert),
        "tls_key": None if tls_key is None else str(tls_key),
        "redis": redis_url,
        "rate_operations": rate_operations,
        "rate_bytes": rate_bytes,
        "max_transfers": max_transfers,
        "writers": writers,
        "header_timeout": header_timeout,
        "body_timeout": body_timeout,
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
        for name, file in (("token", token_file), ("secret", secret_file), ("audit_key", audit_key_file)):
            if file is not None:
                options[name] = _read_secret(file, name.replace("_", " "))
        settings = load_settings({name: value for name, value in options.items() if value not in (None, [])}, config)
        _start(_run(settings), settings)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _start(main: Coroutine[Any, Any, None], settings: Settings) -> None:
    if settings.http is None:
        import asyncio

        asyncio.run(main)
        return
    from devbox_mcp.errors import Unsupported
    from devbox_mcp.extras import GATEWAY

    try:
        GATEWAY.require()
    except Unsupported as error:
        main.close()
        _refuse(f"{error.detail}; {error.hint}")
    from devbox_mcp.servers import serving

    serving.run(main)


def _read_secret(file: Path, what: str) -> SecretStr:
    from pydantic import SecretStr

    try:
        secret = file.read_text().strip()
    except OSError as error:
        _refuse(f"cannot read the {what} file {file}: {error.strerror}")
    except UnicodeDecodeError:
        _refuse(f"the {what} file {file} is not UTF-8 text")
    if not secret:
        _refuse(f"the {what} file {file} is empty; write the {what} into it")
    return SecretStr(secret)


def load_settings(options: dict[str, Any], config: Path | None) -> Settings:
    """Merge what was given with the environment and the file; what is wrong ends the command with one sentence."""
    from pydantic import ValidationError

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
    from devbox_mcp.cli.memory import starting

    with starting():
        from devbox_mcp.errors import DevboxError
        from devbox_mcp.sandboxes import Sandboxes
        from devbox_mcp.servers.mcp import stdio

    # before a devbox is opened: what is started for that, a credential plugin or ssh, inherits stdin
    pipes = None if settings.http is not None else stdio.claim()
    try:
        sandboxes = await Sandboxes.open(settings)
    except DevboxError as error:
        hint = f"; {error.hint}" if error.hint else ""
        which = "" if str(error.path) == "." else f" {error.path}"
        _refuse(f"cannot open the devbox{which}: {error.detail}{hint}")
    except (OSError, ValueError) as error:
        _refuse(str(error))
    for absent in sandboxes.absent:
        why = absent.refusal("open")
        typer.echo(f"devbox-mcp: devbox {absent.name}: {why.detail}; {why.hint}", err=True)
    try:
        await _serve(sandboxes, settings, pipes)
    finally:
        await sandboxes.aclose()


async def _serve(sandboxes: Sandboxes, settings: Settings, pipes: stdio.Pipes | None) -> None:
    # imported late: the command's help and its errors need none of this
    from devbox_mcp.cli.memory import expect_requests, keep_freed, starting
    from devbox_mcp.servers.mcp.server import Door

    keep_freed()
    door = Door(sandboxes, settings, over_stdio=settings.http is None)
    try:
        if settings.http is None:
            from devbox_mcp.servers.mcp import stdio

            await _until_told(stdio.serve(door.server, pipes))
            return
        with starting():
            from devbox_mcp.servers import gateway, serving
            from devbox_mcp.servers.guarding.logs import log_as_json

        expect_requests()
        log_as_json(veil=settings.veil)
        host, port = serving.split_address(settings.http)
        try:
            tls = serving.load_tls(settings.tls_cert, settings.tls_key)
            with starting():
                app = gateway.create_app(sandboxes, settings, door, host)
            listener = serving.bind(host, port)
        except OSError as error:
            _refuse(f"cannot listen on {settings.http}: {error.strerror}; choose another HOST:PORT")
        except ValueError as error:
            _refuse(str(error))
        names = ", ".join(f"{name} ({sandboxes.root_of(name) or 'not reached yet'})" for name in sandboxes.names)
        # the port may have been 0, for any that is free
        address = f"{settings.http.rpartition(':')[0]}:{listener.getsockname()[1]}"
        scheme = "http" if tls is None else "https"
        typer.echo(f"devbox-mcp serves {names} at {scheme}://{address}/mcp", err=True)
        typer.echo(f"devbox-mcp tells its HTTP API at {scheme}://{address}/docs", err=True)
        timeouts = serving.Timeouts(settings.header_timeout, settings.body_timeout)
        await serving.serve(app, listener, app.end, timeouts=timeouts, on_refusal=app.refused, tls=tls)
    finally:
        await door.aclose()


async def _until_told(serving: Coroutine[Any, Any, None]) -> None:
    """Run to the end or until SIGTERM or SIGHUP, so that what is open then is closed as at any other end."""
    import asyncio

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
