"""The sha256 of files that are too large to hash while they are read: computed once for a version, and remembered.

A revision tells versions apart, but for a rewrite within one tick of the file system's clock. So a hash is remembered
only where it was begun when the revision was no longer new.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from weakref import WeakValueDictionary

from devbox_mcp.models import FileInfo
from devbox_mcp.paths import SandboxPath
from devbox_mcp.sandbox import Sandbox

_MOST = 4096
#: Longer than a tick of any clock that file systems use.
_TICK = 0.1
#: What was last changed so long ago is not new, whatever the difference between the clocks of two machines.
_SETTLED = 60.0

Key = tuple[str, SandboxPath]


class _Known:
    """What is known of a file: its revision, since when, and the hash."""

    __slots__ = ("revision", "sha256", "since")

    def __init__(self, info: FileInfo) -> None:
        self.revision = info.revision
        settled = time.time() - info.modified > _SETTLED
        self.since = float("-inf") if settled else time.monotonic()
        self.sha256: str | None = None


class Versions:
    """Remembers hashes of the files that were last asked for."""

    def __init__(self) -> None:
        self._files: OrderedDict[Key, _Known] = OrderedDict()
        self._turns: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()

    def known(self, sandbox: Sandbox, info: FileInfo) -> str | None:
        """Return the hash of this version if it is known."""
        return info.sha256 or self._look((sandbox.name, info.path), info).sha256

    async def hashed(self, sandbox: Sandbox, info: FileInfo) -> FileInfo:
        """Return the info with its hash, perhaps of a later version. Raises NotFound, …"""
        key = (sandbox.name, info.path)
        # many ask for parts of one large file at the same time: the first computes for all
        async with self._turns.setdefault(key, asyncio.Lock()):
            known = self._look(key, info)
            if known.sha256 is None:
                begun = time.monotonic()
                info = await sandbox.stat(info.path, sha256=True)
                known = self._look(key, info)
                if begun - known.since > _TICK:
                    known.sha256 = info.sha256
                return info
            return _with_hash(info, known.sha256)

    def _look(self, key: Key, info: FileInfo) -> _Known:
        known = self._files.get(key)
        if known is None or known.revision != info.revision:
            known = self._files[key] = _Known(info)
        self._files.move_to_end(key)
        if len(self._files) > _MOST:
            self._files.popitem(last=False)
        return known


def _with_hash(info: FileInfo, sha256: str) -> FileInfo:
    return FileInfo(
        info.path, info.type, info.size, info.mode, info.modified, info.links, info.revision, info.target, sha256
    )
