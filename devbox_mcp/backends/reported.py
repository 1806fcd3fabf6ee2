"""An archive with its report (``?report=true``): pieces of a told length, an empty one, then JSON. No I/O."""

from __future__ import annotations

import struct
from collections.abc import Iterator

MEDIA_TYPE = "application/vnd.devbox-mcp.archive"
_LENGTH = struct.Struct(">I")
#: Bytes of a report: names of what was passed by.
_MOST_REPORT = 16 << 20
_MOST_PIECE = 64 << 20


def piece(data: bytes) -> bytes:
    """Return some of the archive's bytes as the answer has them."""
    return _LENGTH.pack(len(data)) + data


class Pieces:
    """Takes an answer apart. ``report`` is what follows the archive, once all has been fed."""

    def __init__(self) -> None:
        self._left = 0
        self._head = b""
        self._report: bytearray | None = None

    @property
    def report(self) -> bytes:
        """Raises ValueError where the answer ended before it."""
        if self._report is None:
            raise ValueError("the archive broke off")
        return bytes(self._report)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the archive's bytes. Raises ValueError for what makes no sense."""
        view = memoryview(data)
        while view:
            if self._report is not None:
                self._report += view
                if len(self._report) > _MOST_REPORT:
                    raise ValueError("an endless report")
                return
            if self._left:
                part = view[: self._left]
                self._left -= len(part)
                view = view[len(part) :]
                yield bytes(part)
                continue
            needed = _LENGTH.size - len(self._head)
            self._head += bytes(view[:needed])
            view = view[needed:]
            if len(self._head) == _LENGTH.size:
                (self._left,) = _LENGTH.unpack(self._head)
                self._head = b""
                if self._left > _MOST_PIECE:
                    raise ValueError("an endless piece")
                if self._left == 0:
                    self._report = bytearray()
