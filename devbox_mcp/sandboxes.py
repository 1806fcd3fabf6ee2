"""From what an operator writes to open sandboxes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devbox_mcp import paths
from devbox_mcp.audit import AuditLog, NoAudit, audited, open_audit
from devbox_mcp.backends.base import Backend
from devbox_mcp.callers import OPERATOR, Caller
from devbox_mcp.errors import DevboxError, EscapesRoot, InvalidArgument, NotFound
from devbox_mcp.kinds import KINDS, Opening
from devbox_mcp.layers import FileSizeLayer, ReadOnlyLayer
from devbox_mcp.limits import Limits
from devbox_mcp.paths import SandboxPath
from devbox_mcp.recording import Recorder
from devbox_mcp.sandbox import Sandbox
from devbox_mcp.tally import Tally

if TYPE_CHECKING:
    from devbox_mcp.settings import Settings  # most of the time that an import of the SDK would take

_NAME = re.compile(r"[A-Za-z0-9._-]{1,63}")
_NAMED = re.compile(r"(?P<name>[^=/]*)=(?P<url>.*)", re.DOTALL)
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+-]*):(?P<rest>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class DevboxSpec:
    """A devbox as configured: its name, and its kind and target (``local``, a directory)."""

    name: str
    kind: str
    target: str


def parse_specs(texts: Sequence[str]) -> list[DevboxSpec]:
    """Parse DEVBOX arguments: a directory, a URL of one of the KINDS, or ``NAME=`` and one of these.

    Raises ValueError with what to write."""
    specs: list[DevboxSpec] = []
    for text in texts:
        given, url = _split_name(text)
        if given is not None and not _NAME.fullmatch(given):
            raise ValueError(f"{given!r} is no name for a devbox; use letters, digits, '.', '_' and '-'")
        match = _URL.fullmatch(url)
        kind, target = (match["scheme"], match["rest"]) if match is not None else ("local", url)
        if kind not in KINDS:
            shapes = ", ".join(known.shape for known in KINDS.values())
            raise ValueError(f"{text!r}: unknown kind of devbox {kind!r}; write a directory or one of {shapes}")
        if not target:
            raise ValueError(f"{text!r} says nothing behind {kind}:; write {given or 'NAME'}={KINDS[kind].shape}")
        taken = {spec.name for spec in specs}
        if given in taken:
            raise ValueError(f"two devboxes are called {given!r}; give each its own NAME=URL")
        specs.append(DevboxSpec(given or _default_name(kind, target, taken), kind, target))
    return specs


def _split_name(text: str) -> tuple[str | None, str]:
    """Return the name that was given, if one was, and the URL or directory."""
    url = _URL.fullmatch(text)
    named = _NAMED.fullmatch(text)
    if named is None or (url is not None and url["scheme"] in KINDS):
        return None, text
    return named["name"], named["url"]


def _default_name(kind: str, target: str, taken: set[str]) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", KINDS[kind].default_name(target)).strip("-")[:60] or "root"
    if name not in taken:
        return name
    return next(f"{name}-{number}" for number in range(2, len(taken) + 3) if f"{name}-{number}" not in taken)


async def open_devbox(text: str, opening: Opening, limits: Limits) -> Sandbox:
    """Open one DEVBOX for whoever started this process. Raises ValueError with what to write, DevboxError."""
    (spec,) = parse_specs([text])
    return await _open(spec, opening, limits, NoAudit())


async def _open(spec: DevboxSpec, opening: Opening, limits: Limits, audit: AuditLog) -> Sandbox:
    try:
        opened = await KINDS[spec.kind].open(spec.target, opening)
    except DevboxError as error:
        error.path = spec.name  # of several devboxes, this one
        raise
    backend: Backend = FileSizeLayer(opened, limits.file)
    if opening.read_only:
        backend = ReadOnlyLayer(backend)
    return Sandbox(spec.name, backend, await backend.root(), limits, Recorder(audit, spec.name))


class Sandboxes:
    """The open devboxes by name; the first is the default one."""

    def __init__(
        self, opened: Sequence[Sandbox], audit: AuditLog, caller: Caller = OPERATOR, tally: Tally | None = None
    ) -> None:
        self._by_name = {sandbox.name: sandbox for sandbox in opened}
        self._audit = audit
        self._caller = caller
        #: What happens behind them.
        self.tally = tally or Tally()

    def called_by(self, caller: Caller) -> Sandboxes:
        """Return those that a caller may reach, with its rights; the others do not exist for it. Only the whole is
        to be closed."""
        reached = [sandbox.called_by(caller) for sandbox in self if caller.may_reach(sandbox.name)]
        return Sandboxes(reached, self._audit, caller, self.tally)

    @classmethod
    async def open(cls, settings: Settings) -> Sandboxes:
        """Open everything that is configured (the working directory if nothing is). Raises ValueError, OSError,
        DevboxError."""
        specs = parse_specs(settings.devboxes or (".",))
        tally = Tally()
        # over stdio there is one client, and nobody whose requests wait for its writes
        writers = 0 if settings.http is None else settings.writers
        opening = Opening(settings.read_only, settings.deny, settings.force, writers=writers, tally=tally)
        key = None if settings.audit_key is None else settings.audit_key.get_secret_value()
        audit = open_audit(settings.audit_log, key, settings.audit_anchor, settings.veil)
        opened: list[Sandbox] = []
        try:
            for spec in specs:
                opened.append(await _open(spec, opening, settings.limits, audit))
        except BaseException:
            for sandbox in opened:
                await sandbox.aclose()
            audit.close()
            raise
        return cls(opened, audit, tally=tally)

    def __iter__(self) -> Iterator[Sandbox]:
        return iter(self._by_name.values())

    @property
    def names(self) -> list[str]:
        """The names, the default one first."""
        return list(self._by_name)

    @property
    def caller(self) -> Caller:
        """Whose they are."""
        return self._caller

    @property
    def audit(self) -> AuditLog:
        """Where what happens to them is recorded."""
        return self._audit

    @property
    def default(self) -> Sandbox:
        """The one that is meant where none is named. Raises NotFound for a caller who may reach none."""
        for sandbox in self:
            return sandbox
        raise NotFound("resolve", ".", "there is no devbox that these credentials reach", hint="ask the operator")

    def get(self, name: str, op: str) -> Sandbox:
        """Return a devbox by name. Raises NotFound, which tells the names that the caller may reach, and Unavailable
        where that cannot be recorded."""
        sandbox = self._by_name.get(name)
        if sandbox is not None:
            return sandbox
        self._audit.check(op, name)
        with audited(self._audit, self._caller, name, op, "."):
            known = f"the devboxes are: {', '.join(self.names)}" if self.names else "ask the operator"
            error = NotFound(op, name, "there is no devbox of this name", hint=known)
            error.recorded = True
            raise error

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
        # those whose root begins the path come first: only of the others must it be asked, perhaps over a network
        for sandbox in sorted(self, key=lambda sandbox: paths.beneath(path, sandbox.root) is None):
            found = await sandbox.contains(path)
            if found is not None:
                return sandbox, found
        error: DevboxError = EscapesRoot(op, path, "this absolute path is outside the root of every devbox")
        if "\0" in path:
            error = InvalidArgument(op, path, "the path holds a NUL character")
        self._audit.check(op, path)
        with audited(self._audit, self._caller, "", op, path):
            error.recorded = True
            raise error

    async def aclose(self) -> None:
        """Close them all."""
        for sandbox in self:
            await sandbox.aclose()
        self._audit.close()
