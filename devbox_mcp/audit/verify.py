"""Whether a log is what was written: read once from its beginning, whatever its length."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from devbox_mcp.audit import anchor as anchors
from devbox_mcp.audit.anchor import Anchor
from devbox_mcp.audit.chain import LONGEST, Line, parse

#: Nobody but the log itself writes this: in what others say, quotes are escaped.
_LOST = re.compile(rb'"op": "audit", "path": "\.", "result": "lost", .*?"records": ([0-9]{1,18}),')

Kind = Literal["edit", "deletion", "insertion", "reordering", "truncation", "torn", "other_key", "no_chain", "anchor"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """What was done to a log, where it shows first (lines are counted from 1), and that in words."""

    kind: Kind
    line: int
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """``lines`` hold, from the first one on; ``anchored`` is how many the anchor knows of, None without one.
    ``lost`` is how many records the log never got, as its lines themselves tell: it could not be written then."""

    chain: str | None
    lines: int
    anchored: int | None
    trouble: Trouble | None
    lost: int = 0


def verify(log: str, key: bytes, anchor: str | None = None) -> Verdict:
    """Check every line of a log. Raises OSError for a file that cannot be read."""
    known: Anchor | None = None
    if anchor is not None:
        # before the log, which may be growing
        try:
            known = anchors.load(anchor, key)
        except ValueError as error:
            return Verdict(None, 0, None, Trouble("anchor", 0, str(error)))
        if known is None:
            return Verdict(None, 0, None, Trouble("anchor", 0, f"there is no anchor {anchor}"))
    try:
        file = Path(log).open("rb")  # noqa: SIM115  closed below, and a log that is gone is told otherwise
    except FileNotFoundError:
        if known is None:
            raise
        detail = f"the log is gone, and its anchor tells of {known.count} lines"
        return Verdict(None, 0, known.count, Trouble("truncation", 1, detail))
    with file:
        return _Reading(file, key, known).run()


class _Reading:
    """One pass over a file."""

    def __init__(self, file: BinaryIO, key: bytes, known: Anchor | None) -> None:
        self._file = file
        self._key = key
        self._known = known
        self._chain: str | None = None
        self._count = 0
        self._mac = b""
        self._lost = 0

    def run(self) -> Verdict:
        trouble: Trouble | None = None
        anchored = self._known is None
        while trouble is None:
            raw = self._file.readline(LONGEST)
            if not raw:
                break
            line = parse(raw)
            if line is None or line.seq != self._count or not line.follows(self._mac, self._key):
                trouble = self._explain(raw, line)
                break
            if self._count == 0:
                self._chain = line.chain
            self._count += 1
            self._mac = line.mac
            lost = _LOST.search(line.body)
            self._lost += 0 if lost is None else int(lost[1])
            if self._known is not None and self._known.count == self._count:
                anchored = True
                trouble = self._compare(self._known)
        if trouble is None and self._known is not None and not anchored:
            detail = f"the log ends here, and its anchor tells of {self._known.count} lines"
            trouble = Trouble("truncation", self._count + 1, detail)
        if trouble is None and self._count == 0:
            trouble = Trouble("no_chain", 1, "the log is empty")
        known = None if self._known is None else self._known.count
        return Verdict(self._chain, self._count, known, trouble, self._lost)

    def _compare(self, known: Anchor) -> Trouble | None:
        if known.chain == self._chain and known.mac == self._mac.decode("ascii"):
            return None
        return Trouble("anchor", self._count, "the log was written anew: its anchor tells of other lines than these")

    def _explain(self, raw: bytes, line: Line | None) -> Trouble:
        """Say what was done where the chain does not go on; nothing behind that can be relied on."""
        at = self._count + 1
        if not raw.endswith(b"\n") and len(raw) < LONGEST:
            return Trouble("torn", at, "the last line is cut in its middle, by a crash or by somebody")
        if self._count == 0 and line is None:
            return Trouble("no_chain", at, "the log does not begin as a chain does")
        if self._count == 0 and line is not None and line.seq == 0:
            return self._explain_first(line)
        if self._comes_later():
            if line is not None and line.seq > self._count:
                return Trouble("reordering", at, f"line {line.seq + 1} stands here, and this one comes later")
            return Trouble("insertion", at, "a line stands here that was not written as this one; it comes later")
        if line is not None and line.seq > self._count:
            gone = f"line {at} is" if line.seq == at else f"lines {at} to {line.seq} are"
            return Trouble("deletion", at, f"{gone} missing")
        return Trouble("edit", at, "the line is not as it was written")

    def _explain_first(self, line: Line) -> Trouble:
        """With another key nothing holds; where only the first line was edited, the second still follows from it."""
        second = parse(self._file.readline(LONGEST))
        if second is not None and second.follows(line.mac, self._key):
            return Trouble("edit", 1, "the line is not as it was written")
        return Trouble("other_key", 1, "the log was written with another key, or nothing of it is as it was")

    def _comes_later(self) -> bool:
        """Whether the line that belongs here stands further down."""
        back = self._file.tell()
        try:
            while raw := self._file.readline(LONGEST):
                line = parse(raw)
                if line is not None and line.seq == self._count and line.follows(self._mac, self._key):
                    return True
            return False
        finally:
            self._file.seek(back, os.SEEK_SET)
