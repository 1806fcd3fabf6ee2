"""Records as lines of JSON in a file."""

from __future__ import annotations

import json
import logging
import os
import time
from typing import Any

from devbox_mcp.audit.records import AuditRecord
from devbox_mcp.errors import Unavailable, printable

logger = logging.getLogger(__name__)


def fields_of(record: AuditRecord) -> dict[str, Any]:
    """Return what a line tells of a record."""
    return {
        "time": stamp(record.time),
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


def stamp(moment: float) -> str:
    """Return a time in seconds since 1970 as text, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment % 1 * 1e3):03d}Z"


def encoded(fields: dict[str, Any]) -> bytes:
    """Return fields as one line of JSON, without its end; what is None is left out."""
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode("ascii")


class LineFile:
    """A file that is appended to in whole lines, one write each. What it does not take is kept, and written first
    when it takes something again: no line is lost while the process lives, and none gets into the middle of another."""

    def __init__(self, path: str) -> None:
        """Open it, mode 0600 if new. Raises OSError."""
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._kept = b""

    @property
    def whole(self) -> bool:
        """Whether everything was written."""
        return not self._kept

    def append(self, line: bytes) -> None:
        """Write a line, or keep it."""
        self._kept += line
        try:
            self._flush()
        except OSError:
            return  # `check` tells

    def check(self, op: str, path: str) -> None:
        """Write what was kept. Raises Unavailable where that cannot be done."""
        if not self._kept:
            return
        try:
            self._flush()
        except OSError as error:
            raise Unavailable(
                op,
                path,
                f"the audit log cannot be written ({error.strerror}), and nothing is done without a record",
                hint="have the operator look at it, then try again",
            ) from None

    def close(self) -> None:
        """Write what was kept, and close the file. What still cannot be written is told by the process' own log."""
        try:
            self._flush()
        except OSError as error:
            logger.error("the audit log cannot be written (%s); it lacks: %s", error.strerror, self._kept.decode())  # noqa: TRY400  the reason is all
        finally:
            os.close(self.fd)

    def _flush(self) -> None:
        while self._kept:
            written = os.write(self.fd, self._kept)
            self._kept = self._kept[written:]


class JsonLinesAudit:
    """One JSON object a line, without a chain; lines of several processes in one file never mix."""

    def __init__(self, path: str) -> None:
        """Raises OSError."""
        self._file = LineFile(path)

    def check(self, op: str, path: str) -> None:
        """Raise Unavailable where a line is still to be written and cannot be."""
        self._file.check(op, path)

    def write(self, record: AuditRecord) -> None:
        """Append one line."""
        self._file.append(encoded(fields_of(record)) + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
