"""Reading a file: what is small by one small request, the rest as a stream."""

from __future__ import annotations

import hashlib

from devbox_mcp.backends.http.address import segments
from devbox_mcp.backends.http.asking import Answer, Asking, parsed
from devbox_mcp.backends.http.downloads import Download, Part, condition, part_of
from devbox_mcp.backends.http.failures import Lost
from devbox_mcp.backends.http.shapes import Shapes
from devbox_mcp.backends.pieces import once
from devbox_mcp.errors import Conflict, DevboxError, Integrity
from devbox_mcp.models import Content
from devbox_mcp.paths import SandboxPath

#: What one small request brings.
FITS = 1 << 20
_ATTEMPTS = 5


class Reading:
    """See ``Backend.read``."""

    def __init__(self, asking: Asking, shapes: Shapes) -> None:
        self._asking = asking
        self._shapes = shapes

    async def read(self, path: SandboxPath, offset: int, length: int | None) -> Content:
        for _ in range(_ATTEMPTS):
            content = await (
                self._stream(path, offset, length)
                if length is not None and length > FITS
                else self._small_first(path, offset, length)
            )
            if content is not None:
                return content
        raise Conflict("read", path.text, "the file is changed again and again", hint="read it again")

    async def _small_first(self, path: SandboxPath, offset: int, length: int | None) -> Content | None:
        """Ask for what fits; and for the rest if there is more. None where the file changed in between."""
        most = FITS if length is None else max(length, 1)
        try:
            answer = await self._asking.try_ask(
                "read", path.text, "GET", _route(path), headers={"Range": f"bytes={offset}-{offset + most - 1}"},
                accept=lambda status: status in (200, 206, 416), repeat=length == 0,
            )  # fmt: skip
        except Lost as error:
            if length == 0:
                raise error.told("read", path.text, changes=False) from error
            return await self._stream(path, offset, length)  # which goes on where it breaks
        if answer.status == 416:
            return await self._behind_the_end(path, offset)
        part = self._part(answer, path, offset)
        if len(answer.body) != part.length:
            raise Integrity("read", path.text, "the server sent another range than it said")
        end = part.info.size if length is None else min(offset + length, part.info.size)
        if end <= part.first + part.length:
            data = answer.body[: end - part.first]
            if part.first == 0 and end == part.info.size:
                _compare(data, part, path)
            return Content(part.info, part.first, once(data))
        return await self._rest(path, part, answer.body, end)

    async def _rest(self, path: SandboxPath, part: Part, begun: bytes, end: int) -> Content | None:
        """Open the rest of the same version now: should the file be replaced later, the old one is read on."""
        first = part.first + part.length
        headers = {"Range": f"bytes={first}-{end - 1}", **condition(part.tag)}
        response = await self._asking.opened(
            "read", path.text, _route(path), {}, headers, accept=lambda status: status in (206, 412, 416)
        )
        try:
            rest = None
            if response.status_code == 206:
                rest = part_of(206, response.headers, path.text, self._shapes)
            if rest is None or (rest.tag, rest.first, rest.length) != (part.tag, first, end - first):
                await response.aclose()
                return None
        except DevboxError:
            await response.aclose()
            raise
        download = Download(self._asking, self._shapes, _route(path), path.text, part, end)
        return Content(part.info, part.first, download.chunks(begun, response))

    async def _stream(self, path: SandboxPath, offset: int, length: int | None) -> Content | None:
        last = "" if length is None else offset + length - 1
        response = await self._asking.opened(
            "read", path.text, _route(path), {}, {"Range": f"bytes={offset}-{last}"},
            accept=lambda status: status in (200, 206, 416),
        )  # fmt: skip
        if response.status_code == 416:
            await response.aclose()
            return await self._behind_the_end(path, offset)
        try:
            part = part_of(response.status_code, response.headers, path.text, self._shapes)
            end = part.info.size if length is None else min(offset + length, part.info.size)
            if (part.first, part.length) != (offset, end - offset):
                raise Integrity("read", path.text, "the server sends another range than was asked for")
        except DevboxError:
            await response.aclose()
            raise
        download = Download(self._asking, self._shapes, _route(path), path.text, part, end)
        return Content(part.info, offset, download.chunks(b"", response))

    async def _behind_the_end(self, path: SandboxPath, offset: int) -> Content | None:
        answer = await self._asking.ask("read", path.text, "GET", f"stat/{segments(path)}")
        info = parsed(self._shapes.info, answer.body, "read", path.text)
        return Content(info, info.size, once(b"")) if info.size <= offset else None

    def _part(self, answer: Answer, path: SandboxPath, offset: int) -> Part:
        part = part_of(answer.status, answer.headers, path.text, self._shapes)
        if part.first != offset:
            raise Integrity("read", path.text, "the server sent another range than was asked for")
        return part


def _compare(data: bytes, part: Part, path: SandboxPath) -> None:
    if part.info.sha256 is not None and hashlib.sha256(data).hexdigest() != part.info.sha256:
        raise Integrity("read", path.text, "the bytes that arrived do not have the file's sha256")


def _route(path: SandboxPath) -> str:
    return f"files/{segments(path)}"
