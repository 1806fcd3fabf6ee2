"""The two directions of a stream as threads see them: chunks that come, and credit for chunks that go."""

import queue
import threading
from typing import Any, Callable, Dict, Iterator, Optional, Union

from .errors import GuestError
from .frames import EXTRA_UP, ROOM, WINDOW

#: Credit is given back in portions, or every small chunk would cost a frame.
PORTION = WINDOW // 2


class Room:
    """What the streams of a session may have on their way beyond a window each: memory that whoever comes first has.
    May be used from several threads."""

    def __init__(self) -> None:
        self._left = ROOM
        self._lock = threading.Lock()

    def take(self, most: int) -> int:
        """Return how much may be had, to be given back."""
        with self._lock:
            taken = min(most, self._left)
            self._left -= taken
            return taken

    def give_back(self, count: int) -> None:
        """Let others have it."""
        with self._lock:
            self._left += count


class Body:
    """The bytes that a request brings: iterate once. The reader puts chunks in, a working thread takes them out;
    taking them is what gives the sender credit for more. To be closed."""

    def __init__(self, path: str, grant: Callable[[int], None], room: Room) -> None:
        self._path = path
        self._grant = grant
        self._room = room
        self._extra: Optional[int] = None
        self._chunks: queue.SimpleQueue[Union[bytes, Dict[str, Any], GuestError]] = queue.SimpleQueue()
        self._failure: Optional[GuestError] = None
        self._trailer: Optional[Dict[str, Any]] = None
        self._owed = 0

    def put(self, chunk: bytes) -> None:
        """Add what came."""
        self._chunks.put(chunk)

    def end(self, trailer: Dict[str, Any]) -> None:
        """There is no more; ``trailer`` tells ``length`` and ``sha256``."""
        self._chunks.put(trailer)

    def cancel(self) -> None:
        """Let whoever takes chunks fail."""
        self._failure = GuestError("cancelled", self._path, "the sender gave up")
        self._chunks.put(self._failure)

    def close(self) -> None:
        """Nobody takes any more."""
        self._room.give_back(self._extra or 0)
        self._extra = 0

    def sha256(self) -> str:
        """Return what the sender says that it all hashes to, when all has come."""
        assert self._trailer is not None
        return str(self._trailer["sha256"])

    def __iter__(self) -> Iterator[bytes]:
        taken = 0
        while True:
            chunk = self._chunks.get()
            if self._failure is not None:
                raise self._failure
            if isinstance(chunk, dict):
                if chunk["length"] != taken:
                    raise GuestError("integrity", self._path, "%d bytes arrived of %d sent" % (taken, chunk["length"]))
                self._trailer = chunk
                return
            assert isinstance(chunk, bytes)
            size = len(chunk)
            yield chunk
            del chunk
            taken += size
            self._owed += size
            if self._owed >= PORTION:
                if self._extra is None:
                    self._extra = self._room.take(EXTRA_UP)
                    self._owed += self._extra
                self._grant(self._owed)
                self._owed = 0


class Credit:
    """How much may be sent."""

    def __init__(self) -> None:
        self._left = WINDOW
        self._changed = threading.Condition()
        self._cancelled = False

    def add(self, count: int) -> None:
        """Allow more."""
        with self._changed:
            self._left += count
            self._changed.notify()

    def cancel(self) -> None:
        """Let whoever waits go on without."""
        with self._changed:
            self._cancelled = True
            self._changed.notify()

    def take(self, most: int) -> int:
        """Wait until something may be sent and return how much, at most ``most``; 0 when it was cancelled."""
        with self._changed:
            while not self._left and not self._cancelled:
                self._changed.wait()
            if self._cancelled:
                return 0
            taken = min(most, self._left)
            self._left -= taken
            return taken
