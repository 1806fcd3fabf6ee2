"""From what an operator writes to open sandboxes; the only room that names concrete backends."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from devbox_mcp import paths
from devbox_mcp.audit import AuditLog, JsonLinesAudit, NoAudit
from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.local import LocalBackend
from devbox_mcp.errors import EscapesRoot, InvalidArgument, NotFound
from devbox_mcp.guest.policy import Policy
from devbox_mcp.layers import FileSizeLayer, ReadOnlyLayer
from devbox_mcp.paths import SandboxPath
from devbox_mcp.sandbox import Sandbox
from devbox_mcp.settings import Settings

_NAME = re.compile(r"[A-Za-z0-9._-]{1,63}")
_NAMED = re.compile(r"(?P<name>[^=/]*)=(?P<url>.*)", re.DOTALL)
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+-]*):(?P<rest>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class DevboxSpec:
    """A devbox as configured: its name, and its kind and target (``local``, a directory)."""

    name: str
    kind: str
    target: str


def _open_local(target: str, settings: Settings) -> Backend:
    directory = _resolved(target)
    if not settings.force and directory in (Path("/"), _home()):
        raise ValueError(
            f"{directory} is {'the whole file system' if directory == Path('/') else 'your home directory'}; "
            "name a project directory in it, or pass --force if you mean it"
        )
    if not directory.exists():
        raise ValueError(f"there is no directory {directory}")
    if not directory.is_dir():
        raise ValueError(f"{directory} is a file, not a directory")
    return LocalBackend(str(directory), policy=Policy(settings.deny, settings.read_only))


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


def open_directory(directory: str) -> Backend:
    """Open a directory of the server's own machine, for what is saved there. Raises DevboxError."""
    return LocalBackend(directory)


#: Kinds of devboxes by URL scheme.
KINDS: dict[str, Callable[[str, Settings], Backend]] = {"local": _open_local}


def parse_specs(texts: Sequence[str]) -> list[DevboxSpec]:
    """Parse DEVBOX arguments: a directory, ``URL`` or ``NAME=URL``. Raises ValueError with what to write."""
    specs: list[DevboxSpec] = []
    for text in texts:
        named = _NAMED.fullmatch(text)
        given, url = (named["name"], named["url"]) if named is not None else (None, text)
        if given is not None and not _NAME.fullmatch(given):
            raise ValueError(f"{given!r} is no name for a devbox; use letters, digits, '.', '_' and '-'")
        match = _URL.fullmatch(url)
        kind, target = (match["scheme"], match["rest"]) if match is not None else ("local", url)
        if kind not in KINDS:
            raise ValueError(f"{text!r}: unknown kind of devbox {kind!r}; write a directory or NAME=local:DIR")
        if not target:
            raise ValueError(f"{text!r} names no directory; write {given or 'NAME'}=local:DIR")
        taken = {spec.name for spec in specs}
        if given in taken:
            raise ValueError(f"two devboxes are called {given!r}; give each its own NAME=URL")
        specs.append(DevboxSpec(given or _default_name(target, taken), kind, target))
    return specs


def _default_name(target: str, taken: set[str]) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", _resolved(target).name).strip("-")[:60] or "root"
    if name not in taken:
        return name
    return next(f"{name}-{number}" for number in range(2, len(taken) + 3) if f"{name}-{number}" not in taken)


def _open_audit(path: str | None) -> AuditLog:
    try:
        return NoAudit() if path is None else JsonLinesAudit(path)
    except OSError as error:
        raise ValueError(f"cannot write the audit log {path}: {error.strerror}") from None


class Sandboxes:
    """The open devboxes by name; the first is the default one."""

    def __init__(self, opened: Sequence[Sandbox], audit: AuditLog) -> None:
        """``opened`` is not empty."""
        self._by_name = {sandbox.name: sandbox for sandbox in opened}
        self._audit = audit
        self.default = opened[0]

    @classmethod
    async def open(cls, settings: Settings) -> Sandboxes:
        """Open everything that is configured (the working directory if nothing is). Raises ValueError, OSError,
        DevboxError."""
        specs = parse_specs(settings.devboxes or (".",))
        audit = _open_audit(settings.audit_log)
        opened = []
        for spec in specs:
            backend: Backend = FileSizeLayer(KINDS[spec.kind](spec.target, settings), settings.max_file_size)
            if settings.read_only:
                backend = ReadOnlyLayer(backend)
            opened.append(Sandbox(spec.name, backend, await backend.root(), settings.limits, audit))
        return cls(opened, audit)

    def __iter__(self) -> Iterator[Sandbox]:
        return iter(self._by_name.values())

    @property
    def names(self) -> list[str]:
        """The names, the default one first."""
        return list(self._by_name)

    def get(self, name: str, op: str) -> Sandbox:
        """Return a devbox by name. Raises NotFound, which tells the names there are."""
        sandbox = self._by_name.get(name)
        if sandbox is None:
            raise NotFound(
                op, name, "there is no devbox of this name", hint=f"the devboxes are: {', '.join(self.names)}"
            )
        return sandbox

    async def resolve(self, devbox: str | None, path: str, op: str) -> tuple[Sandbox, SandboxPath]:
        """Return the devbox that is meant and the path in it.

        Without ``devbox``, a ``devbox://`` URI or an absolute path chooses the one that contains it, and any other
        path is the default one's. Raises NotFound, InvalidArgument, EscapesRoot.
        """
        uri = paths.split_uri(path)
        if devbox is not None or uri is not None:
            name = devbox if devbox is not None else uri[0] if uri is not None else ""
            sandbox = self.get(name, op)
            return sandbox, await sandbox.parse(path, op)
        if not paths.is_absolute(path) or len(self._by_name) == 1:
            return self.default, await self.default.parse(path, op)
        for sandbox in self:
            found = await sandbox.contains(path)
            if found is not None:
                return sandbox, found
        if "\0" in path:
            raise InvalidArgument(op, path, "the path holds a NUL character")
        raise EscapesRoot(op, path, "this absolute path is outside the root of every devbox")

    async def aclose(self) -> None:
        """Close them all."""
        for sandbox in self:
            await sandbox.aclose()
        self._audit.close()
