"""The record of every operation: who did what to which path, and what came of it; never content."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from devbox_mcp.callers import Caller
from devbox_mcp.errors import DevboxError, printable


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


class AuditLog(Protocol):
    """Where records go."""

    def write(self, record: AuditRecord) -> None:
        """Keep one record; must be quick."""

    def close(self) -> None:
        """Flush and release."""


class NoAudit:
    """Keeps nothing: the operator did not ask for a log."""

    def write(self, record: AuditRecord) -> None:
        """Forget the record."""

    def close(self) -> None:
        """Nothing to release."""


class JsonLinesAudit:
    """One JSON object a line, appended to a file in one write each, so that lines of several processes never mix."""

    def __init__(self, path: str) -> None:
        """Open the file for appending, mode 0600 if new. Raises OSError."""
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, record: AuditRecord) -> None:
        """Append one line."""
        fields = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.time))
            + f".{int(record.time % 1 * 1e3):03d}Z",
            "caller": printable(record.caller),
            "request_id": record.request_id,
            "devbox": record.devbox,
            "op": record.op,
            "path": printable(record.path),
            "destination": None if record.destination is None else printable(record.destination),
            "result": record.result,
            "bytes": record.bytes,
            "sha256": record.sha256,
            "ms": round(record.seconds * 1e3, 3),
        }
        line = json.dumps({name: value for name, value in fields.items() if value is not None})
        os.write(self._fd, line.encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


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
        log.write(record)
