"""A devbox behind this project's gateway, by its HTTP API (docs/http-api.md).

What may be done twice without harm is repeated when the connection breaks. Of a write that broke it is looked whether
it happened, by its sha256. Everything else raises Unavailable, and says what is known.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from devbox_mcp.backends.base import Backend, Progress
from devbox_mcp.backends.http.address import Address, segments
from devbox_mcp.backends.http.archiving import open_archive
from devbox_mcp.backends.http.asking import Answer, Asking, parsed
from devbox_mcp.backends.http.batching import write_batch
from devbox_mcp.backends.http.failures import Lost
from devbox_mcp.backends.http.reading import Reading
from devbox_mcp.backends.http.shapes import Shapes, count
from devbox_mcp.backends.http.uploads import Uploads
from devbox_mcp.backends.http.writing import Writing, version
from devbox_mcp.backends.told import encoded
from devbox_mcp.errors import DevboxError, Integrity, InvalidArgument
from devbox_mcp.models import (
    Archive,
    BatchItem,
    BatchOutcome,
    Capability,
    Content,
    Description,
    Events,
    FileInfo,
    Found,
    Lines,
    Matches,
    Names,
    Page,
    SortOrder,
    WriteMode,
    Written,
)
from devbox_mcp.paths import ROOT, SandboxPath

T = TypeVar("T")

_JSON = {"Content-Type": "application/json"}
#: Seconds that one request waits for a change.
_WAIT = 50.0
_LONGEST_SEARCH = 600.0
#: Most entries that one request asks for, as the gateway has it.
_PAGE = 1000


class HttpBackend(Backend):
    """The files of one devbox of a gateway."""

    def __init__(self, asking: Asking, name: str, described: dict[str, Any]) -> None:
        """See ``open``."""
        self._asking = asking
        self._name = name
        self._root: str = described["root"]
        self._depth: int = described["depth"]
        self.capabilities = frozenset(one for one in Capability if one.value in described["capabilities"])
        self._shapes = Shapes(name)
        self._reading = Reading(asking, self._shapes)
        self._writing = Writing(asking, self._shapes)
        self._uploads = Uploads(asking, self._shapes)

    @classmethod
    async def open(cls, address: Address, key: str | None = None, *, tunnel: bool = True) -> HttpBackend:
        """Ask a gateway what its devbox can do. ``tunnel`` lets small requests go over one WebSocket. Raises
        NotFound, Unauthenticated, Unavailable, …"""
        if address.devbox is None:
            raise InvalidArgument("connect", ".", "the URL names no devbox", hint="write https://HOST/NAME")
        asking = Asking(address.base, key, tunnel=tunnel)
        try:
            answer = await asking.ask("connect", ".", "GET", "", small=False)
            return cls(asking, address.devbox, parsed(_described, answer.body, "connect", "."))
        except BaseException:
            await asking.aclose()
            raise

    async def describe(self) -> Description:
        version = "WebSocket" if self._asking.tunnelled else "HTTP"
        return Description("http", {"devbox": self._name, "server": self._asking.origin, "small calls": version})

    async def root(self) -> str:
        self._asking.check_open("open", ".")
        return self._root

    async def relative(self, absolute: str) -> SandboxPath | None:
        answer = await self._get("resolve", ROOT, "root", {"absolute": absolute})
        return parsed(
            lambda found: None if found["path"] is None else self._shapes.path(found["path"]),
            answer.body, "resolve", ".",
        )  # fmt: skip

    async def stat(self, path: SandboxPath, *, follow: bool = True, sha256: bool = False) -> FileInfo:
        answer = await self._get("stat", path, f"stat/{segments(path)}", {"follow": follow, "sha256": sha256})
        return parsed(self._shapes.info, answer.body, "stat", path.text)

    async def list(
        self,
        path: SandboxPath,
        *,
        depth: int = 1,
        glob: str | None = None,
        limit: int = 1000,
        after: SandboxPath | None = None,
        details: bool = False,
    ) -> Page:
        parameters = {
            "depth": self._levels(depth, glob), "glob": glob, "limit": min(limit, _PAGE), "details": details,
            "cursor": None if after is None else _cursor(after.text),
        }  # fmt: skip
        answer = await self._get("list", path, f"list/{segments(path)}", parameters)
        page = parsed(self._shapes.page, answer.body, "list", path.text)
        if self._levels(depth, glob) < depth:
            page.unreadable.extend(
                info.path
                for info in page.entries
                if info.type == "directory" and info.path.below(path).count("/") + 1 == self._depth
            )
        return page

    async def names(
        self,
        path: SandboxPath,
        *,
        depth: int = 1,
        glob: str | None = None,
        limit: int = 1000,
        after: str | None = None,
    ) -> Names:
        levels = self._levels(depth, glob)
        parameters = {"depth": levels, "glob": glob, "limit": min(limit, _PAGE), "cursor": _cursor(after)}
        answer = await self._get("list", path, f"names/{segments(path)}", parameters)
        names = parsed(lambda found: self._shapes.names(path, found), answer.body, "list", path.text)
        if levels < depth:
            names.unreadable.extend(
                path.child(name[:-1]) for name in names.names if name.endswith("/") and name.count("/") == levels
            )
        return names

    async def read(self, path: SandboxPath, *, offset: int = 0, length: int | None = None) -> Content:
        if offset < 0 or (length is not None and length < 0):
            raise InvalidArgument("read", path.text, "a range of bytes has no negative offset or length")
        return await self._reading.read(path, offset, length)

    async def write(
        self,
        path: SandboxPath,
        data: bytes | AsyncIterator[bytes],
        *,
        mode: WriteMode = "overwrite",
        if_match: str | None = None,
        executable: bool | None = None,
        in_place: bool = False,
    ) -> Written:
        return await self._writing.write(
            path, data, mode, if_match, {"executable": executable, "in_place": in_place or None}
        )

    async def mkdir(self, path: SandboxPath) -> bool:
        answer = await self._asking.ask("mkdir", path.text, "PUT", f"directories/{segments(path)}")
        return parsed(lambda found: found["created"] is True, answer.body, "mkdir", path.text)

    async def delete(self, path: SandboxPath, *, recursive: bool = False, if_match: str | None = None) -> int:
        answer = await self._asking.ask(
            "delete", path.text, "DELETE", f"files/{segments(path)}", {"recursive": recursive or None},
            headers=version("delete", path, if_match),
        )  # fmt: skip
        return parsed(lambda found: count(found["deleted"]), answer.body, "delete", path.text)

    async def move(
        self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False, if_match: str | None = None
    ) -> FileInfo:
        places = {"source": self._shown(source), "destination": self._shown(destination)}
        answer = await self._post("move", source, {**places, "overwrite": overwrite, "if_match": if_match})
        return parsed(self._shapes.info, answer.body, "move", source.text)

    async def copy(self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False) -> FileInfo:
        places = {"source": self._shown(source), "destination": self._shown(destination)}
        answer = await self._post("copy", source, {**places, "overwrite": overwrite})
        return parsed(self._shapes.info, answer.body, "copy", source.text)

    async def chmod(self, path: SandboxPath, mode: int, *, recursive: bool = False) -> int:
        if not 0 <= mode <= 0o7777:
            raise InvalidArgument("chmod", path.text, "these are no permission bits")
        asked = {"path": self._shown(path), "mode": f"{mode:04o}", "recursive": recursive}
        return parsed(
            lambda found: count(found["changed"]), (await self._post("chmod", path, asked)).body, "chmod", path.text
        )

    async def read_lines(self, path: SandboxPath, *, first: int, count: int | None, max_bytes: int) -> Lines:
        parameters = {"first": first, "count": count, "most": max_bytes}
        answer = await self._get("read", path, f"lines/{segments(path)}", parameters)
        if len(answer.body) > max_bytes:
            raise Integrity("read", path.text, "the server sent more than was asked for")
        about = answer.headers.get("x-devbox-lines", "")
        return parsed(lambda found: self._shapes.window(found, answer.body), about, "read", path.text)

    async def find(
        self,
        path: SandboxPath,
        pattern: str,
        *,
        sort: SortOrder = "name",
        ignored: bool = False,
        limit: int = 200,
        after: str | None = None,
        seconds: float = 20.0,
    ) -> Found:
        parameters = {
            "path": self._shown(path), "pattern": pattern, "sort": sort, "ignored": ignored,
            "limit": min(limit, _PAGE), "cursor": _cursor(after), "seconds": min(seconds, _LONGEST_SEARCH),
        }  # fmt: skip
        answer = await self._get("find", path, "find", parameters, seconds=seconds)
        return parsed(self._shapes.found, answer.body, "find", path.text)

    async def search(
        self,
        path: SandboxPath,
        pattern: str,
        *,
        glob: str | None = None,
        regex: bool = True,
        ignore_case: bool = False,
        context: int = 0,
        ignored: bool = False,
        limit: int = 200,
        after: str | None = None,
        seconds: float = 20.0,
    ) -> Matches:
        parameters = {
            "path": self._shown(path), "pattern": pattern, "glob": glob, "regex": regex, "ignore_case": ignore_case,
            "context": context, "ignored": ignored, "limit": min(limit, _PAGE), "cursor": _cursor(after),
            "seconds": min(seconds, _LONGEST_SEARCH),
        }  # fmt: skip
        answer = await self._get("search", path, "search", parameters, seconds=seconds)
        return parsed(self._shapes.matches, answer.body, "search", path.text)

    async def watch(
        self,
        path: SandboxPath,
        *,
        cursor: str | None = None,
        timeout: float = 4.0,
        recursive: bool = True,
        limit: int = 1000,
    ) -> Events:
        left = timeout
        while True:
            wait = min(left, _WAIT)
            parameters = {
                "path": self._shown(path), "cursor": cursor, "timeout": wait, "recursive": recursive,
                "limit": min(limit, _PAGE),
            }  # fmt: skip
            # without a cursor it would start anew, and what changed meanwhile would be missed without a word
            answer = await self._get("watch", path, "changes", parameters, repeat=cursor is not None, seconds=wait)
            events = parsed(self._shapes.events, answer.body, "watch", path.text)
            left -= wait
            if events.events or events.resync or left <= 0:
                return events
            cursor = events.cursor

    async def archive(
        self,
        paths: Sequence[SandboxPath],
        *,
        max_bytes: int,
        max_files: int,
        on_progress: Progress | None = None,
    ) -> Archive:
        shown = [self._shown(path) for path in paths]
        return await open_archive(self._asking, self._shapes, paths[0].text, shown, max_bytes, max_files, on_progress)

    async def write_batch(self, items: Sequence[BatchItem], *, atomic: bool = False) -> Sequence[BatchOutcome]:
        self._asking.check_open("write", ".")
        return await write_batch(self._asking, self._shapes, items, [self._shown(item.path) for item in items], atomic)

    async def upload_begin(
        self, path: SandboxPath, token: str, *, mode: WriteMode = "overwrite", if_match: str | None = None
    ) -> None:
        await self._uploads.begin(path, token, mode, if_match)

    async def upload_size(self, path: SandboxPath, token: str) -> int:
        return await self._uploads.size(path, token)

    async def upload_add(
        self,
        path: SandboxPath,
        token: str,
        offset: int,
        data: bytes | AsyncIterator[bytes],
        *,
        whole: bool = False,
    ) -> int:
        return await self._uploads.add(path, token, offset, data, whole=whole)

    async def upload_finish(
        self,
        path: SandboxPath,
        token: str,
        size: int,
        *,
        sha256: str | None = None,
        mode: WriteMode = "overwrite",
        if_match: str | None = None,
        executable: bool | None = None,
    ) -> Written:
        options = {"mode": mode, "if_match": if_match, "executable": executable}
        try:
            return await self._uploads.finish(path, token, size, sha256, options)
        except Lost as error:
            if sha256 is not None and mode != "append" and error.sent:
                with suppress(DevboxError):
                    info = await self.stat(path, sha256=True)
                    if info.sha256 == sha256.lower():
                        return Written(info, created=mode == "create")
            raise error.told("upload", path.text, changes=True) from error

    async def upload_abandon(self, path: SandboxPath, token: str) -> None:
        await self._uploads.abandon(path, token)

    async def aclose(self) -> None:
        await self._asking.aclose()

    async def _get(
        self, op: str, path: SandboxPath, route: str, parameters: Mapping[str, object], *, repeat: bool = True,
        seconds: float | None = None,
    ) -> Answer:  # fmt: skip
        return await self._asking.ask(op, path.text, "GET", route, parameters, repeat=repeat, seconds=seconds)

    async def _post(self, op: str, path: SandboxPath, asked: dict[str, Any]) -> Answer:
        return await self._asking.ask(op, path.text, "POST", op, headers=_JSON, body=json.dumps(asked).encode("ascii"))

    def _levels(self, depth: int, glob: str | None) -> int:
        """Return how many levels the gateway is asked for: what is deeper than it looks is told as unreadable. A glob
        hides which directories those are, so then it is for the gateway to refuse."""
        return min(depth, self._depth) if glob is None else depth

    def _shown(self, path: SandboxPath) -> str:
        return path.shown(self._name)


def _described(found: Any) -> dict[str, Any]:
    """Look at what a gateway says of a devbox."""
    root, capabilities = found["root"], found["capabilities"]
    if type(root) is not str or not root.startswith("/") or type(capabilities) is not list:
        raise ValueError("a devbox")
    return {"root": root, "capabilities": capabilities, "depth": count(found["limits"]["depth"])}


def _cursor(after: str | None) -> str | None:
    """Return what resumes behind a path, percent-encoded once more: as the API's cursors are."""
    return None if after is None else encoded(after)
