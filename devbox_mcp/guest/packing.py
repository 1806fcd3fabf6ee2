"""Streams that are packed on the way: zlib, piece by piece, in memory that does not grow with them."""

import zlib
from typing import Iterable, Iterator

from .errors import GuestError

#: The quickest: what matters is the link, and a slower one gains little.
LEVEL = 1
_PIECE = 1 << 20


def packed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Pack a stream."""
    packer = zlib.compressobj(LEVEL)
    for piece in pieces:
        made = packer.compress(piece)
        if made:
            yield made
    yield packer.flush()


def unpacked(pieces: Iterable[bytes], path: str) -> Iterator[bytes]:
    """Unpack a stream. Raises integrity where it is none or ends too early."""
    unpacker = zlib.decompressobj()
    for piece in pieces:
        rest = piece
        while rest and not unpacker.eof:
            try:
                made = unpacker.decompress(rest, _PIECE)
            except zlib.error as error:
                raise GuestError("integrity", path, "the bytes that arrived cannot be unpacked") from error
            rest = unpacker.unconsumed_tail
            if made:
                yield made
    if not unpacker.eof:
        raise GuestError("integrity", path, "the bytes that arrived end too early")
