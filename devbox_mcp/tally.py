"""Counting what happens on the floors that know nothing of metrics."""

from __future__ import annotations

from typing import Literal, Protocol

#: A session with a guest was opened, or opened again after it was lost; a chunk of an upload arrived, or was sent once
#: more; a call was made once more.
Event = Literal["session_opened", "session_reopened", "chunk_sent", "chunk_repeated", "call_repeated"]


class Tally(Protocol):
    """Where events are counted."""

    def add(self, event: Event, count: int = 1) -> None:
        """Count an event; must be quick."""


class NoTally:
    """Counts nothing."""

    def add(self, event: Event, count: int = 1) -> None:
        """Forget it."""
