"""Files in a container that has a shell but no Python.

Paths, links, policy, pages and versions are judged here; the shell does what has to be done where the files are, one
request each. What a shell cannot keep of the contract: between its look at a name and the tool that uses it, a program
in the sandbox may put a link in its place (the directory itself is a handle and cannot be exchanged). Extended
attributes of replaced files are kept only where ``cp`` is GNU's, and the lock of changes counts among shells only
where ``flock`` is missing.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from devbox_mcp.backends.composed import Composed
from devbox_mcp.backends.shell.asking import Asker, to_the_end, told_as
from devbox_mcp.backends.shell.batches import Batches
from devbox_mcp.backends.shell.changes import Changes
from devbox_mcp.backends.shell.describing import described
from devbox_mcp.backends.shell.places import Way
from devbox_mcp.backends.shell.pool import Pool
from devbox_mcp.backends.shell.reads import Reading
from devbox_mcp.backends.shell.records import parse_stat, renamed
from devbox_mcp.backends.shell.session import PATIENCE, SILENCE
from devbox_mcp.backends.shell.trees import Listing, cursor_key
from devbox_mcp.backends.shell.uploads import Terms, Uploads
from devbox_mcp.errors import Conflict, DevboxError, InvalidArgument, NotFound
from devbox_mcp.guest.globs import Glob
from devbox_mcp.guest.policy import Policy
from devbox_mcp.guest.versions import check_prefix
from devbox_mcp.models import BatchItem, BatchOutcome, Content, Description, FileInfo, Page, WriteMode, Written
from devbox_mcp.paths import SandboxPath, beneath
from devbox_mcp.transports.base import ExecTransport

T = TypeVar("T")


class ShellBackend(Composed):
    """The files beneath a directory, by way of the POSIX shell of the place that ``transport`` leads to."""

    def __init__(
        self,
        transport: ExecTransport,
        root: str = "",
        *,
        policy: Policy | None = None,
        shell: Sequence[str] = ("sh",),
        patience: float = PATIENCE,
        silence: float = SILENCE,
        because: str = "",
    ) -> None:
        """``root`` is an absolute path there; empty stands for the directory that programs start in. Nothing is
        started before the first call. A shell that says nothing for ``patience`` seconds where it should is given
        up, and ends itself when it is asked nothing for ``silence`` seconds. The transport stays the caller's.
        ``because`` says, for people, why a shell does the work."""
        super().__init__()
        self._policy = (policy or Policy()).beneath(lambda rule: beneath(rule, root) if root else None)
        self._transport = transport
        self._because = because
        self.pool = Pool(transport, shell, root, patience, silence)
        self._asker = Asker(self.pool)
        self._uploads = Uploads(self._asker)
        self._changes = Changes(self._asker, self._policy)
        self._batches = Batches(self._asker, self._uploads, self._policy, super().write_batch)

    async def describe(self) -> Description:
        answer = await self._told("describe", ".", self._asker.ask("describe"))
        return described(answer.data, self._transport.name, self._because)

    async def root(self) -> str:
        if self.pool.path is None:
            await self._told("open", ".", self._asker.ask("nop"))
        return os.fsdecode(self.pool.path or b"")

    async def relative(self, absolute: str) -> SandboxPath | None:
        clean = posixpath.normpath(absolute)
        found = await self._told("resolve", ".", self._asker.ask("behind", ["/" + clean.lstrip("/")]))
        if found.words != ["yes"]:
            return None
        return SandboxPath(os.fsdecode(found.data).strip("/") or ".")

    async def stat(self, path: SandboxPath, *, follow: bool = True, sha256: bool = False) -> FileInfo:
        return await self._told("stat", path.text, self._stat(path, follow, sha256))

    async def _stat(self, path: SandboxPath, follow: bool, sha256: bool) -> FileInfo:
        way = Way(path, self._policy, "stat")
        answer = await self._asker.follow(
            [way],
            lambda: self._asker.ask(
                "stat", [way.text, "1" if follow else "", "1" if sha256 else ""], paths=[path.text],
                slow=sha256,
            ),
        )  # fmt: skip
        found = parse_stat(answer.words[1:])
        info = found.info(path, way.target, None if answer.words[0] == "-" else answer.words[0])
        return replace(info, target=os.fsdecode(answer.data)) if info.type == "symlink" else info

    async def list(
        self,
        path: SandboxPath,
        *,
        depth: int = 1,
        glob: str | None = None,
        limit: int = 1000,
        after: SandboxPath | None = None,
        details: bool = False,
    ) -> Page:
        return await self._told("list", path.text, self._list(path, depth, glob, limit, after, details))

    async def _list(
        self, path: SandboxPath, depth: int, glob: str | None, limit: int, after: SandboxPath | None, details: bool
    ) -> Page:
        wanted = None if glob is None else Glob(glob)
        listing = Listing(
            self._asker, Way(path, self._policy, "list"), path, self._policy,
            depth=depth, most=limit + 1, after=cursor_key(path, after), glob=wanted,
        )  # fmt: skip
        found = await listing.run()
        entries = [
            renamed(info, path.child(info.path.text))
            if details
            else FileInfo(path.child(info.path.text), info.type, target=info.target)
            for info in found[:limit]
        ]
        return Page(
            entries,
            entries[-1].path if len(found) > limit else None,
            [path.child(text) for text in listing.unreadable],
        )

    async def read(self, path: SandboxPath, *, offset: int = 0, length: int | None = None) -> Content:
        with told_as("read", path.text, changes=False):
            way = Way(path, self._policy, "read")
            return await to_the_end(Reading(self._asker, self.pool, way, path).open(offset, length))

    async def write(
        self,
        path: SandboxPath,
        data: bytes | AsyncIterator[bytes],
        *,
        mode: WriteMode = "overwrite",
        if_match: str | None = None,
        executable: bool | None = None,
        in_place: bool = False,
    ) -> Written:
        if mode not in ("overwrite", "create", "append"):
            raise InvalidArgument("write", path.text, "mode is one of overwrite, create, append")
        terms = Terms(mode, if_match, executable, in_place)
        with told_as("write", path.text, changes=True):
            self._may_change(path, if_match)
            way = Way(path, self._policy, "write")
        try:
            with told_as("write", path.text, changes=True):
                return await self._uploads.write(way, path, data, terms)
        except NotFound as error:
            raise _missing(error, if_match) from error

    async def write_batch(self, items: Sequence[BatchItem], *, atomic: bool = False) -> Sequence[BatchOutcome]:
        return await (super().write_batch(items, atomic=True) if atomic else self._batches.write(items))

    async def mkdir(self, path: SandboxPath) -> bool:
        return await self._change("mkdir", path, self._changes.mkdir(path))

    async def delete(self, path: SandboxPath, *, recursive: bool = False, if_match: str | None = None) -> int:
        return await self._change("delete", path, self._changes.delete(path, recursive, if_match), if_match)

    async def move(
        self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False, if_match: str | None = None
    ) -> FileInfo:
        work = self._changes.move(source, destination, overwrite, if_match)
        return await self._change("move", source, work, if_match)

    async def copy(self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False) -> FileInfo:
        return await self._change("copy", destination, self._changes.copy(source, destination, overwrite))

    async def chmod(self, path: SandboxPath, mode: int, *, recursive: bool = False) -> int:
        if mode & ~0o777:
            raise InvalidArgument("chmod", path.text, "only permission bits can be set, 0 to 0777")
        return await self._change("chmod", path, self._changes.chmod(path, mode, recursive))

    async def aclose(self) -> None:
        await super().aclose()
        await self.pool.aclose()

    def _may_change(self, path: SandboxPath, if_match: str | None = None) -> None:
        check_prefix(if_match, path.text)
        self._policy.check_write(path.text)

    async def _told(self, op: str, path: str, work: Coroutine[Any, Any, T], *, changes: bool = False) -> T:
        with told_as(op, path, changes=changes):
            return await to_the_end(work)

    async def _change(self, op: str, path: SandboxPath, work: Coroutine[Any, Any, T], if_match: str | None = None) -> T:
        try:
            with told_as(op, path.text, changes=True):
                self._may_change(path, if_match)
        except DevboxError:
            work.close()
            raise
        try:
            return await self._told(op, path.text, work, changes=True)
        except NotFound as error:
            raise _missing(error, if_match) from error


def _missing(error: NotFound, if_match: str | None) -> DevboxError:
    """Return the conflict that a missing file is where a version of it is asked for."""
    if if_match is None:
        return error
    return Conflict(error.op, error.path, "the file does not exist", sha256=None)
