"""The kinds of devboxes: what a URL of each means and how it is opened. The only room that names concrete backends.

A container is worked on by the guest where it has Python, and through its shell where it has none; which of the two
is found out once, when it is opened.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.local import LocalBackend
from devbox_mcp.errors import DevboxError, Timeout
from devbox_mcp.extras import HTTP, KUBERNETES
from devbox_mcp.guest.policy import Policy, check_rule
from devbox_mcp.tally import Tally
from devbox_mcp.transports.base import ExecTransport
from devbox_mcp.writers import WritersLayer

if TYPE_CHECKING:
    from devbox_mcp.transports.kubernetes import PodAddress

_ROOT = "?root="
#: Seconds for a shell to speak where Python did not: it may be that nothing does.
_SHELL = 15.0


@dataclass(frozen=True, slots=True)
class Opening:
    """How a devbox is opened: ``read_only`` and the ``deny`` globs hold inside it. ``force`` takes a whole file system
    or home directory as well. ``api_key`` is for a devbox behind HTTP; without it, the environment or the credentials
    file may have one. ``writers`` processes write beside this one where many write to a directory at once. ``tally``
    counts sessions and chunks."""

    read_only: bool = False
    deny: Sequence[str] = ()
    force: bool = False
    api_key: str | None = field(default=None, repr=False)
    writers: int = 0
    tally: Tally = field(default_factory=Tally, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Kind:
    """``shape`` is how its URL is written. ``default_name`` is what a devbox is called that was given no name, from
    what follows the scheme; ``open`` opens it. Both raise ValueError with what to write instead, ``open`` also
    DevboxError where the devbox cannot be reached. ``check`` looks, before anything is reached, for what no waiting
    mends, and raises either."""

    shape: str
    default_name: Callable[[str], str]
    open: Callable[[str, Opening], Awaitable[Backend]]
    check: Callable[[str], object] = str


def open_directory(directory: str) -> Backend:
    """Open a directory of the server's own machine, for what is saved there. Raises DevboxError."""
    return LocalBackend(directory)


async def _open_local(target: str, opening: Opening) -> Backend:
    directory = _resolved(target)
    if not opening.force and directory in (Path("/"), _home()):
        raise ValueError(
            f"{directory} is {'the whole file system' if directory == Path('/') else 'your home directory'}; "
            "name a project directory in it, or pass --force if you mean it"
        )
    if not directory.exists():
        raise ValueError(f"there is no directory {directory}; write the full path of one that is there")
    if not directory.is_dir():
        raise ValueError(f"{directory} is a file, not a directory; name the directory that it is in")
    backend = LocalBackend(str(directory), policy=_policy(opening))
    return _with_writers(backend, opening) if opening.writers else backend


def _with_writers(backend: LocalBackend, opening: Opening) -> Backend:
    from devbox_mcp.backends.exec import ExecBackend  # noqa: PLC0415  spares the local server its time
    from devbox_mcp.transports.process import ProcessTransport  # noqa: PLC0415  as above

    # by its handle, which leads to the same directory whatever takes its name; only Linux has a path for that
    root = f"/proc/{os.getpid()}/fd/{backend.handle}"
    if not _leads_to(root, backend.handle):
        return backend

    def writer() -> Backend:
        return ExecBackend(ProcessTransport(), root, policy=_policy(opening), python=sys.executable, reopens=False)

    return WritersLayer(backend, writer, opening.writers)


def _leads_to(path: str, handle: int) -> bool:
    """Whether a path is that of an open directory: where processes have other numbers to others, it may not be."""
    try:
        return os.path.samestat(Path(path).stat(), os.fstat(handle))
    except OSError:
        return False


def _resolved(target: str) -> Path:
    try:
        return Path(target).expanduser().resolve()
    except RuntimeError:
        raise ValueError(f"{target!r} names a home directory that is not known; write the full path") from None


def _home() -> Path | None:
    """Return the user's home, None where the environment does not tell."""
    try:
        return Path.home().resolve()
    except RuntimeError:
        return None


async def _open_exec(target: str, opening: Opening) -> Backend:
    from devbox_mcp.transports.process import ProcessTransport  # noqa: PLC0415  as above

    command, root = _command(target)
    return await _open_there(lambda: ProcessTransport(command), root, opening)


