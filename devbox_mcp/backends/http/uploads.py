"""The HTTP backend's uploads in parts, at ``parts`` of the API."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

from devbox_mcp.backends.http.address import segments
from devbox_mcp.backends.http.asking import Answer, Asking, parsed
from devbox_mcp.backends.http.failures import Lost
from devbox_mcp.backends.http.reading import FITS
from devbox_mcp.backends.http.sending import TRAILER, Sending
from devbox_mcp.backends.http.shapes import Shapes, count
from devbox_mcp.backends.http.writing import digest
from devbox_mcp.backends.pieces import add_in_pieces
from devbox_mcp.errors import Conflict, Integrity, InvalidArgument
from devbox_mcp.models import Written
from devbox_mcp.paths import SandboxPath

#: How often a piece is sent that does not arrive.
_ATTEMPTS = 4
_BYTES = {"Content-Type": "application/octet-stream"}
_TOKEN = re.compile(r"[0-9a-f]{16}")
OP = "upload"


class Uploads:
    """See the contract's ``upload_…`` methods."""

    def __init__(self, asking: Asking, shapes: Shapes) -> None:
        self._asking = asking
        self._shapes = shapes

    async def begin(self, path: SandboxPath, token: str, mode: str, if_match: str | None) -> None:
        await self._ask(path, token, "PUT", {"mode": mode, "if_match": if_match}, repeat=True)

    async def size(self, path: SandboxPath, token: str) -> int:
        return _size(await self._ask(path, token, "GET"), path)

    async def add(
        self, path: SandboxPath, token: str, offset: int, data: bytes | AsyncIterator[bytes], *, whole: bool
    ) -> int:
        if not isinstance(data, bytes):
            if whole:
                return await self._stream(path, token, offset, data)
            return await add_in_pieces(offset, data, lambda offset, piece: self._pieces(path, token, offset, piece))
        if whole and len(data) > FITS:
            parameters = {"offset": offset, "whole": True}
            return _size(await self._ask(path, token, "PATCH", parameters, {**_BYTES, **digest(data)}, data), path)
        return await self._pieces(path, token, offset, data)

    async def _pieces(self, path: SandboxPath, token: str, offset: int, data: bytes) -> int:
        """Add bytes in pieces that the server has whole before it adds them."""
        for start in range(0, len(data) or 1, FITS):
            offset = await self._piece(path, token, offset, data[start : start + FITS])
        return offset

    async def _piece(self, path: SandboxPath, token: str, offset: int, piece: bytes) -> int:
        """Add a piece of at most FITS bytes, which arrives whole or not at all."""
        parameters: dict[str, Any] = {"offset": offset, "whole": True}
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                answer = await self._try(path, token, "PATCH", parameters, {**_BYTES, **digest(piece)}, piece)
            except Lost as error:
                if attempt == _ATTEMPTS:
                    raise error.told(OP, path.text, changes=True) from error
            except Integrity:
                if attempt == _ATTEMPTS:
                    raise
            else:
                return _size(answer, path)
            # it may have arrived all the same, or its beginning, where the server ended
            size = await self.size(path, token)
            if not offset <= size <= offset + len(piece):
                raise Conflict(OP, path.text, f"{size} bytes have arrived, not {offset}", size=size)
            piece, offset = piece[size - offset :], size
            parameters["offset"] = offset
            if not piece:
                return size
        raise AssertionError

    async def _stream(self, path: SandboxPath, token: str, offset: int, source: AsyncIterator[bytes]) -> int:
        """Add all of a stream or nothing."""
        # so that whoever sees the second piece asked for knows that this upload is being added to
        sending = Sending(self._asking, in_step=True)
        self._asking.check_open(OP, path.text)
        request = self._asking.request(
            "PATCH", _route(path, token), {"offset": offset, "whole": True}, {**_BYTES, **TRAILER}, sending.body()
        )
        try:
            response = await sending.send(request, b"", source)
            body = await self._asking.read(response)
        except Lost as error:
            self._asking.check_open(OP, path.text)
            raise error.told(OP, path.text, changes=sending.whole) from error
        if response.status_code != 200:
            raise self._asking.failure(response, body, OP, path.text)
        return parsed(lambda found: count(found["size"]), body, OP, path.text)

    async def finish(
        self, path: SandboxPath, token: str, size: int, sha256: str | None, options: dict[str, Any]
    ) -> Written:
        """Raises what the contract does, and Lost."""
        parameters = {"size": size, "sha256": sha256, **options}
        answer = await self._try(path, token, "POST", parameters)
        return parsed(self._shapes.written, answer.body, OP, path.text)

    async def abandon(self, path: SandboxPath, token: str) -> None:
        await self._ask(path, token, "DELETE", repeat=True)

    async def _ask(
        self, path: SandboxPath, token: str, method: str, parameters: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None, body: bytes | None = None, *, repeat: bool | None = None,
    ) -> Answer:  # fmt: skip
        return await self._asking.ask(
            OP, path.text, method, _route(path, token), parameters, headers=headers, body=body, repeat=repeat
        )

    async def _try(
        self, path: SandboxPath, token: str, method: str, parameters: dict[str, Any],
        headers: dict[str, str] | None = None, body: bytes | None = None,
    ) -> Answer:  # fmt: skip
        return await self._asking.try_ask(
            OP, path.text, method, _route(path, token), parameters, headers=headers, body=body
        )


def _route(path: SandboxPath, token: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise InvalidArgument(OP, path.text, "the token is not 16 hex digits")
    return f"parts/{token}/{segments(path)}"


def _size(answer: Answer, path: SandboxPath) -> int:
    return parsed(lambda found: count(found["size"]), answer.body, OP, path.text)
