"""Streams of bytes, cut and joined."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress

import anyio

from devbox_mcp.errors import DevboxError

#: What one call of many brings.
PIECE = 1 << 20
#: Seconds for saving what had come of a stream that broke.
_SAVING = 10.0


async def once(data: bytes) -> AsyncIterator[bytes]:
    """Give some bytes as a stream."""
    if data:
        yield data


async def joined(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    """Give many small pieces as a few large ones."""
    gathered: list[bytes] = []
    size = 0
    for piece in pieces:
        gathered.append(piece)
        size += len(piece)
        if size >= PIECE:
            yield b"".join(gathered)
            gathered.clear()
            size = 0
    if gathered:
        yield b"".join(gathered)


async def add_in_pieces(offset: int, chunks: AsyncIterator[bytes], add: Callable[[int, bytes], Awaitable[int]]) -> int:
    """Hand a stream to ``add`` piece by piece, each with its offset, and return what the last one answers. Of a stream
    that breaks, what had come is added before its error is raised."""
    gathered = bytearray()
    begun = False
    try:
        async for chunk in chunks:
            gathered += chunk
            if len(gathered) >= PIECE:
                piece = bytes(gathered)
                gathered.clear()
                begun = True
                offset = await add(offset, piece)
    except BaseException:
        if gathered:
            with anyio.move_on_after(_SAVING, shield=True), suppress(DevboxError):
                await add(offset, bytes(gathered))
        raise
    if gathered or not begun:  # nothing at all is asked about all the same, or a wrong offset would be no error
        offset = await add(offset, bytes(gathered))
    return offset
