"""Every operation of the contract on one path: for what holds for all of them alike."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass

import pytest

from devbox_mcp.errors import DevboxError
from devbox_mcp.models import BatchItem, Capability

from ..box import Box, at

Call = Callable[[Box, str], Awaitable[object]]


async def _read(box: Box, path: str) -> bytes:
    return await box.read(path)


async def _archive(box: Box, path: str) -> bytes:
    archive = await box.backend.archive([at(path)], max_bytes=1 << 30, max_files=1000)
    return b"".join([chunk async for chunk in archive])


async def _batch(box: Box, path: str) -> None:
    (outcome,) = await box.backend.write_batch([BatchItem(at(path), b"new")])
    if outcome.error is not None:
        raise outcome.error


async def _upload(box: Box, path: str) -> None:
    token = secrets.token_hex(8)
    await box.backend.upload_begin(at(path), token)
    await box.backend.upload_add(at(path), token, 0, b"new")
    await box.backend.upload_finish(at(path), token, 3)


@dataclass(frozen=True)
class Operation:
    """One operation: ``run(box, path)``, whether it changes something, and the capability it belongs to."""

    name: str
    run: Call
    changes: bool = False
    capability: Capability | None = None

    def offered_by(self, box: Box) -> bool:
        """Whether the backend has it."""
        return self.capability is None or self.capability in box.backend.capabilities


#: A path that each operation takes as its source, or as the place where something is to be.
OPERATIONS = [
    Operation("stat", lambda box, path: box.backend.stat(at(path))),
    Operation("hash", lambda box, path: box.backend.stat(at(path), sha256=True)),
    Operation("list", lambda box, path: box.backend.list(at(path), depth=3)),
    Operation("names", lambda box, path: box.backend.names(at(path), depth=3)),
    Operation("read", _read),
    Operation("write", lambda box, path: box.backend.write(at(path), b"new"), changes=True),
    Operation("create", lambda box, path: box.backend.write(at(path), b"new", mode="create"), changes=True),
    Operation("append", lambda box, path: box.backend.write(at(path), b"new", mode="append"), changes=True),
    Operation("in place", lambda box, path: box.backend.write(at(path), b"new", in_place=True), changes=True),
    Operation("mkdir", lambda box, path: box.backend.mkdir(at(path)), changes=True),
    Operation("delete", lambda box, path: box.backend.delete(at(path), recursive=True), changes=True),
    Operation("move", lambda box, path: box.backend.move(at(path), at("moved")), changes=True),
    Operation("move to", lambda box, path: box.backend.move(at("source"), at(path), overwrite=True), changes=True),
    Operation("copy", lambda box, path: box.backend.copy(at(path), at("copied")), changes=True),
    Operation("copy to", lambda box, path: box.backend.copy(at("source"), at(path), overwrite=True), changes=True),
    Operation("chmod", lambda box, path: box.backend.chmod(at(path), 0o700, recursive=True), changes=True),
    Operation(
        "lines",
        lambda box, path: box.backend.read_lines(at(path), first=1, count=None, max_bytes=1 << 20),
        capability=Capability.LINES,
    ),
    Operation("find", lambda box, path: box.backend.find(at(path), "*"), capability=Capability.SEARCH),
    Operation("search", lambda box, path: box.backend.search(at(path), "."), capability=Capability.SEARCH),
    Operation("watch", lambda box, path: box.backend.watch(at(path), timeout=0), capability=Capability.WATCH),
    Operation("archive", _archive, capability=Capability.ARCHIVE),
    Operation("batch", _batch, changes=True, capability=Capability.BATCH),
    Operation("upload", _upload, changes=True, capability=Capability.UPLOAD),
]

NAMES = {operation.name for operation in OPERATIONS}
CHANGES = {operation.name for operation in OPERATIONS if operation.changes}


def offered(box: Box, names: Collection[str] = NAMES) -> list[Operation]:
    """Return the operations of these names that the backend has."""
    assert NAMES.issuperset(names)
    return [operation for operation in OPERATIONS if operation.name in names and operation.offered_by(box)]


async def all_refuse(
    box: Box, paths: Iterable[str], *errors: type[DevboxError], names: Collection[str] = NAMES
) -> list[DevboxError]:
    """Hold every operation on every path to refusing it with one of the errors and changing nothing. All that
    fall short are named at once. Returns the errors."""
    found: list[DevboxError] = []
    faults: list[str] = []
    for path in paths:
        for operation in offered(box, names):
            try:
                with box.refuses(*errors) as caught:
                    await operation.run(box, path)
            except (Exception, pytest.fail.Exception) as fault:  # noqa: BLE001 - whatever it is, it is told
                faults.append(f"{operation.name} {path!a}: {type(fault).__name__}: {fault}")
            found += caught
    assert not faults, "\n".join(["not refused as it should be:", *faults])
    return found
