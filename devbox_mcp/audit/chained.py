"""A log whose lines are a chain, written by one process at a time."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import threading
import time
from dataclasses import dataclass

from devbox_mcp.audit import anchor as anchors
from devbox_mcp.audit.anchor import Anchor
from devbox_mcp.audit.chain import LONGEST, Line, parse, sealed
from devbox_mcp.audit.fields import encoded, fields_of, stamp
from devbox_mcp.audit.lines import LineFile
from devbox_mcp.audit.records import AuditRecord
from devbox_mcp.keys import Veil

logger = logging.getLogger(__name__)

#: Seconds between two looks whether there is something new to anchor.
_ANCHOR_SECONDS = 1.0


@dataclass(slots=True)
class _Head:
    """Where a chain has come to: how many lines there are, and the last one's mac."""

    chain: str
    count: int
    mac: bytes


class ChainedAudit:
    """Appends to its chain, and goes on with one that an earlier process left. Every second it writes to disk what is
    new, and then anchors it: so the anchor never tells of a line that a crash could have taken."""

    def __init__(self, path: str, key: bytes, anchor: str | None = None, veil: Veil | None = None) -> None:
        """``veil`` hides what no line may show. Raises OSError, and ValueError for a log that it must not go on
        with."""
        self._key = key
        self._veil = veil or Veil()
        self._anchor = anchor
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._file = LineFile(path)
        try:
            self._begin()
            self._anchored = -1
            if anchor is not None:
                self._anchor_now()  # a directory that is not there is told now
        except BaseException:
            os.close(self._file.fd)
            raise
        self._thread = None if anchor is None else threading.Thread(target=self._keep_anchored, daemon=True)
        if self._thread is not None:
            self._thread.start()

    def check(self, op: str, path: str) -> None:
        """Raise Unavailable where a line is still to be written and cannot be."""
        if not self._file.whole:
            with self._lock:
                self._file.check(op, path)
                self._tell_lost()

    def write(self, record: AuditRecord) -> None:
        """Append one line."""
        with self._lock:
            self._tell_lost()
            self._append(fields_of(record, self._veil), record)

    def close(self) -> None:
        """Anchor the last line, and close the file."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            self._tell_lost()
        if self._thread is not None:
            self._try_to_anchor()
        self._file.close()

    def _append(self, fields: dict[str, object], record: AuditRecord | None = None) -> None:
        """Append a line. One of a record that could not be kept is no part of the chain: another takes its number."""
        line, mac = sealed(self._key, self._head.mac, encoded({"seq": self._head.count, **fields}))
        if self._file.append(line, record):
            self._head.count += 1
            self._head.mac = mac

    def _tell_lost(self) -> None:
        lost = self._file.take_lost()
        if lost is not None:
            self._append(lost.fields())

    def _begin(self) -> None:
        """Take the file for this process alone, and begin a chain or go on with the one in it."""
        path = self._file.path
        try:
            fcntl.flock(self._file.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"another process writes the audit log {path}; give each replica a log and an anchor of its own"
            ) from None
        known = None if self._anchor is None else anchors.load(self._anchor, self._key)
        size = os.fstat(self._file.fd).st_size
        if size:
            self._head, torn = _resume(self._file, size, self._key)
            _compare(self._head, known, path)
            if torn:
                os.ftruncate(self._file.fd, size - torn)
                now = AuditRecord(time.time(), "devbox-mcp", "", "audit", ".", result="torn", bytes=torn)
                self._append(fields_of(now, self._veil))
            return
        if known is not None:
            raise ValueError(
                f"the audit log {path} is empty, but its anchor tells of {known.count} lines; where the log was moved "
                "away, move its anchor too"
            )
        self._head = _Head(secrets.token_hex(16), 0, b"")
        self._append({"chain": self._head.chain, "time": stamp(time.time())})

    def _keep_anchored(self) -> None:
        while not self._closing.wait(_ANCHOR_SECONDS):
            self._try_to_anchor()

    def _try_to_anchor(self) -> None:
        try:
            self._anchor_now()
        except OSError as error:
            logger.error("the audit log's anchor cannot be written: %s", error)  # noqa: TRY400  the reason is all

    def _anchor_now(self) -> None:
        assert self._anchor is not None
        with self._lock:
            if not self._file.whole or self._head.count == self._anchored:
                return
            anchor = Anchor(self._head.chain, self._head.count, self._head.mac.decode("ascii"))
        os.fdatasync(self._file.fd)
        anchors.save(self._anchor, anchor, self._key)
        self._anchored = anchor.count


def _resume(file: LineFile, size: int, key: bytes) -> tuple[_Head, int]:
    """Return where the chain in a file has come to, and the length of a last line that a crash cut in its middle."""
    tail = os.pread(file.fd, 2 * LONGEST, max(size - 2 * LONGEST, 0))
    torn = len(tail) - (tail.rfind(b"\n") + 1)
    lines = tail[: len(tail) - torn].splitlines(keepends=True)[-2:]
    first = parse(os.pread(file.fd, LONGEST, 0).partition(b"\n")[0] + b"\n")
    if first is None or first.chain is None or not lines:
        raise ValueError(
            f"the audit log {file.path} holds lines that are no chain; move it away, and a new one is begun"
        )
    before, last = (parse(lines[0]), parse(lines[-1])) if len(lines) == 2 else (None, first)
    if last is None or not _holds(before, last, key):
        raise ValueError(
            f"the last line of the audit log {file.path} does not follow from the one before, or the key is another; "
            "devbox-mcp audit verify says where it breaks. Move it away, and a new one is begun"
        )
    return _Head(first.chain, last.seq + 1, last.mac), torn


def _holds(before: Line | None, last: Line, key: bytes) -> bool:
    if before is None:
        return last.seq == 0 and last.follows(b"", key)
    return last.seq == before.seq + 1 and last.follows(before.mac, key)


def _compare(head: _Head, known: Anchor | None, path: str) -> None:
    """Raise ValueError where the anchor knows of more than the log holds: going on would hide that."""
    if known is None:
        return
    if known.chain != head.chain:
        raise ValueError(f"the anchor of the audit log {path} is that of another log; give each log its own")
    same = known.mac == head.mac.decode("ascii")
    if known.count > head.count or (known.count == head.count and not same):
        raise ValueError(
            f"the audit log {path} has {head.count} lines, and its anchor tells of {known.count}: something was cut "
            "off. Keep both for whoever looks into it, and begin a new log"
        )
