"""What is recorded, and where records go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from devbox_mcp.callers import Caller
from devbox_mcp.errors import DevboxError


@dataclass(slots=True)
class AuditRecord:
    """One operation of a ``caller``, whose request had ``request_id``. ``result`` is ``ok``, an error's code, or
    ``cancelled``; ``bytes`` what moved; ``sha256`` the content's hash after a write; ``seconds`` how long it took."""

    time: float
    caller: str
    devbox: str
    op: str
    path: str
    request_id: str | None = None
    result: str = "ok"
    destination: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    seconds: float = 0.0

    @property
    def of_operation(self) -> bool:
        """Whether it is of something that was begun in a devbox, not of a request that was refused before."""
        return self.devbox != ""


def refusal(caller: Caller, devbox: str, op: str, path: str, code: str) -> AuditRecord:
    """Return the record of what was refused before it became an operation."""
    return AuditRecord(time.time(), caller.name, devbox, op, path, caller.request_id, code)


class AuditLog(Protocol):
    """Where records go. Nothing is done that cannot be recorded: ``check`` comes before an operation, and where a
    record could not be written it is kept, and whatever is asked next is refused until it is written. What is too
    much to be kept is counted, and the log tells how much that was."""

    def check(self, op: str, path: str) -> None:
        """Raise Unavailable where the log does not take records now; must be quick."""

    def write(self, record: AuditRecord) -> None:
        """Keep one record; must be quick."""

    def close(self) -> None:
        """Flush and release."""


class NoAudit:
    """Keeps nothing: the operator did not ask for a log."""

    def check(self, op: str, path: str) -> None:
        """Nothing can go wrong."""

    def write(self, record: AuditRecord) -> None:
        """Forget the record."""

    def close(self) -> None:
        """Nothing to release."""


@dataclass(slots=True)
class Witness:
    """Knows whether a failure was recorded since it began to look: where an operation went well, and its request was
    refused all the same, that is still to be told."""

    recorded: bool = False


_witness: ContextVar[Witness | None] = ContextVar("witness", default=None)


@contextmanager
def witnessed() -> Iterator[Witness]:
    """Look at what the block records, and the tasks that it starts."""
    witness = Witness()
    token = _witness.set(witness)
    try:
        yield witness
    finally:
        _witness.reset(token)


def keep(log: AuditLog, record: AuditRecord) -> None:
    """Write one record, and let whoever looks know."""
    log.write(record)
    witness = _witness.get()
    if witness is not None:
        witness.recorded = witness.recorded or record.result != "ok"


@contextmanager
def audited(log: AuditLog, caller: Caller, devbox: str, op: str, path: str) -> Iterator[AuditRecord]:
    """Record what happens in the block, failures too; the block fills in bytes, hash and destination."""
    record = AuditRecord(time.time(), caller.name, devbox, op, path, caller.request_id)
    started = time.perf_counter()
    try:
        yield record
    except DevboxError as error:
        record.result = error.code
        raise
    except BaseException as error:
        record.result = "internal" if isinstance(error, Exception) else "cancelled"
        raise
    finally:
        record.seconds = time.perf_counter() - started
        keep(log, record)
