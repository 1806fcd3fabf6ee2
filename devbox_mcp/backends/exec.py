"""A sandbox behind a transport: the guest beside its files, on a session that is kept warm.

What may be done twice without harm is repeated when the connection breaks. Of a write that broke it is looked whether
it happened: if the file's sha256 is that of what was sent, it is a success, whoever's bytes those are. Everything else
raises Unavailable, and says what is known.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

from devbox_mcp.backends import answers, checked
from devbox_mcp.backends.base import Backend, Progress
from devbox_mcp.backends.checked import parsed
from devbox_mcp.backends.exec_uploads import ExecUploads
from devbox_mcp.backends.pieces import joined, once
from devbox_mcp.errors import DevboxError, Integrity
from devbox_mcp.guest.policy import Policy
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
from devbox_mcp.session.calls import ConnectionLost, Incoming, Reply
from devbox_mcp.session.opening import Wanted
from devbox_mcp.session.warm import WarmSession
from devbox_mcp.tally import Tally
from devbox_mcp.transfer.downloads import Download
from devbox_mcp.transfer.uploads import Upload, gather
from devbox_mcp.transports.base import ExecTransport

#: What a zip's headers of one member take at most, twice its name of 4 KiB among them.
_MOST_HEADERS = 10 * 1024


class ExecBackend(Backend):
    """The files beneath a directory of wherever a transport leads, where there is Python 3.8 or newer."""

    capabilities = frozenset(Capability)

    def __init__(
        self,
        transport: ExecTransport,
        root: str | None = None,
        *,
        policy: Policy | None = None,
        use_openat2: bool = True,
        python: str = "python3",
        idle: float = 300.0,
        deadline: float = 30.0,
        reopens: bool = True,
        tally: Tally | None = None,
    ) -> None:
        """``root`` None is the directory that programs are started in. Nothing is connected before the first call,
        which raises Unsupported with ``data["program"]`` where there is no such Python, NotFound, NotDirectory and
        PermissionDenied for the root. The transport is closed with the backend. See
        WarmSession for ``idle``, ``deadline`` and ``reopens``."""
        policy = policy or Policy()
        wanted = Wanted(root, policy.deny, policy.read_only, use_openat2, python)
        self._transport = transport
        self._session = WarmSession(transport, wanted, idle=idle, deadline=deadline, reopens=reopens, tally=tally)
        self._uploads = ExecUploads(self._session)

    async def describe(self) -> Description:
        hello = await self._session.hello()
        return Description(
            "guest",
            {"place": self._transport.name, "python": hello.python, "user": str(hello.uid), "free": str(hello.free)},
        )

    async def root(self) -> str:
        return (await self._session.hello()).root

    async def relative(self, absolute: str) -> SandboxPath | None:
        reply = await self._call("relative", {"absolute": absolute}, "resolve", ROOT, repeat=True)
        return parsed(answers.path_of, reply.value, "resolve", ROOT) if reply.value is not None else None

    async def stat(self, path: SandboxPath, *, follow: bool = True, sha256: bool = False) -> FileInfo:
        args = {"path": path.text, "follow": follow, "sha256": sha256}
        reply = await self._call("stat", args, "stat", path, repeat=True)
        return parsed(answers.info, reply.value, "stat", path)

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
        args = {
            "path": path.text, "depth": depth, "glob": glob, "limit": limit,
            "after": None if after is None else after.text, "details": details,
        }  # fmt: skip
        reply = await self._call("list", args, "list", path, repeat=True)
        return parsed(answers.page, reply.value, "list", path)

    async def names(
        self,
        path: SandboxPath,
        *,
        depth: int = 1,
        glob: str | None = None,
        limit: int = 1000,
        after: str | None = None,
    ) -> Names:
        args = {"path": path.text, "depth": depth, "glob": glob, "limit": limit, "after": after}
        reply = await self._call("names", args, "list", path, repeat=True)
        return parsed(answers.names, reply.value, "list", path)

    async def read(self, path: SandboxPath, *, offset: int = 0, length: int | None = None) -> Content:
        args = {"path": path.text, "offset": offset, "length": length}
        reply = await self._call("read", args, "read", path, repeat=True)
        info, start, size = parsed(lambda value: checked.span(value, offset, length), reply.value, "read", path)
        if reply.stream is not None:
            download = Download(self._session, path.text, start, size, info.revision, checked.revision)
            return Content(info, start, download.chunks(reply.stream))
        if len(reply.data) != size:
            raise Integrity("read", path.text, "the guest sent another range than was asked for")
        return Content(info, start, once(reply.data))

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
        args = {"mode": mode, "if_match": if_match, "executable": executable, "in_place": in_place}
        source = data if not isinstance(data, bytes) else once(data)
        first, rest = await gather(source)
        upload = Upload(self._session, path.text, args)
        try:
            reply = await (upload.at_once(first) if rest is None else upload.run(first, rest, source))
        except ConnectionLost as error:
            if not upload.whole:
                raise
            return await self._decide(path, upload.sha256, mode, error)
        return parsed(answers.written, reply.value, "write", path)

    async def _decide(self, path: SandboxPath, sha256: str, mode: WriteMode, error: ConnectionLost) -> Written:
        """Look whether a write happened whose answer got lost. What was there before is not known any more. An
        addition cannot be told from what was there."""
        if mode != "append" and error.may_have_happened:
            with suppress(DevboxError):
                info = await self.stat(path, sha256=True)
                if info.sha256 == sha256:
                    return Written(info, created=mode == "create")
        raise error

    async def mkdir(self, path: SandboxPath) -> bool:
        return (await self._call("mkdir", {"path": path.text}, "mkdir", path)).value is True

    async def delete(self, path: SandboxPath, *, recursive: bool = False, if_match: str | None = None) -> int:
        args = {"path": path.text, "recursive": recursive, "if_match": if_match}
        return parsed(checked.count, (await self._call("delete", args, "delete", path)).value, "delete", path)

    async def move(
        self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False, if_match: str | None = None
    ) -> FileInfo:
        args = {
            "source": source.text, "destination": destination.text, "overwrite": overwrite, "if_match": if_match,
        }  # fmt: skip
        return parsed(answers.info, (await self._call("move", args, "move", source)).value, "move", source)

    async def copy(self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False) -> FileInfo:
        args = {"source": source.text, "destination": destination.text, "overwrite": overwrite}
        return parsed(answers.info, (await self._call("copy", args, "copy", source)).value, "copy", source)

    async def chmod(self, path: SandboxPath, mode: int, *, recursive: bool = False) -> int:
        args = {"path": path.text, "mode": mode, "recursive": recursive}
        return parsed(checked.count, (await self._call("chmod", args, "chmod", path)).value, "chmod", path)

    async def read_lines(self, path: SandboxPath, *, first: int, count: int | None, max_bytes: int) -> Lines:
        args = {"path": path.text, "first": first, "count": count, "max_bytes": max_bytes}
        reply = await self._call("read_lines", args, "read", path, repeat=True)
        data = reply.data
        if reply.stream is not None:
            data = await checked.at_most(reply.stream, max_bytes, path)
        if len(data) > max_bytes:
            raise checked.too_much("read", path)
        return parsed(lambda value: answers.lines(value, data), reply.value, "read", path)

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
        args = {
            "path": path.text, "pattern": pattern, "sort": sort, "ignored": ignored, "limit": limit, "after": after,
        }  # fmt: skip
        reply = await self._call("find", args, "find", path, repeat=True, seconds=seconds)
        return parsed(answers.found_entries, reply.value, "find", path)

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
        args = {
            "path": path.text, "pattern": pattern, "glob": glob, "regex": regex, "ignore_case": ignore_case,
            "context": context, "ignored": ignored, "limit": limit, "after": after,
        }  # fmt: skip
        reply = await self._call("search", args, "search", path, repeat=True, seconds=seconds)
        return parsed(answers.matches, reply.value, "search", path)

    async def watch(
        self,
        path: SandboxPath,
        *,
        cursor: str | None = None,
        timeout: float = 4.0,
        recursive: bool = True,
        limit: int = 1000,
    ) -> Events:
        args = {"path": path.text, "cursor": cursor, "timeout": timeout, "recursive": recursive, "limit": limit}
        # without a cursor it would start anew, and what changed meanwhile would be missed without a word
        reply = await self._call("watch", args, "watch", path, repeat=cursor is not None)
        return parsed(answers.events, reply.value, "watch", path)

    async def archive(
        self,
        paths: Sequence[SandboxPath],
        *,
        max_bytes: int,
        max_files: int,
        on_progress: Progress | None = None,
    ) -> Archive:
        args = {"paths": [path.text for path in paths], "max_bytes": max_bytes, "max_files": max_files}
        reply = await self._call("archive", args, "archive", paths[0], repeat=True, on_progress=on_progress)
        incoming = reply.stream
        if incoming is None:
            raise Integrity("archive", paths[0].text, "the guest sent no zip")

        async def chunks(stream: Incoming) -> AsyncIterator[bytes]:
            left = max_bytes + max_files * _MOST_HEADERS
            try:
                async for chunk in stream:
                    left -= len(chunk)
                    if left < 0:
                        raise checked.too_much("archive", paths[0])
                    yield chunk
            finally:
                await stream.aclose()
            final = stream.final
            answer.files = parsed(lambda value: checked.count(value["files"]), final, "archive", paths[0])
            answer.bytes = parsed(lambda value: checked.count(value["bytes"]), final, "archive", paths[0])
            answer.skipped = parsed(lambda value: answers.paths_of(value["skipped"]), final, "archive", paths[0])

        answer = Archive(chunks(incoming))
        return answer

    async def write_batch(self, items: Sequence[BatchItem], *, atomic: bool = False) -> Sequence[BatchOutcome]:
        path = items[0].path if items else ROOT
        plain = [
            {
                "path": item.path.text, "size": len(item.data), "executable": item.executable,
                "if_match": item.if_match,
            }
            for item in items
        ]  # fmt: skip
        body = joined([item.data for item in items])
        reply = await self._call("write_batch", {"items": plain, "atomic": atomic}, "write", path, body=body)
        return parsed(lambda value: answers.rows(items, value), reply.value, "write", path)

    async def upload_begin(
        self, path: SandboxPath, token: str, *, mode: WriteMode = "overwrite", if_match: str | None = None
    ) -> None:
        await self._uploads.begin(path.text, token, mode, if_match)

    async def upload_size(self, path: SandboxPath, token: str) -> int:
        return await self._uploads.size(path.text, token)

    async def upload_add(
        self,
        path: SandboxPath,
        token: str,
        offset: int,
        data: bytes | AsyncIterator[bytes],
        *,
        whole: bool = False,
    ) -> int:
        return await self._uploads.add(path.text, token, offset, data, whole=whole)

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
            reply = await self._uploads.finish(path.text, token, size, sha256, options)
        except ConnectionLost as error:
            if sha256 is None:
                raise
            return await self._decide(path, sha256.lower(), mode, error)
        return parsed(answers.written, reply.value, "upload", path)

    async def upload_abandon(self, path: SandboxPath, token: str) -> None:
        await self._uploads.abandon(path.text, token)

    async def aclose(self) -> None:
        await self._session.aclose()
        await self._transport.aclose()

    async def _call(
        self,
        operation: str,
        args: dict[str, Any],
        op: str,
        path: SandboxPath,
        data: bytes = b"",
        *,
        repeat: bool = False,
        body: AsyncIterator[bytes] | None = None,
        seconds: float | None = None,
        on_progress: Progress | None = None,
    ) -> Reply:
        return await self._session.call(
            operation, args, data, op=op, path=path.text, repeat=repeat, body=body, seconds=seconds,
            on_progress=on_progress,
        )  # fmt: skip
