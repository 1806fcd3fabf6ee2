"""From a transport to an open session: the guest started, its source sent, its first frame checked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from devbox_mcp.errors import DevboxError, Integrity, NotDirectory, NotFound, Timeout, Unavailable, Unsupported
from devbox_mcp.guest import bootstrap, frames
from devbox_mcp.session.bundle import bundle, command
from devbox_mcp.session.link import Link
from devbox_mcp.transports.base import Channel, ExecTransport

_GREETING = 20.0  # seconds for Python to start and the guest to speak, of the thirty that a connection has
_VERDICT = 2.0  # seconds for the exit status that says why there is no answer
_NOT_STARTED = (126, 127)  # what shells, and programs like them, say of a program that they cannot start

_KILLED = 128  # and the number of the signal


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the guest is asked for: its ``root`` (None: the directory that it is started in), what is forbidden beneath
    it, and whether to resolve paths by ``openat2`` where the kernel has it. ``python`` is the program to start. When
    nothing is heard from here for ``silence`` seconds, the guest ends itself."""

    root: str | None = None
    deny: Sequence[str] = ()
    read_only: bool = False
    openat2: bool = True
    python: str = "python3"
    silence: float = 75.0

    def meta(self) -> dict[str, Any]:
        """Return it as the first frame says it."""
        return {
            "version": frames.VERSION,
            "root": self.root,
            "deny": list(self.deny),
            "read_only": self.read_only,
            "openat2": self.openat2,
            "silence": self.silence,
        }


@dataclass(frozen=True, slots=True)
class Hello:
    """What the guest says of itself: its root's path, the user it runs as, its Python, what it can do, and how many
    bytes there is room for."""

    root: str
    uid: int
    pid: int
    python: str
    operations: frozenset[str]
    free: int


async def open_session(
    transport: ExecTransport, wanted: Wanted, *, beat: float = 20.0, silence: float = 60.0
) -> tuple[Link, Hello]:
    """Start a guest and greet it. Raises Unsupported where there is no Python for it, Integrity where something else
    answers in its name, and Timeout where nothing does, each with ``data["program"]``; NotFound, NotDirectory and
    PermissionDenied for the root; Unavailable, Integrity."""
    channel = await transport.start(command(wanted.python))
    link = Link(channel, beat=beat, silence=silence)
    try:
        async with asyncio.timeout(_GREETING):
            return link, _hello(await link.greet(bundle(), wanted.meta()))
    except (NotFound, NotDirectory) as error:
        await link.aclose()
        detail = "the root does not exist there" if isinstance(error, NotFound) else "the root is not a directory"
        raise type(error)("open", ".", detail, hint="name a directory of the sandbox as its root") from error
    except Unavailable as error:
        try:
            reason = await _reason(channel, wanted.python, error)
        finally:
            await link.aclose()  # the guest may be there all the same, and have said that the root is not
        raise reason from error
    except (Integrity, TimeoutError) as error:
        await link.aclose()
        raise _another(wanted.python, error) from error
    except BaseException:
        await link.aclose()
        raise


def _hello(meta: Any) -> Hello:
    kinds = {"version": int, "root": str, "uid": int, "pid": int, "python": str, "operations": list, "free": int}
    if not isinstance(meta, dict) or any(type(meta.get(name)) is not kind for name, kind in kinds.items()):
        raise Integrity("open", ".", "the guest does not introduce itself properly")
    if meta["version"] != frames.VERSION or not meta["root"].startswith("/"):
        raise Integrity("open", ".", "the guest does not introduce itself properly")
    operations = frozenset(name for name in meta["operations"] if isinstance(name, str))
    return Hello(meta["root"], meta["uid"], meta["pid"], meta["python"], operations, meta["free"])


def _another(python: str, error: Exception) -> DevboxError:
    """Return what is wrong with a program of Python's name that does not run the guest."""
    if isinstance(error, Integrity):
        detail = f"{python} says something else there than the guest does"
        return Integrity("open", ".", detail, hint=_hint(python), program=python)
    detail = f"{python} said nothing there for {_GREETING:g} seconds"
    return Timeout("open", ".", detail, hint=_hint(python), program=python)


def _hint(python: str) -> str:
    return f"put {python} 3.8 or newer into the container; without it only the shell dialect is left"


async def _reason(channel: Channel, python: str, error: DevboxError) -> DevboxError:
    """Return why the guest ended before it said anything, as its exit status tells it."""
    status, said = None, ""
    with suppress(TimeoutError, DevboxError):
        ended = await asyncio.wait_for(channel.exit(), _VERDICT)
        status, said = ended.status, ended.stderr.strip().rpartition("\n")[2]
    hint = _hint(python)
    if status == bootstrap.TOO_OLD:
        return Unsupported("open", ".", f"{python} is older than 3.8 there", hint=hint, program=python)
    if status in _NOT_STARTED:
        return Unsupported("open", ".", f"{python} cannot be started there", hint=hint, program=python)
    if status == bootstrap.DAMAGED:
        return Integrity("open", ".", "the guest's source did not arrive as it was sent", hint="try again")
    if status in (None, 0, bootstrap.INCOMPLETE) or status > _KILLED:
        return error  # the connection ended first, or somebody else ended the process
    # the interpreter is there, and cannot run the guest: it will not the next time either
    detail = f"{python} ended with status {status}{': ' + said if said else ''}"
    return Unsupported("open", ".", detail, hint=hint, program=python)
