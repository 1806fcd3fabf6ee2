"""Counting what happens on the floors that know nothing of metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Literal

#: A session with a guest was opened, or opened again after it was lost; a call was made once more; a chunk of an upload
#: arrived, or was sent once more.
Event = Literal["session_opened", "session_reopened", "call_repeated", "chunk_sent", "chunk_repeated"]


class Tally:
    """How often each event happened, for whoever wants to know."""

    def __init__(self) -> None:
        self._counts: Counter[Event] = Counter()

    def add(self, event: Event) -> None:
        """Count an event."""
        self._counts[event] += 1

    @property
    def counts(self) -> Mapping[Event, int]:
        """The numbers so far."""
        return self._counts