def _command(target: str) -> tuple[list[str], str | None]:
    """Return the words of a command and the root that it is followed by."""
    text, found, root = target.rpartition(_ROOT)
    if not found:
        text, root = target, ""
    elif not unquote(root).startswith("/"):
        raise ValueError(f"the root {root!r} in exec:{target} is not absolute; write ?root=/some/path")
    try:
        return shlex.split(text), unquote(root) or None
    except ValueError as error:
        raise ValueError(f"exec:{target} is no command: {error}") from None


def _check_exec(target: str) -> None:
    words, _ = _command(target)
    if words and shutil.which(words[0]) is None:
        raise ValueError(f"there is no program {words[0]!r} to start exec:{target} with; install it, or write its path")


def _command_name(target: str) -> str:
    words, _ = _command(target)
    return words[-1] if words else "exec"


async def _open_kubernetes(target: str, opening: Opening) -> Backend:
    from devbox_mcp.transports.kubernetes import KubernetesTransport  # noqa: PLC0415  as above

    address = _pod(target)
    return await _open_there(lambda: KubernetesTransport(address), address.root, opening)


def _pod(target: str) -> PodAddress:
    # imported late: aiohttp alone would double the local server's start
    from devbox_mcp.transports.kubernetes import PodAddress  # noqa: PLC0415

    KUBERNETES.require()
    return PodAddress.parse(f"k8s:{target}")


def _pod_name(target: str) -> str:
    from devbox_mcp.transports.kubernetes import PodAddress  # noqa: PLC0415  as above

    try:
        return PodAddress.parse(f"k8s:{target}").pod
    except DevboxError as error:
        raise ValueError(f"k8s:{target}: {error.detail}; {error.hint}") from None


async def _open_there(transport: Callable[[], ExecTransport], root: str | None, opening: Opening) -> Backend:
    """Open a place behind a transport by the guest, or by the shell dialect where there is no Python for it, or one
    that is something else."""
    from devbox_mcp.backends.exec import ExecBackend  # noqa: PLC0415  as above

    guest = ExecBackend(transport(), root, policy=_policy(opening), tally=opening.tally)
    try:
        await guest.root()
    except BaseException as error:
        await guest.aclose()
        if not (isinstance(error, DevboxError) and "program" in error.data):
            raise
        why = error
    else:
        return guest
    from devbox_mcp.backends.shell import ShellBackend  # noqa: PLC0415  as above

    shell = ShellBackend(transport(), root or "", policy=_policy(opening), because=f"{why.detail}; {why.hint}")
    try:
        async with asyncio.timeout(_SHELL if isinstance(why, Timeout) else None):
            await shell.root()
    except TimeoutError:
        await shell.aclose()
        detail = f"{why.detail}, and a shell nothing for {_SHELL:g}"
        raise Timeout("open", ".", detail, hint="see whether any program starts there") from why
    except BaseException:
        await shell.aclose()
        raise
    return shell


async def _open_http(target: str, opening: Opening, scheme: str) -> Backend:
    HTTP.require()
    from devbox_mcp.backends.http import open_http  # noqa: PLC0415  as above

    if opening.deny:
        raise ValueError(
            "deny rules of a devbox behind HTTP are kept by its server, where links are known; set them there"
        )
    return await open_http(f"{scheme}:{target}", opening.api_key)


def _http_name(target: str) -> str:
    """Return the devbox's name in a URL, or its host's. It never holds a user or a password."""
    above, _, name = target.partition("?")[0].rstrip("/").rpartition("/")
    return name if above.strip("/") else name.rpartition("@")[2]


def _http(scheme: str) -> Kind:
    return Kind(
        f"{scheme}://HOST/v1/devboxes/NAME",
        _http_name,
        lambda target, opening: _open_http(target, opening, scheme),
        lambda _target: HTTP.require(),
    )


def _policy(opening: Opening) -> Policy:
    for rule in opening.deny:
        check_rule(rule)
    return Policy(opening.deny, opening.read_only)


#: By URL scheme.
KINDS = {
    "local": Kind("local:DIR", lambda target: _resolved(target).name, _open_local),
    "exec": Kind("exec:COMMAND?root=/DIR", _command_name, _open_exec, _check_exec),
    "k8s": Kind("k8s://NAMESPACE/POD/CONTAINER?root=/DIR", _pod_name, _open_kubernetes, _pod),
    **{scheme: _http(scheme) for scheme in ("https", "http", "sealos+https", "sealos+http")},
}
