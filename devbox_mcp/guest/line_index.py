"""Where the lines of large files begin: what one reading teaches is kept for the next.

So paging through a file takes time linear in its size, and its hash and number of lines, once known, are told again.
"""

import threading
from bisect import bisect_right
from collections import OrderedDict
from typing import List, Optional, Tuple

#: A line's number and the offset of its first byte.
Mark = Tuple[int, int]
START: Mark = (1, 0)

#: A version of a file: its device and its revision.
Key = Tuple[int, str]


class Known:
    """What was learnt of one version of a file: ``marks``, sparse and in order; ``resume``, behind the last window;
    ``total`` and ``sha256`` if its end was reached."""

    __slots__ = ("marks", "resume", "sha256", "total")

    def __init__(self) -> None:
        self.marks: List[Mark] = [START]
        self.resume: Mark = START
        self.total: Optional[int] = None
        self.sha256: Optional[str] = None

    def copy(self) -> "Known":
        """Return a copy that may be changed."""
        other = Known()
        other.marks, other.resume = list(self.marks), self.resume
        other.total, other.sha256 = self.total, self.sha256
        return other

    def nearest(self, line: int) -> Mark:
        """Return the last known beginning of a line that is not behind ``line``."""
        mark = self.marks[bisect_right(self.marks, (line + 1,)) - 1]
        return max(mark, self.resume) if self.resume[0] <= line else mark


class LineIndex:
    """What is known of the versions read last. About 100 KB each at most, however large the file."""

    def __init__(self, most: int = 32) -> None:
        self._most = most
        self._versions: OrderedDict[Key, Known] = OrderedDict()
        self._lock = threading.Lock()

    def recall(self, key: Key) -> Known:
        """Return what is known of a version, as a copy."""
        with self._lock:
            known = self._versions.get(key)
            if known is None:
                return Known()
            self._versions.move_to_end(key)
            return known.copy()

    def remember(self, key: Key, known: Known) -> None:
        """Keep what is known of a version, and forget the one used longest ago."""
        with self._lock:
            self._versions[key] = known
            self._versions.move_to_end(key)
            if len(self._versions) > self._most:
                self._versions.popitem(last=False)
