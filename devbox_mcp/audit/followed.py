"""Bytes on their way to somebody: what went of them, where that was not all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager

from devbox_mcp.audit.records import AuditRecord


class Followed(AsyncIterator[bytes]):
    """Pieces that are counted as they are taken. A download that breaks off gets a record of its own, in the block
    that ``recorded`` opens: with the error's code, or as cancelled. One that nobody began to read gets none."""

    def __init__(
        self, pieces: AsyncIterator[bytes], promised: int, recorded: Callable[[], AbstractContextManager[AuditRecord]]
    ) -> None:
        self._pieces = pieces
        self._promised = promised
        self._recorded = recorded
        self._went = 0
        self._over = promised == 0

    async def __anext__(self) -> bytes:
        try:
            piece = await anext(self._pieces)
        except StopAsyncIteration:
            self._over = True
            raise
        except BaseException:
            if not self._over:
                self._over = True
                with self._recorded() as record:
                    record.bytes = self._went
                    raise
            raise
        self._went += len(piece)
        # the last piece is there: many a reader does not ask for one more
        self._over = self._over or self._went >= self._promised
        return piece

    async def aclose(self) -> None:
        """Give up the rest."""
        if not self._over and self._went:
            self._over = True
            with self._recorded() as record:
                record.result = "cancelled"
                record.bytes = self._went
        close = getattr(self._pieces, "aclose", None)
        if close is not None:
            await close()
