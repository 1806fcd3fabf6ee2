"""Requests to Sealos' server: its envelope opened, its paths made absolute."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import httpx2

from devbox_mcp.backends.http.asking import Asking
from devbox_mcp.backends.http.failures import Lost, failure, lost
from devbox_mcp.backends.http.sealos.envelope import opened
from devbox_mcp.errors import DevboxError, Integrity, InvalidArgument, TooLarge
from devbox_mcp.models import FileInfo
from devbox_mcp.paths import SandboxPath

#: ``MAX_FILE_SIZE`` of the server, unless it was set.
MOST = 100 << 20
_PAGE = 1000
#: A page that is shorter is the last: the server gives as many where it is not asked for a number.
_LEAST_PAGE = 100
#: Listings of one walk: the server follows links, and where they lead in circles it would go on for very long.
MOST_LISTINGS = 5_000
#: Entries of one directory that are listed.
_MOST_ENTRIES = 200_000
_JSON = {"Content-Type": "application/json"}
_BYTES = {"Content-Type": "application/octet-stream"}
_MODE = re.compile(r"[0-7]{3,5}")


class Calls:
    """The routes beneath ``/api/v1/files``, for the files beneath ``root``."""

    def __init__(self, asking: Asking, root: str, most_listings: int) -> None:
        self.asking = asking
        self.root = root
        self.most_listings = most_listings

    def absolute(self, path: SandboxPath, op: str) -> str:
        """Return a path as the server needs it. Raises InvalidArgument for one that JSON cannot hold."""
        try:
            path.text.encode("utf-8")
        except UnicodeEncodeError:
            raise InvalidArgument(op, path.text, "this server takes paths of UTF-8 text only") from None
        return self.root if path.is_root else f"{self.root.rstrip('/')}/{path.text}"

    async def post(self, op: str, path: SandboxPath, route: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Send JSON, and return what a success tells."""
        body = httpx2.Request("POST", "http://unused", json=dict(fields)).content
        answer = await self.asking.ask(op, path.text, "POST", f"files/{route}", headers=_JSON, body=body, small=False)
        return opened(answer.body, op, path.text, self.root)

    async def entries(self, path: SandboxPath, op: str) -> list[FileInfo]:
        """Return what is in a directory, in the order of the names' bytes. There is no total: it ends with a page that
        is short, or brings nothing new."""
        found: dict[str, FileInfo] = {}
        while True:
            parameters = {
                "path": self.absolute(path, op), "showHidden": True, "limit": _PAGE, "offset": len(found),
            }  # fmt: skip
            answer = await self.asking.ask(op, path.text, "GET", "files/list", parameters, small=False)
            told = opened(answer.body, op, path.text, self.root)
            try:
                page = [_info(path, entry) for entry in told["files"] or []]
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise Integrity(op, path.text, "the server's answer makes no sense", hint="try again") from error
            before = len(found)
            found.update((info.path.name, info) for info in page)
            if len(found) == before or len(page) < _LEAST_PAGE:
                break
            if len(found) > _MOST_ENTRIES:
                raise TooLarge(op, path.text, f"there are more than {_MOST_ENTRIES} entries", limit=_MOST_ENTRIES)
        return sorted(found.values(), key=lambda info: info.path.name.encode("utf-8", "surrogateescape"))

    async def content(self, path: SandboxPath, op: str) -> httpx2.Response:
        """Open a file; the answer's body is its bytes."""
        response = await self.asking.opened(
            op, path.text, "files/read", {"path": self.absolute(path, op)}, {}, accept=lambda status: status == 200
        )
        if response.headers.get("content-type", "").startswith("application/json"):
            try:
                body = await self.asking.read(response)
            except Lost as error:
                raise error.told(op, path.text, changes=False) from error
            opened(body, op, path.text, self.root)
        if not response.headers.get("content-length", "").isdigit():
            await response.aclose()
            raise Integrity(op, path.text, "the server does not say how long the file is")
        return response

    async def put(self, path: SandboxPath, data: AsyncIterator[bytes]) -> None:
        """Write a file, which the server does not do atomically. Raises TooLarge, and what the stream raises."""

        async def body() -> AsyncIterator[bytes]:
            size = 0
            async for piece in data:
                size += len(piece)
                if size > MOST:
                    raise TooLarge("write", path.text, f"this server takes {MOST} bytes a file", limit=MOST)
                yield piece

        self.asking.check_open("write", path.text)
        request = self.asking.request("POST", "files/write", {"path": self.absolute(path, "write")}, _BYTES, body())
        try:
            response = await self.asking.open(request)
            answer = await self.asking.read(response)
        except Lost as error:
            self.asking.check_open("write", path.text)
            raise error.told("write", path.text, changes=False) from error
        if response.status_code != 200:
            raise failure(response.status_code, response.headers.get("content-type", ""), answer, "write", path.text)
        opened(answer, "write", path.text, self.root)

    async def remove_quietly(self, path: SandboxPath) -> None:
        """Remove a temporary, if that can be."""
        with suppress(DevboxError):
            await self.post("write", path, "delete", {"path": self.absolute(path, "write"), "recursive": False})


async def pieces(response: httpx2.Response, path: SandboxPath, offset: int, end: int) -> AsyncIterator[bytes]:
    """Yield the bytes ``offset`` to ``end`` of a body: there are no ranges, so what comes before is passed by."""
    position = 0
    try:
        async for chunk in response.aiter_raw():
            wanted = chunk[max(offset - position, 0) : max(end - position, 0)]
            position += len(chunk)
            if wanted:
                yield wanted
            if position >= end:
                return
    except (httpx2.TransportError, httpx2.StreamError) as error:
        raise lost(error).told("read", path.text, changes=False) from error
    finally:
        await response.aclose()
    if position < end:
        raise Integrity("read", path.text, "the server sent less than it said")


def _info(above: SandboxPath, found: Any) -> FileInfo:
    """Return an entry of a listing. Raises ValueError, TypeError, KeyError for what is none."""
    name, size, directory, mode = found["name"], found["size"], found["isDir"], found["permissions"]
    if type(name) is not str or name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError("a name")
    if type(size) is not int or size < 0 or type(directory) is not bool:
        raise TypeError("an entry")
    if type(mode) is not str or not _MODE.fullmatch(mode):
        raise ValueError("permission bits")
    modified = _seconds(found["modified"])
    return FileInfo(
        above.child(name), "directory" if directory else "file", 0 if directory else size, int(mode, 8) & 0o7777,
        modified, revision=f"-{size:x}-{modified!r}-{mode}",
    )  # fmt: skip


def _seconds(told: Any) -> float:
    if type(told) is str:
        return datetime.fromisoformat(told).timestamp()
    if type(told) not in (int, float):
        raise TypeError("a time")
    return float(told)
