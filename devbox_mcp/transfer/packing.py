"""Compression on the way, where the measured link and the data at hand say that it saves time."""

from __future__ import annotations

import time
import zlib
from collections.abc import AsyncIterator

from devbox_mcp.errors import Integrity
from devbox_mcp.guest.packing import LEVEL

_SAMPLE = 64 * 1024
#: The part of it that tells of most data which cannot be packed, in an eighth of the time.
_FIRST = 8 * 1024
#: What it must promise, as part of the time without it.
_WORTH = 0.8
_PIECE = 1024 * 1024


def pays(sample: bytes, rate: float) -> bool:
    """Whether packing what looks like ``sample`` saves time on a link of ``rate`` bytes a second. What it costs is
    measured on the sample, and the other end, which unpacks meanwhile, is quicker than that."""
    sample = sample[:_SAMPLE]
    if not sample or rate <= 0 or _is_dense(sample[:_FIRST]):
        return False
    started = time.perf_counter()
    packed = zlib.compress(sample, LEVEL)
    packing = time.perf_counter() - started
    plain = len(sample) / rate
    return packing + len(packed) / rate < _WORTH * plain


def _is_dense(data: bytes) -> bool:
    return len(zlib.compress(data, LEVEL)) >= _WORTH * len(data)


async def unpacked(chunks: AsyncIterator[bytes], op: str, path: str) -> AsyncIterator[bytes]:
    """Unpack a stream in pieces of at most 1 MiB, however much a hostile one would become at once."""
    unpacker = zlib.decompressobj()
    async for chunk in chunks:
        rest = chunk
        while rest and not unpacker.eof:
            try:
                piece = unpacker.decompress(rest, _PIECE)
            except zlib.error as error:
                raise Integrity(op, path, "the sandbox sent bytes that cannot be unpacked") from error
            rest = unpacker.unconsumed_tail
            if piece:
                yield piece
    if not unpacker.eof:
        raise Integrity(op, path, "the sandbox sent too few bytes")
