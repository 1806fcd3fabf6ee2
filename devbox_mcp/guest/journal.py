"""A numbered record of changes that many readers go through, each at its own pace. No I/O happens here.

A reader holds a cursor: the journal's epoch and a position, which is the number of the next event it has not
seen. The record keeps what happened as it happened; events are folded together only while they are handed out,
so that what one reader was told never depends on what another one asked.
"""

import re
from collections import deque
from itertools import islice
from typing import Any, Deque, Dict, Iterable, List, NamedTuple, Optional, Tuple

from .errors import GuestError

CREATED, MODIFIED, DELETED, MOVED = "created", "modified", "deleted", "moved"

_CURSOR = re.compile(r"([0-9a-f]{16})-([0-9]{1,18})")


class Event(NamedTuple):
    """One change: ``path`` from the root, ``source`` the old path of what moved. A directory that is deleted or
    moved takes everything beneath it along; one that is created is followed by what is in it."""

    type: str
    path: str
    directory: bool
    source: Optional[str] = None

    def as_json(self) -> Dict[str, Any]:
        """Return it as plain JSON."""
        return {"type": self.type, "path": self.path, "directory": self.directory, "source": self.source}


class Delivery(NamedTuple):
    """What one reader gets: events, the position behind them, and whether there are more already."""

    events: List[Event]
    position: int
    more: bool


def parse_cursor(cursor: str, path: str) -> Tuple[str, int]:
    """Return (epoch, position) of a cursor. Raises invalid_argument for what no journal ever gave out."""
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise GuestError(
            "invalid_argument", path, "this is not a cursor", "pass the one that the last call returned, or none"
        )
    return match.group(1), int(match.group(2))


class Journal:
    """The last ``capacity`` events since ``epoch`` (16 hex digits, never used before) began."""

    def __init__(self, epoch: str, capacity: int) -> None:
        self.epoch = epoch
        self._events: Deque[Event] = deque(maxlen=capacity)
        self._end = 0
        self._told = 0  # no reader stands behind this position

    def append(self, event: Event) -> None:
        """Record an event, unless it only says again what no reader has yet been told."""
        if event.type == MODIFIED and self._events and self._events[-1] == event and self._told < self._end:
            return  # a file that is written to all the time must not push everything else out
        self._events.append(event)
        self._end += 1

    def lose(self) -> None:
        """Record that changes went unseen: every reader so far is out of step."""
        self._events.clear()
        self._end += 1

    def now(self) -> int:
        """Return the position of a reader that starts now."""
        self._told = self._end
        return self._end

    def cursor(self, position: int) -> str:
        """Return the cursor for a position."""
        return "%s-%d" % (self.epoch, position)

    def since(self, position: int, limit: int) -> Optional[Delivery]:
        """Return at most ``limit`` events from ``position`` on; None where some of them are no longer known."""
        first = self._end - len(self._events)
        if not first <= position <= self._end:
            return None
        events, count = fold(islice(self._events, position - first, None), limit)
        reached = position + count
        self._told = max(self._told, reached)
        rest, _ = fold(islice(self._events, reached - first, None), 1)
        return Delivery(events, reached, bool(rest))


def fold(raw: Iterable[Event], limit: int) -> Tuple[List[Event], int]:
    """Return at most ``limit`` events that say the same as the first ``count`` of ``raw``, and that count.

    A file modified more than once is modified once; created and then modified is created; created and then
    deleted never was.
    """
    kept: List[Optional[Event]] = []
    last: Dict[str, int] = {}  # the place in ``kept`` of what was last said of a path
    count = length = 0
    for event in raw:
        before = kept[last[event.path]] if event.path in last else None
        fresh = before is not None and before.type == CREATED
        if event.type == MODIFIED and before is not None and (fresh or before.type == MODIFIED):
            pass
        elif event.type == DELETED and fresh and not event.directory:
            kept[last.pop(event.path)] = None
            length -= 1
        elif length == limit:
            break
        else:
            if event.directory and event.type in (DELETED, MOVED):
                last.clear()  # every path beneath it now means something else
            last[event.path] = len(kept)
            kept.append(event)
            length += 1
        count += 1
    return [event for event in kept if event is not None], count
