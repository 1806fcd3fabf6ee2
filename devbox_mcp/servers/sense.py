"""How much JSON from outside may say, whichever door it comes by. What would keep everybody else waiting while it is
read, or be told fault by fault, is refused before."""

from __future__ import annotations

import asyncio

from devbox_mcp.errors import InvalidArgument

#: Of one object; nothing takes nearly as many, and each that is unknown would be told.
MOST_NAMES = 1000
#: Of all values, lists and objects together.
MOST_VALUES = 100_000
#: Of where something is wrong, in characters.
LONGEST_SHOWN = 200
#: What is not larger is read in a moment, whatever it says.
_SMALL = _PIECE = 256 * 1024


class Values:
    """Counts the values of a JSON text that comes in pieces: what parts them, outside the texts in it."""

    def __init__(self) -> None:
        self.count = 0
        self._within = 0
        self._escape = b""

    def add(self, piece: bytes) -> None:
        """Go through the next piece."""
        piece = self._escape + piece
        # a backslash at the end belongs to what comes next
        cut = len(piece) - (len(piece) - len(piece.rstrip(b"\\"))) % 2
        piece, self._escape = piece[:cut], piece[cut:]
        pieces = piece.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        outside = b"".join(pieces[self._within :: 2])
        self._within ^= (len(pieces) - 1) % 2
        self.count += outside.count(b",") + outside.count(b"[") + outside.count(b"{")


async def require_few(body: bytes, op: str) -> None:
    """Raise InvalidArgument for JSON of more values than anything takes. Others have their turn meanwhile."""
    if len(body) <= _SMALL:
        return
    values = Values()
    for start in range(0, len(body), _PIECE):
        values.add(body[start : start + _PIECE])
        if values.count > MOST_VALUES:
            raise InvalidArgument(
                op, ".", f"the body holds more than {MOST_VALUES} values", hint="send less in one request"
            )
        await asyncio.sleep(0)
