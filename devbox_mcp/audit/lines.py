"""Records as lines of JSON in a file."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from devbox_mcp.audit.fields import encoded, fields_of, stamp
from devbox_mcp.audit.records import AuditRecord
from devbox_mcp.errors import Unavailable
from devbox_mcp.keys import Veil

logger = logging.getLogger(__name__)

#: Of what is kept while the file takes nothing, in lines and bytes: of requests that were refused, which strangers can
#: send without end, and of all. What was done is what was under way when it began, for nothing is begun any more.
_MOST_REFUSED = (2000, 1 << 20)
_MOST = (20_000, 8 << 20)
#: Characters of lines that are told together where the file takes nothing to the end.
_PORTION = 32 * 1024


@dataclass(frozen=True, slots=True)
class Lost:
    """So many records could not be kept, of a time from ``since`` to ``until``, in seconds since 1970."""

    count: int
    since: float
    until: float

    def fields(self) -> dict[str, Any]:
        """Return what a line tells of them."""
        told = fields_of(AuditRecord(time.time(), "devbox-mcp", "", "audit", ".", result="lost"), Veil())
        return {**told, "records": self.count, "since": stamp(self.since), "until": stamp(self.until)}


class LineFile:
    """A file that is appended to in whole lines, one write each. What it does not take is kept, and written first
    when it takes something again, so that none gets into the middle of another. What is too much to be kept is
    counted, and whoever owns the file writes a line that says so: no record is missing in silence."""

    def __init__(self, path: str) -> None:
        """Open it, mode 0600 if new. Raises OSError."""
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._kept = bytearray()
        self._lines = 0
        self._lost: Lost | None = None

    @property
    def whole(self) -> bool:
        """Whether everything was written, or told."""
        return not self._kept and self._lost is None

    def append(self, line: bytes, record: AuditRecord | None = None) -> bool:
        """Write a line, or keep it. Return False where there is no room to keep that of a ``record``, which is
        counted instead; other lines are always kept."""
        if self._kept and record is not None and not self._has_room(len(line), record) and not self._flushes():
            began = self._lost or Lost(0, record.time, record.time)
            self._lost = Lost(began.count + 1, began.since, max(began.until, record.time))
            return False
        self._kept += line
        self._lines += 1
        self._flushes()  # `check` tells
        return True

    def take_lost(self) -> Lost | None:
        """Return what could not be kept, once, when all that was kept is written: the line that tells of it is next."""
        if self._lost is None or not self._flushes():
            return None
        lost, self._lost = self._lost, None
        return lost

    def check(self, op: str, path: str) -> None:
        """Write what was kept. Raises Unavailable where that cannot be done."""
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
            for lines in _portions(self._kept.decode()):
                logger.error("the audit log cannot be written (%s); it lacks: %s", error.strerror, lines)  # noqa: TRY400  the reason is all
            if self._lost is not None:
                logger.error("the audit log lacks %d records that could not be kept", self._lost.count)  # noqa: TRY400  as above
        finally:
            os.close(self.fd)

    def _has_room(self, size: int, record: AuditRecord) -> bool:
        lines, total = _MOST if record.of_operation else _MOST_REFUSED
        return self._lines < lines and len(self._kept) + size <= total

    def _flushes(self) -> bool:
        try:
            self._flush()
        except OSError as error:
            if self._lines == 1:
                logger.error("the audit log cannot be written (%s); nothing is done until it can", error.strerror)  # noqa: TRY400  the reason is all
            return False
        return True

    def _flush(self) -> None:
        while self._kept:
            written = os.write(self.fd, self._kept)
            del self._kept[:written]
        self._lines = 0


def _portions(text: str) -> Iterator[str]:
    """Yield whole lines, as many together as a log shows of one text."""
    portion = ""
    for line in text.splitlines(keepends=True):
        if portion and len(portion) + len(line) > _PORTION:
            yield portion
            portion = ""
        portion += line
    if portion:
        yield portion


class JsonLinesAudit:
    """One JSON object a line, without a chain; lines of several processes in one file never mix."""

    def __init__(self, path: str, veil: Veil | None = None) -> None:
        """``veil`` hides what no line may show. Raises OSError."""
        self._file = LineFile(path)
        self._veil = veil or Veil()

    def check(self, op: str, path: str) -> None:
        """Raise Unavailable where a line is still to be written and cannot be."""
        if not self._file.whole:
            self._file.check(op, path)
            self._tell_lost()

    def write(self, record: AuditRecord) -> None:
        """Append one line."""
        self._tell_lost()
        self._file.append(encoded(fields_of(record, self._veil)) + b"\n", record)

    def close(self) -> None:
        """Close the file."""
        self._tell_lost()
        self._file.close()

    def _tell_lost(self) -> None:
        lost = self._file.take_lost()
        if lost is not None:
            self._file.append(encoded(lost.fields()) + b"\n")
