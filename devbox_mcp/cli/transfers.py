"""Files from one place to another: streamed, verified by sha256, each replaced whole or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext

from devbox_mcp.cli import pipes
from devbox_mcp.cli.batching import Batches
from devbox_mcp.cli.boxes import Box, Place, opened
from devbox_mcp.cli.failing import EXIT_CODES, Failed, wrong_usage
from devbox_mcp.cli.locations import Location
from devbox_mcp.cli.meter import Meter
from devbox_mcp.cli.output import Output
from devbox_mcp.cli.running import tell, warn
from devbox_mcp.cli.walking import each, excluding, walk
from devbox_mcp.errors import NotFound
from devbox_mcp.guest.policy import Policy
from devbox_mcp.models import BatchItem, Capability, FileInfo, Written
from devbox_mcp.paths import SandboxPath

_SMALL = 128 * 1024
#: Streams that are open at a time.
_LARGE_AT_ONCE = 6
#: What will not be otherwise for the next file.
_HOPELESS = frozenset({"unavailable", "timeout", "no_space", "unauthenticated", "forbidden", "read_only"})


class Transfer:
    """Copies from one box to another. ``failed`` is the exit code of the first file that could not be copied, 0 while
    all went well."""

    def __init__(
        self, source: Box, target: Box, output: Output, meter: Meter, *, overwrite: bool = True, follow: bool = False
    ) -> None:
        """Without ``overwrite`` what exists is an error; with ``follow`` links to files are copied as files."""
        self._source = source
        self._target = target
        self._output = output
        self._meter = meter
        self._overwrite = overwrite
        self._follow = follow
        self.failed = 0
        self._few = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._batches: Batches | None = None

    @asynccontextmanager
    async def many(self) -> AsyncIterator[None]:
        """Let small files that are copied in the block go together, where that is possible."""
        if not self._overwrite or Capability.BATCH not in self._target.sandbox.capabilities:
            yield
            return
        async with Batches(self._target.sandbox) as self._batches:
            yield
        self._batches = None

    async def file(self, info: FileInfo, destination: SandboxPath) -> None:
        """Copy one file. Raises Failed."""
        if self._source.sandbox is self._target.sandbox and info.target is None:
            await self._there(info, destination)
        else:
            async with self._few if info.size > _SMALL else nullcontext():
                await self._through_here(info, destination)

    async def _there(self, info: FileInfo, destination: SandboxPath) -> None:
        with self._target.telling():
            await self._target.sandbox.copy(info.path, destination, overwrite=self._overwrite)
        self._meter.add(info.size)
        self._tell(self._source.spell(info.path), destination, info.size, None)

    async def _through_here(self, source: FileInfo, destination: SandboxPath) -> None:
        with self._source.telling():
            content = await self._source.sandbox.read_bytes(source.path)
        digest = hashlib.sha256()

        async def passing() -> AsyncIterator[bytes]:
            with self._source.telling():
                async for chunk in content:
                    digest.update(chunk)
                    self._meter.add(len(chunk))
                    yield chunk

        executable = True if content.info.mode & stat.S_IXUSR else None
        try:
            if content.info.size <= _SMALL:
                data = b"".join([chunk async for chunk in passing()])
                written = await self._write_small(BatchItem(destination, data, executable))
            else:
                written = await self._write(destination, passing(), executable=executable)
        finally:
            await content.aclose()
        if written.info.sha256 not in (None, digest.hexdigest()):
            where = self._target.spell(destination)
            raise Failed("integrity", where, "the bytes there are not those that were sent", "repeat")
        self._tell(self._source.spell(source.path), destination, content.info.size, digest.hexdigest())

    async def stream(self, path: str, destination: SandboxPath) -> None:
        """Write what comes from a pipe until its end. Raises Failed."""
        digest = hashlib.sha256()
        size = 0

        async def passing() -> AsyncIterator[bytes]:
            nonlocal size
            async for chunk in pipes.read(path):
                digest.update(chunk)
                size += len(chunk)
                self._meter.add(len(chunk))
                yield chunk

        await self._write(destination, passing(), executable=None)
        self._tell(path, destination, size, digest.hexdigest())

    async def tree(self, source: SandboxPath, destination: SandboxPath, excluded: Policy) -> None:
        """Copy everything in a directory into another. What fails is told and the rest goes on, unless it would fail
        as well. Raises Failed."""
        self._not_into_itself(source, destination)
        with self._target.telling():
            await self._target.sandbox.make_dir(destination)
        entries = walk(self._source, source, excluded=excluded, unreadable=self.fail)

        async def one(info: FileInfo) -> None:
            below = info.path.below(source)
            try:
                await self._entry(info, destination.child(below))
            except Failed as failure:
                self.fail(failure)

        async with self.many():
            await each(entries, one)

    def fail(self, failure: Failed) -> None:
        """Tell what happened to one of many. Raises the failure where it is not about that one alone."""
        if failure.code in _HOPELESS:
            raise failure
        self.failed = self.failed or failure.exit_code
        tell(failure)

    async def _entry(self, info: FileInfo, destination: SandboxPath) -> None:
        if info.type == "symlink" and self._follow:
            with self._source.telling():
                info = await self._source.sandbox.stat(info.path)
        if info.type == "directory" and info.target is None:
            with self._target.telling():
                await self._target.sandbox.make_dir(destination)
        elif info.type == "file":
            self._meter.expect(info.size)
            await self.file(info, destination)
        else:
            kind = "a link" if info.target is not None else f"a {info.type}"
            warn(f"{self._source.spell(info.path)}: {kind} is not copied")

    async def _write(
        self, destination: SandboxPath, data: bytes | AsyncIterator[bytes], *, executable: bool | None
    ) -> Written:
        with self._target.telling():
            return await self._target.sandbox.write(
                destination, data, mode="overwrite" if self._overwrite else "create", executable=executable
            )

    async def _write_small(self, item: BatchItem) -> Written:
        if self._batches is None:
            return await self._write(item.path, item.data, executable=item.executable)
        with self._target.telling():
            return await self._batches.write(item)

    def _tell(self, source: str, destination: SandboxPath, size: int, sha256: str | None) -> None:
        self._meter.done()
        if self._output.as_json:
            name = self._target.sandbox.name
            self._output.record(
                {"source": source, "path": destination.shown(name), "bytes": size, "sha256": sha256}
            )  # fmt: skip

    def _not_into_itself(self, source: SandboxPath, destination: SandboxPath) -> None:
        if overlap(self._source, source, self._target, destination):
            raise wrong_usage(f"{self._source.spell(source)} cannot be copied into itself")


def overlap(source: Box, path: SandboxPath, target: Box, destination: SandboxPath) -> bool:
    """Whether one directory is the other, or the destination lies in the source."""
    if source.is_local and target.is_local:
        above = os.path.realpath(os.path.join(source.sandbox.root, path.text))  # noqa: PTH118  surrogates too
        below = os.path.realpath(os.path.join(target.sandbox.root, destination.text))  # noqa: PTH118  as above
        return below == above or below.startswith(above.rstrip("/") + "/")
    same = source.sandbox is target.sandbox
    return same and (path.is_root or destination == path or destination.text.startswith(f"{path.text}/"))


async def copy_all(
    sources: Sequence[Location],
    target: Location,
    *,
    overwrite: bool,
    follow: bool,
    exclude: Sequence[str],
    as_json: bool,
) -> int:
    """Copy several places to one and return the exit code. Raises Failed."""
    excluded = excluding(exclude)
    output = Output(as_json=as_json)
    if target.is_stdout and as_json:
        raise wrong_usage("--json and a file on stdout would mix")
    piped = [location for location in sources if location.devbox is None and pipes.is_pipe(location.path)]
    if piped and len(sources) > 1:
        raise wrong_usage(f"what comes from {piped[0].text} has no name in a directory; copy it alone")
    meter = Meter()
    failed = 0
    async with opened([target, *(location for location in sources if location not in piped)], "copy") as places:
        destination, *found = places
        into = len(sources) > 1 or target.says_directory
        if len(sources) > 1 and not target.is_stdout and await kind_of(destination) not in (None, "directory"):
            raise Failed("not_directory", target.text, "several things cannot be copied to one file")
        with meter.running(f"to {target.text}"):
            for location in piped:
                transfer = Transfer(destination.box, destination.box, output, meter, overwrite=overwrite)
                await _from_pipe(location, destination, transfer)
            for place in found:
                if target.is_stdout:
                    await to_stdout(place, output)
                    continue
                transfer = Transfer(place.box, destination.box, output, meter, overwrite=overwrite, follow=follow)
                await _copy(place, destination, transfer, excluded, into=into)
                failed = failed or transfer.failed
    return failed


async def _copy(source: Place, target: Place, transfer: Transfer, excluded: Policy, *, into: bool) -> None:
    """Copy a file, or a directory with everything in it. ``into`` says that the target is a directory whether it is
    there or not. Raises Failed."""
    with source.box.telling():
        info = await source.box.sandbox.stat(source.path)
    contents = info.type == "directory" and (source.path.is_root or source.location.says_contents)
    destination = target.path
    if not contents and (into or await kind_of(target) == "directory"):
        destination = destination.child(source.path.name)
    if info.type == "directory":
        await transfer.tree(source.path, destination, excluded)
    elif overlap(source.box, source.path, target.box, destination):
        raise wrong_usage(f"{source.location.text} and {target.location.text} are the same file")
    else:
        await transfer.file(info, destination)


async def _from_pipe(location: Location, target: Place, transfer: Transfer) -> None:
    if target.location.says_directory or await kind_of(target) == "directory":
        raise wrong_usage(f"what comes from {location.text} has no name; write one behind {target.location.text}")
    await transfer.stream(location.path, target.path)


async def kind_of(place: Place) -> str | None:
    """Return the type of what is there, links followed, None for nothing. Raises Failed."""
    if place.path.is_root:
        return "directory"
    with place.box.telling():
        try:
            return (await place.box.sandbox.stat(place.path)).type
        except NotFound:
            return None


async def to_stdout(place: Place, output: Output, *, offset: int = 0, length: int | None = None) -> None:
    """Print a file's bytes. Raises Failed."""
    with place.box.telling():
        content = await place.box.sandbox.read_bytes(place.path, offset=offset, length=length)
    try:
        with place.box.telling():
            async for chunk in content:
                await pipes.write(output, chunk)
    finally:
        await content.aclose()


async def pack(sources: Sequence[Location], target: Location, *, overwrite: bool) -> int:
    """Pack places of one devbox into a zip and return the exit code. Raises Failed."""
    output, meter = Output(), Meter()
    async with opened([*sources, target], "zip") as places:
        *found, destination = places
        box = found[0].box
        with meter.running(f"to {target.text}"):
            with box.telling():
                archive = await box.sandbox.archive([place.path for place in found])

            async def passing() -> AsyncIterator[bytes]:
                with box.telling():
                    async for chunk in archive:
                        meter.add(len(chunk))
                        yield chunk

            if target.is_stdout:
                async for chunk in passing():
                    await pipes.write(output, chunk)
            else:
                with destination.box.telling():
                    await destination.box.sandbox.write(
                        destination.path, passing(), mode="overwrite" if overwrite else "create"
                    )
            meter.files = archive.files
    for path in archive.skipped:
        tell(Failed("permission_denied", box.spell(path), "this is not in the zip, for it cannot be read"))
    return EXIT_CODES["permission_denied"] if archive.skipped else 0
