"""What ``sync`` does: one directory is made like another, and only what differs is copied."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from devbox_mcp.cli.boxes import Place, opened
from devbox_mcp.cli.failing import Failed, wrong_usage
from devbox_mcp.cli.locations import Location
from devbox_mcp.cli.meter import Meter
from devbox_mcp.cli.output import Output
from devbox_mcp.cli.running import warn
from devbox_mcp.cli.transfers import Transfer, kind_of, overlap
from devbox_mcp.cli.walking import each, excluding, walk
from devbox_mcp.guest.policy import Policy
from devbox_mcp.models import FileInfo

_STYLES = {"created": "32", "updated": "33", "deleted": "31"}


async def synchronise(
    source: Location, target: Location, *, delete: bool, dry_run: bool, exclude: Sequence[str], as_json: bool
) -> int:
    """Make the target's directory like the source's; return the exit code. Raises Failed."""
    excluded = excluding(exclude)
    output = Output(as_json=as_json)
    meter = Meter()
    async with opened([source, target], "sync") as (one, other):
        if await kind_of(one) != "directory":
            missing = await kind_of(one) is None
            detail = "there is nothing here" if missing else "this is no directory; cp copies a file"
            raise Failed("not_found" if missing else "not_directory", source.text, detail)
        for inner, outer in ((one, other), (other, one)):
            if overlap(outer.box, outer.path, inner.box, inner.path):
                raise wrong_usage(f"{inner.location.text} lies in {outer.location.text}, or is the same")
        with meter.running(f"to {target.text}"):
            sync = _Sync(one, other, output, meter, delete=delete, dry_run=dry_run)
            return await sync.run(excluded)


@dataclass(frozen=True, slots=True)
class _Step:
    """One entry of the source, and what is at its place in the target."""

    below: str
    wanted: FileInfo
    there: FileInfo | None


class _Sync:
    def __init__(
        self, source: Place, target: Place, output: Output, meter: Meter, *, delete: bool, dry_run: bool
    ) -> None:
        self._source = source
        self._target = target
        self._output = output
        self._meter = meter
        self._delete = delete
        self._dry_run = dry_run
        self._transfer = Transfer(source.box, target.box, Output(), meter)
        #: Directories of the target that went, or would go, with everything in them.
        self._gone: set[str] = set()
        #: Directories of the target that stay, because something excluded lies in them.
        self._holding: set[str] = set()

    async def run(self, excluded: Policy) -> int:
        """Do it, and return the exit code of what failed first."""
        there = await self._there(excluded)
        if not self._dry_run:
            with self._target.box.telling():
                await self._target.box.sandbox.make_dir(self._target.path)
        seen: set[str] = set()
        async with self._transfer.many():
            await each(self._steps(excluded, there, seen), self._step)
        if self._delete and self._transfer.failed:
            warn("nothing was deleted, because not everything could be read or written")
        elif self._delete:
            for below in sorted(there.keys() - seen):
                if below in self._holding:
                    warn(f"{self._target.box.spell(there[below].path)}: stays, for something excluded lies in it")
                elif not any(parent in self._gone for parent in _parents(below)):
                    await self._remove(there[below], below)
        return self._transfer.failed

    async def _there(self, excluded: Policy) -> dict[str, FileInfo]:
        """Return what is in the target by its path below it, and note what holds something excluded."""
        if await kind_of(self._target) is None:
            return {}
        found = {}
        async for info in walk(self._target.box, self._target.path, unreadable=self._transfer.fail):
            below = info.path.below(self._target.path)
            if excluded.denies(below):
                self._holding.update(_parents(below))
            else:
                found[below] = info
        return found

    async def _steps(self, excluded: Policy, there: dict[str, FileInfo], seen: set[str]) -> AsyncIterator[_Step]:
        top = self._source.path
        blocked: set[str] = set()
        async for info in walk(self._source.box, top, excluded=excluded, unreadable=self._transfer.fail):
            below = info.path.below(top)
            seen.add(below)
            if any(parent in blocked for parent in _parents(below)):
                continue
            found = there.get(below)
            if found is not None and _kind(found) != _kind(info) and _kind(info) in ("file", "directory"):
                # what is in the way of a directory has to go before its entries come
                if not await self._make_way(found, below):
                    blocked.add(below)
                    continue
                found = None
            if any(parent in self._gone for parent in _parents(below)):
                found = None
            if info.type == "directory" and info.target is None:
                await self._step(_Step(below, info, found))
            else:
                yield _Step(below, info, found)

    async def _make_way(self, found: FileInfo, below: str) -> bool:
        detail, hint = f"a {_kind(found)} is in the way", "--delete would replace it"
        if below in self._holding:
            detail, hint = f"{detail}, and something excluded lies in it", "move it away, or do not exclude it"
        elif self._delete:
            await self._remove(found, below)
            return True
        self._transfer.fail(Failed("exists", self._target.box.spell(found.path), detail, hint))
        return False

    async def _remove(self, found: FileInfo, below: str) -> None:
        self._gone.add(below)
        if not self._dry_run:
            try:
                with self._target.box.telling():
                    await self._target.box.sandbox.delete(found.path, recursive=True)
            except Failed as failure:
                if failure.code != "not_found":
                    self._transfer.fail(failure)
                    return
        self._tell("deleted", below, found)

    async def _step(self, step: _Step) -> None:
        info, destination = step.wanted, self._target.path.child(step.below)
        try:
            if _kind(info) == "directory":
                if step.there is None:
                    if not self._dry_run:
                        with self._target.box.telling():
                            await self._target.box.sandbox.make_dir(destination)
                    self._tell("created", step.below, info)
            elif _kind(info) != "file":
                warn(f"{self._source.box.spell(info.path)}: a {_kind(info)} is not copied")
            elif step.there is None or not await self._same(info, step.there):
                if not self._dry_run:
                    self._meter.expect(info.size)
                    await self._transfer.file(info, destination)
                self._tell("created" if step.there is None else "updated", step.below, info)
        except Failed as failure:
            self._transfer.fail(failure)

    async def _same(self, wanted: FileInfo, there: FileInfo) -> bool:
        if wanted.size != there.size:
            return False
        with self._source.box.telling():
            one = await self._source.box.sandbox.stat(wanted.path, sha256=True)
        with self._target.box.telling():
            other = await self._target.box.sandbox.stat(there.path, sha256=True)
        return one.sha256 is not None and one.sha256 == other.sha256

    def _tell(self, action: str, below: str, info: FileInfo) -> None:
        if self._output.as_json:
            path = self._target.path.child(below).shown(self._target.box.sandbox.name)
            self._output.record(
                {"action": action, "path": path, "type": _kind(info), "size": info.size, "dry_run": self._dry_run}
            )
            return
        slash = "/" if _kind(info) == "directory" else ""
        self._output.line(
            self._output.styled(f"{action:<8}", _STYLES[action]), " ", self._output.name(below), slash
        )  # fmt: skip


def _kind(info: FileInfo) -> str:
    return "link" if info.target is not None else info.type


def _parents(below: str) -> list[str]:
    parts = below.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]
