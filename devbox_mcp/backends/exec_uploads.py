"""The exec backend's resumable uploads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from devbox_mcp.backends.checked import count, parsed
from devbox_mcp.backends.pieces import add_in_pieces, once
from devbox_mcp.errors import Busy, Conflict, Integrity
from devbox_mcp.paths import SandboxPath
from devbox_mcp.session.calls import ConnectionLost, Reply
from devbox_mcp.session.warm import WarmSession

#: How often a piece is sent that does not arrive, and the seconds by which the pauses grow while a guest that is cut
#: off still holds the upload.
_ATTEMPTS = 6
_PAUSE = 0.2


class ExecUploads:
    """See the contract's ``upload_…`` methods; sizes are as the guest tells them."""

    def __init__(self, session: WarmSession) -> None:
        self._session = session

    async def begin(self, path: str, token: str, mode: str, if_match: str | None) -> None:
        args = {"token": token, "mode": mode, "if_match": if_match}
        await self._call("upload_begin", path, args, repeat=True)

    async def size(self, path: str, token: str) -> int:
        return _size(path, await self._call("upload_size", path, {"token": token}, repeat=True))

    async def add(self, path: str, token: str, offset: int, data: bytes | AsyncIterator[bytes], *, whole: bool) -> int:
        if whole:
            body = once(data) if isinstance(data, bytes) else data
            return _size(path, await self._call("upload_extend", path, {"token": token, "offset": offset}, body=body))

        async def add(offset: int, piece: bytes) -> int:
            return await self._add_piece(path, token, offset, piece)

        return await (add(offset, data) if isinstance(data, bytes) else add_in_pieces(offset, data, add))

    async def _add_piece(self, path: str, token: str, offset: int, piece: bytes) -> int:
        attempt = 1
        while True:
            try:
                reply = await self._call("upload_extend", path, {"token": token, "offset": offset}, body=once(piece))
            except (ConnectionLost, Integrity, Busy) as error:
                # held by somebody else, unless a connection was lost before
                if attempt == _ATTEMPTS or (isinstance(error, Busy) and attempt == 1):
                    raise
                if isinstance(error, Busy):
                    await asyncio.sleep(_PAUSE * attempt)
                attempt += 1
            else:
                return _size(path, reply)
            # it may have arrived all the same, or its beginning, where the guest was killed
            size = await self.size(path, token)
            if not offset <= size <= offset + len(piece):
                raise Conflict("upload", path, f"{size} bytes have arrived, not {offset}", size=size)
            piece, offset = piece[size - offset :], size
            if not piece:
                return size

    async def finish(self, path: str, token: str, size: int, sha256: str | None, options: dict[str, Any]) -> Reply:
        args = {"token": token, "size": size, "sha256": sha256, "exact": True, **options}
        return await self._call("upload_finish", path, args)

    async def abandon(self, path: str, token: str) -> None:
        await self._call("upload_abandon", path, {"token": token}, repeat=True)

    async def _call(
        self,
        operation: str,
        path: str,
        args: dict[str, Any],
        *,
        repeat: bool = False,
        body: AsyncIterator[bytes] | None = None,
    ) -> Reply:
        return await self._session.call(
            operation, {"path": path, **args}, op="upload", path=path, repeat=repeat, body=body
        )


def _size(path: str, reply: Reply) -> int:
    return parsed(count, reply.value, "upload", SandboxPath(path))
