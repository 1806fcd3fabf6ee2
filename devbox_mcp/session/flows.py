"""Streams as the server's end sees them: what comes keeps within the credit that was given, what goes needs some."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable
from typing import Any

from devbox_mcp.errors import DevboxError, Integrity
from devbox_mcp.guest.frames import EXTRA_UP, WINDOW, FrameError
from devbox_mcp.guest.streams import Intake


class Inflow:
    """What has come of a stream and was not taken yet. Fed by the link, emptied by ``next``."""

    def __init__(self, op: str, path: str, grant: Callable[[int], None], intake: Intake) -> None:
        self._op = op
        self._path = path
        self._grant = grant
        self._intake = intake
        self._chunks: deque[bytes] = deque()
        self._allowed = WINDOW
        self._digest = hashlib.sha256()
        self._length = 0
        self._trailer: dict[str, Any] | None = None
        self._failure: DevboxError | None = None
        self._changed = asyncio.Event()

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        return self._trailer is not None or self._failure is not None

    def feed(self, chunk: bytes) -> None:
        """Add a piece. Raises FrameError for more than was allowed, and for an empty one, which costs no credit."""
        self._allowed -= len(chunk)
        if not chunk or self._allowed < 0 or self.over:
            raise FrameError("more of a stream than was asked for")
        self._intake.came(len(chunk))
        self._chunks.append(chunk)
        self._changed.set()

    def end(self, trailer: Any) -> None:
        """The stream is complete. Raises FrameError for a trailer that is none."""
        if not isinstance(trailer, dict) or not {"length", "sha256"} <= trailer.keys() or self.over:
            raise FrameError("a stream ends in a way that makes no sense")
        self._trailer = trailer
        self._changed.set()

    def fail(self, error: DevboxError) -> None:
        """There is no more of it. What has come is still given."""
        if not self.over:
            self._failure = error
            self._changed.set()

    def drop(self) -> None:
        """Nobody takes any more of it. Until then, or until all was taken, others do not get what it had of the
        room: what has come is still in memory."""
        self._chunks.clear()
        self._intake.close()

    async def next(self) -> bytes:
        """Return the next piece, empty at the end, which is verified. Raises what it failed with, Integrity."""
        while not self._chunks:
            if self.over:
                self._intake.close()
            if self._failure is not None:
                raise self._failure
            if self._trailer is not None:
                if (self._trailer["length"], self._trailer["sha256"]) != (self._length, self._digest.hexdigest()):
                    raise Integrity(self._op, self._path, hint="read it again")
                return b""
            self._changed.clear()
            await self._changed.wait()
        chunk = self._chunks.popleft()
        self._digest.update(chunk)
        self._length += len(chunk)
        granted = 0 if self.over else self._intake.taken(len(chunk))
        if granted:
            self._allowed += granted
            self._grant(granted)
        return chunk

    @property
    def sha256(self) -> str:
        """The hash of what has been taken, in hex."""
        return self._digest.hexdigest()

    @property
    def final(self) -> Any:
        """What was told at the end."""
        return None if self._trailer is None else self._trailer.get("value")


class Outflow:
    """How much of a stream may be sent."""

    def __init__(self) -> None:
        self._left = WINDOW
        self._changed = asyncio.Event()

    def add(self, count: Any) -> None:
        """Allow more. Raises FrameError for what is no number of bytes."""
        if type(count) is not int or not 0 < count <= WINDOW + EXTRA_UP:
            raise FrameError("a credit that makes no sense")
        self._left += count
        self._changed.set()

    async def take(self, most: int) -> int:
        """Wait until something may be sent, and return how much, at most ``most``."""
        while not self._left:
            self._changed.clear()
            await self._changed.wait()
        taken = min(most, self._left)
        self._left -= taken
        return taken
