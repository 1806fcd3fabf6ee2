"""Windows of whole lines: small files in one read, large ones chunk by chunk from one version."""

from __future__ import annotations

import time
from dataclasses import replace

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.composed.small import closing
from devbox_mcp.errors import Conflict
from devbox_mcp.guest.line_index import Known, LineIndex
from devbox_mcp.guest.windows import HEAD, WHOLE, Scan, Wanted, Window, binary_window, from_whole, is_binary
from devbox_mcp.models import FileInfo, Lines
from devbox_mcp.paths import SandboxPath

_CHUNK = 1 << 20
_ATTEMPTS = 3
#: Seconds. What was changed so lately may change again without its times telling; some tell whole seconds only.
_RACY = 2.0


class LineReader:
    """Reads lines of a backend's files, and keeps what it learnt of large ones."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._index = LineIndex()

    async def read_lines(self, path: SandboxPath, first: int, count: int | None, max_bytes: int) -> Lines:
        """Answer as ``Backend.read_lines``. Raises what ``read`` raises, GuestError for wrong arguments."""
        wanted = Wanted(path.text, first, count, max_bytes)
        for _ in range(_ATTEMPTS):
            try:
                return await self._attempt(path, wanted)
            except Conflict:
                continue
        raise _changed(path)

    async def _attempt(self, path: SandboxPath, wanted: Wanted) -> Lines:
        began = time.time()
        async with closing(await self._backend.read(path, length=WHOLE)) as content:
            info = content.info
            if info.size <= WHOLE:
                data = await content.read()
                if len(data) != info.size:
                    raise _changed(path)
                return _lines(info, from_whole(data, wanted))
            head = b""
            async for chunk in content:
                head += chunk
                if len(head) >= HEAD:
                    break
        if is_binary(head[:HEAD]):
            return _lines(info, binary_window(wanted))
        key = (0, f"{path.text}\0{info.revision}")
        known = self._index.recall(key)
        window = await self._scan(path, info, known, wanted)
        if began - info.modified > _RACY:
            self._index.remember(key, known)
        return _lines(info, window)

    async def _scan(self, path: SandboxPath, info: FileInfo, known: Known, wanted: Wanted) -> Window:
        reading = Scan(info.size, known, _CHUNK).answer(wanted)
        try:
            offset, length = next(reading)
            while True:
                async with closing(await self._backend.read(path, offset=offset, length=length)) as content:
                    data = await content.read()
                if content.info.revision != info.revision or not data:
                    raise _changed(path)
                offset, length = reading.send(data)
        except StopIteration as end:
            window: Window = end.value
            return window


def _lines(info: FileInfo, window: Window) -> Lines:
    return Lines(info=replace(info, sha256=window.pop("sha256") or info.sha256), **window)


def _changed(path: SandboxPath) -> Conflict:
    return Conflict(
        "read", path.text, "the file was changed while it was read", hint="try again when nothing writes it"
    )
