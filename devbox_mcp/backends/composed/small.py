"""The small contract as the rooms of this package use it, and how errors get the name of the whole operation."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio

from devbox_mcp.backends.base import Backend
from devbox_mcp.errors import DevboxError, NotDirectory, NotFound, TooManyLinks, from_code
from devbox_mcp.guest.errors import GuestError
from devbox_mcp.models import Content, FileInfo
from devbox_mcp.paths import ROOT, SandboxPath

_MOST_LINKS = 40
#: What says that an entry which was there is no longer, or no longer the same.
GONE = (NotFound, NotDirectory)
#: Codes of what fails for a single entry, and says nothing about the next one.
_OF_ONE = frozenset(
    {"permission_denied", "denied", "escapes_root", "too_many_links", "invalid_argument", "unsupported"}
    | {"is_directory", "not_directory", "not_found", "io_error", "conflict"}
)
_IDENTITY = re.compile(r"[^-]+")


def of_one(error: DevboxError) -> bool:
    """Whether an error is about one entry only, so that the rest can be gone on with."""
    return error.code in _OF_ONE


@contextmanager
def as_one(op: str) -> Iterator[None]:
    """Let errors in the block, the guest's too, be errors of this operation."""
    try:
        yield
    except GuestError as error:
        raise from_code(error.code, op, error.path, error.detail, error.hint, error.data) from error
    except DevboxError as error:
        error.op = op
        raise


@asynccontextmanager
async def closing(content: Content) -> AsyncIterator[Content]:
    """End a content with the block, whatever ends that."""
    try:
        yield content
    finally:
        with anyio.CancelScope(shield=True):
            await content.aclose()


def identity(info: FileInfo) -> str:
    """Return what tells this file or directory from every other one, whatever it is called."""
    found = _IDENTITY.match(info.revision)
    return found.group() if found is not None else ""


class Resolver:
    """Resolves links by their texts, remembering the directories it came through; for one call."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._directories: dict[str, SandboxPath] = {}

    async def resolve(self, path: SandboxPath, *, follow: bool = True) -> SandboxPath:
        """Return the path without links on its way, nor with ``follow`` at its end; what is not there stays as it
        is written. Raises EscapesRoot, TooManyLinks, …"""
        if path.is_root:
            return path
        parent = await self._directory(path)
        return await self._step(parent, path.name, path, follow=follow)

    async def _directory(self, path: SandboxPath) -> SandboxPath:
        above = path.text.rpartition("/")[0]
        if not above:
            return ROOT
        if above not in self._directories:
            self._directories[above] = await self.resolve(SandboxPath(above))
        return self._directories[above]

    async def _step(self, parent: SandboxPath, name: str, asked: SandboxPath, *, follow: bool) -> SandboxPath:
        """Go on from a resolved directory by one name, and by the targets of links as long as there are any."""
        here, pending, links = parent, [name], 0
        while pending:
            part = pending.pop()
            if part == "..":
                # from the root it would climb out, and the backend said so when it was asked about the whole path
                here = SandboxPath(here.text.rpartition("/")[0] or ".")
                continue
            place = here.child(part)
            target = await self._target(place) if pending or follow else None
            if target is None:
                here = place
                continue
            links += 1
            if links > _MOST_LINKS:
                raise TooManyLinks("stat", asked.text, "too many symbolic links in a row")
            if target.startswith("/"):
                beneath = await self._backend.relative(target)
                if beneath is None:
                    return place  # it leads out: whoever uses the path is told
                here, target = ROOT, beneath.text
            pending += [part for part in reversed(target.split("/")) if part not in ("", ".")]
        return here

    async def _target(self, place: SandboxPath) -> str | None:
        try:
            return (await self._backend.stat(place, follow=False)).target
        except GONE:
            return None
