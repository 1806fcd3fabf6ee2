"""A big local file on its way into a devbox that keeps what has arrived: a connection that breaks costs what was on
the wire, and the upload goes on where the devbox says it stands."""

from __future__ import annotations

import asyncio
import hashlib
import random
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass

import anyio

from devbox_mcp.client import here
from devbox_mcp.client.connection import PathText
from devbox_mcp.errors import Busy, Conflict, DevboxError, NotFound, RateLimited, Timeout, Unavailable
from devbox_mcp.models import WriteMode, Written
from devbox_mcp.paths import SandboxPath
from devbox_mcp.sandbox import Sandbox

#: Called with the bytes done so far, and all there are (None while unknown). What it raises ends the transfer.
Progress = Callable[[int, int | None], object]

#: How often in a row it is tried again with nothing new arriving, and the pause before the first, in seconds.
_ATTEMPTS = 6
_PAUSE = 0.25
#: Seconds that are spent on clearing away what was given up.
_CLEARING = 10.0
#: What may go better a little later.
_PASSING = (Unavailable, Timeout, Busy, RateLimited)


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the file is to be written; as in ``Backend.write``."""

    mode: WriteMode
    if_match: str | None
    executable: bool | None


class Sending:
    """One file, sent once."""

    def __init__(
        self,
        sandbox: Sandbox,
        path: SandboxPath,
        local: PathText,
        on_progress: Progress | None,
        *,
        pause: float = _PAUSE,
    ) -> None:
        """``pause`` is how long it waits before it tries again, in seconds; longer each time."""
        self._sandbox = sandbox
        self._path = path
        self._local = local
        self._on_progress = on_progress
        self._wait = pause
        self._token = secrets.token_hex(8)
        self._digest = hashlib.sha256()
        self._hashed = 0
        self._revision: str | None = None
        self._failures = 0
        self.size = 0
        """what has arrived, in bytes"""

    @property
    def sha256(self) -> str:
        """The hash of what was sent, in hex."""
        return self._digest.hexdigest()

    async def run(self, wanted: Wanted) -> Written:
        """Send it all. Raises what writing raises, and Conflict if the local file is changed meanwhile."""
        try:
            await self._begin(wanted)
            while not await self._go_on():
                continue
            return await self._finish(wanted)
        except BaseException:
            with anyio.move_on_after(_CLEARING, shield=True), suppress(DevboxError):
                await self._sandbox.uploads.abandon(self._path, self._token)
            raise

    async def _begin(self, wanted: Wanted) -> None:
        while True:
            try:
                # begun already, it stays as it is
                await self._sandbox.uploads.begin(self._path, self._token, mode=wanted.mode, if_match=wanted.if_match)
            except _PASSING as error:
                await self._pause(error)
            else:
                return

    async def _go_on(self) -> bool:
        """Send from where it stands; return whether all has arrived."""
        try:
            async with here.source(self._local, offset=self.size) as opened:
                self._check(opened.revision)
                self.size = await self._sandbox.uploads.add(
                    self._path, self._token, self.size, self._told(opened.chunks, opened.size)
                )
                return self.size == opened.size
        except _PASSING as error:
            await self._pause(error)
            await self._look()
        except Conflict as error:
            if not isinstance(error.data.get("size"), int):
                raise
            await self._pause(error)
            self.size = error.data["size"]
        return False

    def _check(self, revision: str | None) -> None:
        """Raise Conflict where the local file is not the one that was begun with."""
        if self._revision not in (None, revision):
            raise Conflict("write", str(self._local), "the local file was changed meanwhile")
        self._revision = revision

    async def _look(self) -> None:
        """Ask how much has arrived."""
        try:
            size = await self._sandbox.uploads.size(self._path, self._token)
        except _PASSING as error:
            await self._pause(error)
        else:
            self._failures = 0 if size > self.size else self._failures
            self.size = size

    async def _told(self, chunks: AsyncIterator[bytes], total: int | None) -> AsyncIterator[bytes]:
        """Yield what is sent, hashed once, however often it is sent."""
        position = self.size
        async for chunk in chunks:
            new = chunk[max(self._hashed - position, 0) :]
            await asyncio.to_thread(self._digest.update, new)
            self._hashed += len(new)
            position += len(chunk)
            if self._on_progress is not None:
                self._on_progress(position, total)
            yield chunk

    async def _finish(self, wanted: Wanted) -> Written:
        asked = False
        while True:
            try:
                return await self._sandbox.uploads.finish(
                    self._path,
                    self._token,
                    self.size,
                    sha256=self.sha256,
                    mode=wanted.mode,
                    if_match=wanted.if_match,
                    executable=wanted.executable,
                )
            except _PASSING as error:
                asked = True
                await self._pause(error)
            except NotFound:
                if not asked:
                    raise
                # an answer was lost: it may well be there
                info = await self._sandbox.stat(self._path, sha256=True)
                if info.sha256 != self.sha256:
                    raise
                return Written(info, created=False)

    async def _pause(self, error: DevboxError) -> None:
        """Wait a little, longer each time. Raises the error when there is no use in it any more."""
        self._failures += 1
        if self._failures == _ATTEMPTS:
            raise error
        await asyncio.sleep(self._wait * 2**self._failures * random.uniform(0.5, 1.0))  # noqa: S311  no secret
