"""From what an operator writes to open sandboxes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from devbox_mcp import paths
from devbox_mcp.absent import Absent
from devbox_mcp.audit import AuditLog, NoAudit, open_audit
from devbox_mcp.backends.base import Backend
from devbox_mcp.callers import OPERATOR, Caller
from devbox_mcp.errors import DevboxError, EscapesRoot, InvalidArgument, NotFound, Unavailable
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
#: Seconds in which devboxes are to be reached before the others are served over HTTP without them.
_PATIENCE = 5.0


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


async def _open_all(absent: Sequence[Absent], *, wait: float | None) -> list[Sandbox | Absent]:
    """Open what can be within ``wait`` seconds: what is not reached does not keep the others from being served. With
    None it takes as long as it takes, and one has to be there. Raises ValueError for what makes no sense, and
    DevboxError."""
    await asyncio.wait([one.begin() for one in absent], timeout=wait)
    for one in absent:
        if isinstance(one.failure, ValueError):
            raise one.failure
    if wait is None and absent[0].failure is not None and not any(one.sandbox for one in absent):
        raise absent[0].failure
    return [one.sandbox or one for one in absent]


class Sandboxes:
    """The devboxes by name; the first is the default one. Those that are not reached yet are tried again whenever
    they are asked for."""

    def __init__(
        self,
        devboxes: Sequence[Sandbox | Absent],
        audit: AuditLog,
        caller: Caller = OPERATOR,
        tally: Tally | None = None,
    ) -> None:
        self._by_name = {devbox.name: devbox for devbox in devboxes}
        self._audit = audit
        self._caller = caller
        #: What happens behind them.
        self.tally = tally or Tally()

    def called_by(self, caller: Caller) -> Sandboxes:
        """Return those of all that a caller may reach, with its rights; the others do not exist for it. Only the
        whole is to be closed."""
        view = copy(self)
        view._caller = caller  # noqa: SLF001  of its own kind
        return view

    @classmethod
    async def open(cls, settings: Settings) -> Sandboxes:
        """Open everything that is configured (the working directory if nothing is). Over HTTP, what cannot be reached
        is served all the same; over stdio something has to be there. Raises ValueError, OSError, DevboxError."""
        specs = parse_specs(settings.devboxes or (".",))
        for spec in specs:
            KINDS[spec.kind].check(spec.target)
        tally = Tally()
        # over stdio there is one client, and nobody whose requests wait for its writes
        writers = 0 if settings.http is None else settings.writers
        opening = Opening(settings.read_only, settings.deny, settings.force, writers=writers, tally=tally)
        key = None if settings.audit_key is None else settings.audit_key.get_secret_value()
        audit = open_audit(settings.audit_log, key, settings.audit_anchor, settings.veil)
        absent = [Absent(spec.name, partial(_open, spec, opening, settings.limits, audit)) for spec in specs]
        try:
            devboxes = await _open_all(absent, wait=None if settings.http is None else _PATIENCE)
        except BaseException:
            for one in absent:
                await one.aclose()
            audit.close()
            raise
        return cls(devboxes, audit, tally=tally)

    def __iter__(self) -> Iterator[Sandbox]:
        """Yield those that are open."""
        return (self._met(devbox) for devbox in self._existing() if isinstance(devbox, Sandbox))

    @property
    def names(self) -> list[str]:
        """The names of all, the default one first."""
        return [devbox.name for devbox in self._existing()]

    @property
    def absent(self) -> list[Absent]:
        """Those that are not reached yet."""
        return [devbox for devbox in self._existing() if isinstance(devbox, Absent)]

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
        """The one that is meant where none is named. Raises NotFound for a caller who may reach none, Unavailable
        where it is not reached yet."""
        return self.get(self._default_name(), "resolve")

    def root_of(self, name: str) -> str | None:
        """Return the root of one of the ``names``, None where it is not reached yet."""
        devbox = self._by_name[name]
        return devbox.root if isinstance(devbox, Sandbox) else None

    def get(self, name: str, op: str) -> Sandbox:
        """Return a devbox by name. Raises NotFound, which tells the names that the caller may reach, and Unavailable
        where it is not reached yet or that cannot be recorded."""
        return self._given(self._find(name), name, op)

    async def reach(self, name: str | None, op: str) -> Sandbox:
        """Return a devbox by name, or the default one, having tried to reach it if need be. Raises what ``get``
        does."""
        if name is None:
            name = self._default_name()
        devbox = self._find(name)
        if isinstance(devbox, Absent):
            with suppress(Unavailable):  # which is raised below, on record
                devbox = await self._try(devbox, op)
        return self._given(devbox, name, op)

    async def probe(self, name: str) -> None:
        """Find out whether a devbox answers, or by now can be reached; no operation to audit. Raises DevboxError."""
        devbox = self._by_name[name]
        await (await self._try(devbox, "probe") if isinstance(devbox, Absent) else devbox).probe()

    async def _try(self, absent: Absent, op: str) -> Sandbox:
        """Reach a devbox, from now on for everybody. Raises Unavailable."""
        self._by_name[absent.name] = sandbox = await absent.reach(op)
        return sandbox

    def _existing(self) -> Iterator[Sandbox | Absent]:
        """Yield what exists for the caller."""
        return (devbox for devbox in self._by_name.values() if self._caller.may_reach(devbox.name))

    def _default_name(self) -> str:
        for devbox in self._existing():
            return devbox.name
        raise NotFound("resolve", ".", "there is no devbox that these credentials reach", hint="ask the operator")

    def _find(self, name: str) -> Sandbox | Absent | None:
        return self._by_name.get(name) if self._caller.may_reach(name) else None

    def _given(self, devbox: Sandbox | Absent | None, name: str, op: str) -> Sandbox:
        """Return a devbox as the caller meets it. Raises NotFound, Unavailable."""
        if devbox is None:
            known = f"the devboxes are: {', '.join(self.names)}" if self.names else "ask the operator"
            raise self._recorded(NotFound(op, name, "there is no devbox of this name", hint=known), name)
        if isinstance(devbox, Absent):
            raise self._recorded(devbox.refusal(op), name)
        return self._met(devbox)

    def _met(self, devbox: Sandbox) -> Sandbox:
        return devbox if self._caller is OPERATOR else devbox.called_by(self._caller)

    def _recorded(self, error: DevboxError, devbox: str, path: str = ".") -> DevboxError:
        """Return it, on record. Raises Unavailable where that cannot be done."""
        Recorder(self._audit, devbox, self._caller).refused(error.op, path, error)
        return error

    async def resolve(self, devbox: str | None, path: str, op: str) -> tuple[Sandbox, SandboxPath]:
        """Return the devbox that is meant and the path in it.

        Without ``devbox``, a ``devbox://`` URI or an absolute path chooses the one that contains it, and any other
        path is the default one's. Raises NotFound, InvalidArgument, EscapesRoot.
        """
        uri = paths.split_uri(path)
        if devbox is not None or uri is not None:
            name = devbox if devbox is not None else uri[0] if uri is not None else ""
            sandbox = await self.reach(name, op)
            return sandbox, await sandbox.parse(path, op)
        if not paths.is_absolute(path) or len(self.names) == 1:
            sandbox = await self.reach(None, op)
            return sandbox, await sandbox.parse(path, op)
        try:
            paths.check_means_file(path, op)
        except DevboxError as refusal:
            raise self._recorded(refusal, "", path) from None
        # those whose root begins the path come first: only of the others must it be asked, perhaps over a network
        for sandbox in sorted(self, key=lambda sandbox: paths.beneath(path, sandbox.root) is None):
            found = await sandbox.contains(path)
            if found is not None:
                return sandbox, found
        error: DevboxError = EscapesRoot(op, path, "this absolute path is outside the root of every devbox")
        if "\0" in path:
            raise self._recorded(InvalidArgument(op, path, "the path holds a NUL character"), "", path)
        for absent in self.absent:
            try:
                sandbox = self._met(await self._try(absent, op))
            except Unavailable as unavailable:  # so it cannot be told whether the path is in it
                error = unavailable
                continue
            found = await sandbox.contains(path)
            if found is not None:
                return sandbox, found
        raise self._recorded(error, "", path)

    async def resolve_beside(
        self, other: Sandbox | None, devbox: str | None, path: str, op: str
    ) -> tuple[Sandbox, SandboxPath]:
        """Do as ``resolve`` for one of several paths that have to be of one devbox, ``other`` if it is known already.
        A relative path is never taken for one of another devbox than the default one. Raises InvalidArgument."""
        sandbox, parsed = await self.resolve(devbox, path, op)
        if other is not None and other.name != sandbox.name:
            error = InvalidArgument(
                op, path, f"this is in the devbox {sandbox.name}, and what comes before it in {other.name}",
                hint=f"pass devbox, or devbox://{other.name}/… if that is meant; one call works in one devbox",
            )  # fmt: skip
            raise self._recorded(error, sandbox.name, path)
        return sandbox, parsed

    async def aclose(self) -> None:
        """Close them all."""
        for devbox in self._by_name.values():
            await devbox.aclose()
        self._audit.close()
