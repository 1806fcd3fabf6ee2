"""Writing a file: what is small by one small request, the rest as a stream; verified at both ends."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

from devbox_mcp.backends.http.address import segments
from devbox_mcp.backends.http.asking import Asking, parsed
from devbox_mcp.backends.http.failures import Lost
from devbox_mcp.backends.http.reading import FITS
from devbox_mcp.backends.http.sending import TRAILER, Sending
from devbox_mcp.backends.http.shapes import Shapes
from devbox_mcp.errors import DevboxError, Integrity, InvalidArgument
from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.versions import check_prefix
from devbox_mcp.models import FileInfo, WriteMode, Written
from devbox_mcp.paths import SandboxPath

_ATTEMPTS = 3
_BYTES = {"Content-Type": "application/octet-stream"}


def version(op: str, path: SandboxPath, if_match: str | None) -> dict[str, str]:
    """Return the header that asks for a version. Raises InvalidArgument for what is none."""
    if if_match is None:
        return {}
    try:
        check_prefix(if_match, path.text)
    except GuestError as error:
        raise InvalidArgument(op, path.text, error.detail) from None
    return {"If-Match": f'"{if_match}"'}


def digest(data: bytes) -> dict[str, str]:
    """Return the header that tells the hash of a body."""
    return {"Repr-Digest": f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode('ascii')}:"}


class Writing:
    """See ``Backend.write``."""

    def __init__(self, asking: Asking, shapes: Shapes) -> None:
        self._asking = asking
        self._shapes = shapes

    async def write(
        self,
        path: SandboxPath,
        data: bytes | AsyncIterator[bytes],
        mode: WriteMode,
        if_match: str | None,
        options: Mapping[str, object],
    ) -> Written:
        headers = {**_BYTES, **version("write", path, if_match)}
        if mode == "create":
            if if_match is not None:
                raise InvalidArgument("write", path.text, "if_match and create cannot both be met")
            headers["If-None-Match"] = "*"
        elif mode not in ("overwrite", "append"):
            raise InvalidArgument("write", path.text, f"the mode is {mode!r}")
        begun = data if isinstance(data, bytes) else await _begun(data)
        write = _Write(self._asking, self._shapes, path, mode, headers, options)
        if isinstance(data, bytes) or len(begun) <= FITS:
            return await write.at_once(begun, repeat=mode == "create" or if_match is not None)
        return await write.streamed(begun, data)


class _Write:
    """One write; ``headers`` hold its conditions."""

    def __init__(
        self, asking: Asking, shapes: Shapes, path: SandboxPath, mode: WriteMode, headers: Mapping[str, str],
        options: Mapping[str, object],
    ) -> None:  # fmt: skip
        self._asking = asking
        self._shapes = shapes
        self._path = path
        self._mode = mode
        self._method = "PATCH" if mode == "append" else "PUT"
        self._headers = headers
        self._options = options

    @property
    def _route(self) -> str:
        return f"files/{segments(self._path)}"

    async def at_once(self, data: bytes, *, repeat: bool) -> Written:
        """Write what is whole. With ``repeat`` its condition keeps it from happening twice."""
        sha256 = hashlib.sha256(data).hexdigest()
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                answer = await self._asking.try_ask(
                    "write", self._path.text, self._method, self._route, self._options,
                    headers={**self._headers, **digest(data)}, body=data, small=len(data) <= FITS,
                )  # fmt: skip
            except Lost as error:
                written = await self._decide(sha256, error)
                if written is not None:
                    return written
                if not repeat or attempt == _ATTEMPTS:
                    raise error.told("write", self._path.text, changes=True) from error
            else:
                return self._written(answer.body, sha256)
        raise AssertionError

    async def streamed(self, begun: bytes, source: AsyncIterator[bytes]) -> Written:
        """Write a stream."""
        sending = Sending(self._asking)
        path = self._path.text
        self._asking.check_open("write", path)
        request = self._asking.request(
            self._method, self._route, self._options, {**self._headers, **TRAILER}, sending.body()
        )
        try:
            response = await sending.send(request, begun, source)
            answer = await self._asking.read(response)
        except Lost as error:
            self._asking.check_open("write", path)
            written = await self._decide(sending.sha256, error) if sending.whole else None
            if written is not None:
                return written
            raise error.told("write", path, changes=sending.whole) from error
        if response.status_code not in (200, 201):
            raise self._asking.failure(response, answer, "write", path)
        return self._written(answer, sending.sha256)

    async def _decide(self, sha256: str, error: Lost) -> Written | None:
        """Look whether a write happened whose answer got lost. What was there before is not known any more. An
        addition cannot be told from what was there."""
        if self._mode != "append" and error.sent:
            with suppress(DevboxError):
                info = await self._stat()
                if info.sha256 == sha256:
                    return Written(info, created=self._mode == "create")
        return None

    async def _stat(self) -> FileInfo:
        path = self._path
        answer = await self._asking.ask("write", path.text, "GET", f"stat/{segments(path)}", {"sha256": True})
        return parsed(self._shapes.info, answer.body, "write", path.text)

    def _written(self, body: bytes, sha256: str) -> Written:
        written = parsed(self._shapes.written, body, "write", self._path.text)
        if self._mode != "append" and written.info.sha256 != sha256:
            raise Integrity(
                "write", self._path.text, "the server wrote other bytes than were sent", hint="read the file again"
            )
        return written


async def _begun(source: AsyncIterator[bytes]) -> bytes:
    """Return the beginning of a stream: all of it, if it is no longer than one request holds."""
    gathered = bytearray()
    async for piece in source:
        gathered += piece
        if len(gathered) > FITS:
            break
    return bytes(gathered)
