"""Watching by looking again: what lists tell now is compared with what they told before.

What comes and goes between two looks is not seen, nor is a change that leaves a file's revision as it was. Nobody
looks between two calls: the next one tells what is different by then.
"""

from __future__ import annotations

import asyncio
import os
import time

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.composed.small import GONE, identity
from devbox_mcp.errors import InvalidArgument, NotFound, TooLarge, TooManyLinks, Unavailable
from devbox_mcp.guest.journal import DELETED, Delivery, Journal, parse_cursor
from devbox_mcp.guest.journal import Event as JournalEvent
from devbox_mcp.guest.snapshots import Snapshot, Stamp, compare
from devbox_mcp.models import Event, Events, FileInfo
from devbox_mcp.paths import SandboxPath

_MOST_WATCHES = 64
_MOST_EVENTS = 10_000
_MOST_ENTRIES = 200_000
_KEPT_SECONDS = 600.0  # after the last call that asked for it
_LOOK_SECONDS = 0.5  # between two looks
_LOOK_SHARE = 4  # and at least so many times what a look takes
_DEEPEST = 256
_PAGE = 10_000


class Watches:
    """All that is watched of one backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._watches: dict[tuple[SandboxPath, bool], _Watched] = {}
        self._closed = asyncio.Event()

    async def changes(
        self, path: SandboxPath, *, cursor: str | None, timeout: float, recursive: bool, limit: int
    ) -> Events:
        """Answer as ``Backend.watch``. Raises what ``stat`` and ``list`` raise, GuestError for what is no cursor."""
        since = None if cursor is None else parse_cursor(cursor, path.text)
        if limit < 1:
            raise InvalidArgument("watch", path.text, "limit is less than 1")
        deadline = time.monotonic() + timeout
        watched = await self._find(path, recursive)
        if since is not None and since[0] != watched.journal.epoch:
            return watched.resync()
        position = watched.journal.now() if since is None else since[1]
        while True:
            found = watched.journal.since(position, limit)
            if found is None:
                return watched.resync()
            now = time.monotonic()
            if found.events or now >= deadline or watched.ended:
                break
            position = found.position  # what took itself back is done with
            await self._pause(path, min(watched.next_look, deadline) - now)
            await watched.look()
        if watched.ended:
            self._drop(watched)
            if not found.events:
                raise NotFound("watch", path.text)
        return watched.answer(found)

    def close(self) -> None:
        """Let everybody who waits go."""
        self._closed.set()
        self._watches.clear()

    async def _pause(self, path: SandboxPath, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._closed.wait(), max(seconds, 0.0))
        except TimeoutError:
            return
        raise Unavailable("watch", path.text, "this devbox was closed")

    async def _find(self, path: SandboxPath, recursive: bool) -> _Watched:
        """Return the watch of a path, brought up to date."""
        self._prune()
        key = (path, recursive)
        watched = self._watches.get(key)
        if watched is None:
            watched = _Watched(self._backend, path, recursive)
            await watched.look()
            # another call may have begun the same meanwhile
            watched = self._watches.setdefault(key, watched)
        else:
            await watched.look()
        watched.used = time.monotonic()
        return watched

    def _prune(self) -> None:
        oldest = time.monotonic() - _KEPT_SECONDS
        by_use = sorted(self._watches.values(), key=lambda watched: watched.used)
        for number, watched in enumerate(by_use):
            if watched.used < oldest or number <= len(by_use) - _MOST_WATCHES:
                self._drop(watched)

    def _drop(self, watched: _Watched) -> None:
        key = (watched.path, watched.recursive)
        if self._watches.get(key) is watched:
            del self._watches[key]


class _Watched:
    """One path, what was seen there last, and the journal of how it came to that."""

    def __init__(self, backend: Backend, path: SandboxPath, recursive: bool) -> None:
        self.path = path
        self.recursive = recursive
        self.used = time.monotonic()
        self.next_look = 0.0
        self.ended = False  # it is gone, and the journal says so
        self.journal = Journal(os.urandom(8).hex(), _MOST_EVENTS)
        self._backend = backend
        self._looking = asyncio.Lock()
        self._looks = 0
        self._top: Stamp | None = None
        self._seen: Snapshot = {}

    async def look(self) -> None:
        """Bring the journal up to date with everything that happened before this call."""
        before = self._looks
        async with self._looking:
            # a look that began after this call serves it as well
            if self._looks > before + 1 or self.ended:
                return
            began = time.monotonic()
            await self._look()
            self._looks += 1
            now = time.monotonic()
            self.next_look = now + max(_LOOK_SECONDS, _LOOK_SHARE * (now - began))

    async def _look(self) -> None:
        try:
            top, seen = await self._snapshot()
        except (*GONE, TooManyLinks):
            if self._top is None:
                raise
            top, seen = None, {}
        if self._top is not None:
            for event in self._changes(self._top, top, seen):
                self.journal.append(event)
        self.ended = top is None
        self._top, self._seen = top, seen

    def _changes(self, old: Stamp, new: Stamp | None, seen: Snapshot) -> list[JournalEvent]:
        text = self.path.text
        if not old.directory:
            return compare({text: old}, {} if new is None else {text: new})
        if new is None or new.lasting != old.lasting:
            # a directory is watched itself, not whatever takes its name; what was beneath it went with it
            events = [JournalEvent(DELETED, text, True)]
            return events if new is None else [*events, *compare({}, {text: new, **seen})]
        return compare(self._seen, seen)

    async def _snapshot(self) -> tuple[Stamp | None, Snapshot]:
        """Return the stamp of what is watched, and those of what is beneath it."""
        info = await self._backend.stat(self.path)
        return _stamp(info), await self._beneath() if info.type == "directory" else {}

    async def _beneath(self) -> Snapshot:
        found: Snapshot = {}
        after: SandboxPath | None = None
        while True:
            page = await self._backend.list(
                self.path, depth=_DEEPEST if self.recursive else 1, limit=_PAGE, after=after, details=True
            )
            for entry in page.entries:
                found[entry.path.text] = _stamp(entry)
            after = page.after
            if after is None:
                return found
            if len(found) > _MOST_ENTRIES:
                raise TooLarge(
                    "watch",
                    self.path.text,
                    f"more than {_MOST_ENTRIES} entries are too many to be compared again and again",
                    hint="watch a smaller directory, or without recursive",
                )

    def resync(self) -> Events:
        """Answer a cursor that cannot be gone on from."""
        return self.answer(Delivery([], self.journal.now(), False), resync=True)

    def answer(self, found: Delivery, *, resync: bool = False) -> Events:
        """Answer with what the journal holds."""
        return Events(
            [_event(event) for event in found.events], self.journal.cursor(found.position), resync, found.more
        )


def _stamp(info: FileInfo) -> Stamp:
    if info.type == "directory":
        return Stamp(info.type, identity(info), f"{info.mode:o}", "")
    return Stamp(info.type, identity(info), f"{info.size:x}-{info.modified!r}", f"{info.revision} {info.mode:o}")


def _event(event: JournalEvent) -> Event:
    source = None if event.source is None else SandboxPath(event.source)
    # the guest says str for what is one of these
    return Event(event.type, SandboxPath(event.path), event.directory, source)  # type: ignore[arg-type]
