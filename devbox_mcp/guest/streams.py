"""The two directions of a stream as threads see them: chunks that come, and credit for chunks that go."""

import queue
import threading
import time
from typing import Any, Callable, Dict, Iterator, Optional, Union

from .errors import GuestError
from .frames import FAST, PIECE, ROOM, WINDOW

#: Credit is given back in portions, or every small chunk would cost a frame.
PORTION = WINDOW // 2


class Room:
    """What the streams of a session may have on their way beyond a window each. Thread-safe."""

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


class Intake:
    """Tells how much more the sender of a stream may send, as its bytes come and are taken. To be closed."""

    def __init__(self, room: Room, extra: int, clock: Callable[[], float] = time.monotonic) -> None:
        """``extra`` is what it gets beyond its window, if it is fast and as far as ``room`` goes."""
        self._room = room
        self._wanted = extra
        self._clock = clock
        self._had = 0
        self._fast = False
        self._come = 0
        self._since = clock()
        self._owed = 0

    def came(self, count: int) -> None:
        """So many bytes have come."""
        if self._fast:
            return
        self._come += count
        if self._come >= PORTION:
            now = self._clock()
            self._fast = self._come >= FAST * (now - self._since)
            self._come, self._since = 0, now

    def taken(self, count: int) -> int:
        """So many bytes were taken; return what is to be granted now."""
        self._owed += count
        if self._owed < PORTION:
            return 0
        granted, self._owed = self._owed, 0
        if self._fast and self._wanted:
            self._had, self._wanted = self._room.take(self._wanted), 0
            granted += self._had
        return granted

    def close(self) -> None:
        """Nothing more comes, or is taken."""
        self._room.give_back(self._had)
        self._had = self._wanted = 0


class Body:
    """The bytes that a request brings: iterate once. The reader puts chunks in, a working thread takes them out;
    taking them is what gives the sender credit for more. To be closed."""

    def __init__(self, path: str, grant: Callable[[int], None], intake: Intake) -> None:
        self._path = path
        self._grant = grant
        self._intake = intake
        self._chunks: queue.SimpleQueue[Union[bytes, Dict[str, Any], GuestError]] = queue.SimpleQueue()
        self._failure: Optional[GuestError] = None
        self._trailer: Optional[Dict[str, Any]] = None

    def put(self, chunk: bytes) -> None:
        """Add what came."""
        self._intake.came(len(chunk))
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
        self._intake.close()

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
            granted = self._intake.taken(size)
            if granted:
                self._grant(granted)


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
        """Wait until something may be sent and return how much, at most ``most``; 0 when it was cancelled. Pieces are
        the larger the more may be sent: fewer of them cost everybody on the way less."""
        with self._changed:
            while not self._left and not self._cancelled:
                self._changed.wait()
            if self._cancelled:
                return 0
            taken = min(most, self._left, max(PIECE, self._left // 4))
            self._left -= taken
            return taken
