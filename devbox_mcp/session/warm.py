"""One session kept warm: opened at first use, opened again when it is lost, closed when nobody uses it."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from typing import Any

from devbox_mcp.errors import DevboxError, NotFound, Timeout, Unavailable, from_code
from devbox_mcp.session.calls import ConnectionLost, Progress, Reply, lost
from devbox_mcp.session.link import Link
from devbox_mcp.session.opening import Hello, Wanted, open_session
from devbox_mcp.tally import Tally
from devbox_mcp.transports.base import ExecTransport, Gone

#: How often a call is made that may be repeated.
_ATTEMPTS = 3
_SHORTEST, _LONGEST = 0.1, 5.0  # seconds between two attempts to connect


class WarmSession:
    """Calls on whichever session there is. Of one event loop."""

    def __init__(
        self,
        transport: ExecTransport,
        wanted: Wanted,
        *,
        idle: float = 300.0,
        deadline: float = 30.0,
        beat: float = 20.0,
        silence: float = 60.0,
        reopens: bool = True,
        tally: Tally | None = None,
    ) -> None:
        """Unused for ``idle`` seconds it is closed; for ``deadline`` seconds a call tries to connect; ``beat`` and
        ``silence`` are the link's. Unless it ``reopens``, calls raise ConnectionLost when it was closed or lost."""
        self._transport = transport
        self._wanted = wanted
        self._idle = idle
        self._deadline = deadline
        self._beat = beat
        self._silence = silence
        self._reopens = reopens
        #: Counts what happens to the session, and to what is sent over it.
        self.tally = tally or Tally()
        self._opening = asyncio.Lock()
        self._link: Link | None = None
        self._hello: Hello | None = None
        self._identity: str | None = None
        self._used = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False
        self._opened = False
        self._failure: DevboxError | None = None
        self._failed_at = 0.0
        #: How often the sandbox was found to be another one than before.
        self.replaced = 0

    async def hello(self) -> Hello:
        """Return what the guest says of itself, opening a session if there is none yet."""
        if self._hello is None:
            await self._alive("open", ".")
        assert self._hello is not None
        return self._hello

    async def call(
        self,
        operation: str,
        args: dict[str, Any],
        data: bytes = b"",
        *,
        op: str,
        path: str,
        repeat: bool = False,
        body: AsyncIterator[bytes] | None = None,
        digest: hashlib._Hash | None = None,
        seconds: float | None = None,
        on_progress: Progress | None = None,
    ) -> Reply:
        """Call as ``Link.call`` does. When the connection is lost, what surely did not happen, or with ``repeat`` does
        no harm twice, is done again. Raises what it raises, and what ``open_session`` does."""
        attempts = 0
        while True:
            link = self._link
            if link is None or not link.alive or self._closed:
                link = await self._alive(op, path)
            attempts += 1
            try:
                return await link.call(
                    operation, args, data, op=op, path=path, body=body, digest=digest, seconds=seconds,
                    on_progress=on_progress,
                )  # fmt: skip
            except ConnectionLost as error:
                # a body can be iterated over only once
                again = body is None and (repeat or not error.may_have_happened)
                if not again or attempts >= _ATTEMPTS or self._closed:
                    raise
                self.tally.add("call_repeated")
            finally:
                self._used = asyncio.get_running_loop().time()

    async def aclose(self) -> None:
        """Close the session; calls under way, and later ones, raise Unavailable."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        link, self._link = self._link, None
        if link is not None:
            await link.aclose()
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _alive(self, op: str, path: str) -> Link:
        """Return a link that is alive, the one there is or a new one."""
        loop = asyncio.get_running_loop()
        asked = loop.time()
        async with self._opening:
            if self._closed:
                raise Unavailable(op, path, "this devbox was closed")
            if self._failure is not None and self._failed_at > asked:
                # whoever had to wait for that attempt need not make another one
                raise from_code(
                    self._failure.code, op, path, self._failure.detail, self._failure.hint, self._failure.data
                )
            if self._link is None or not self._link.alive:
                if self._opened and not self._reopens:
                    ended = Unavailable(op, path, "the session has ended")
                    raise lost(ended, op, path, may_have_happened=False)
                if self._link is not None:
                    await self._link.aclose()
                try:
                    self._link = await self._connect(op, path)
                except DevboxError as error:
                    self._failure, self._failed_at = error, loop.time()
                    raise
                self._failure = None
                self._watch_use()
            return self._link

    async def _connect(self, op: str, path: str) -> Link:
        """Open a session, again and again while it is unavailable and there is time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._deadline
        pause = _SHORTEST
        failure: DevboxError | None = None
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._identify()
                    link, self._hello = await open_session(
                        self._transport, self._wanted, beat=self._beat, silence=self._silence
                    )
            except TimeoutError:
                if failure is not None:
                    raise failure from None
                raise Timeout(op, path, f"there was no session within {self._deadline:g} seconds") from None
            except Gone as error:
                raise Gone(op, path, error.detail, hint=error.hint) from error
            except Unavailable as error:
                failure = Unavailable(op, path, error.detail, hint=error.hint)
                wait = random.uniform(pause / 2, pause)  # noqa: S311  so that many do not come back at once
                if self._closed or loop.time() + wait >= deadline:
                    raise failure from error
            else:
                if not self._closed:
                    self.tally.add("session_reopened" if self._opened else "session_opened")
                    self._opened = True
                    return link
                await link.aclose()
                raise Unavailable(op, path, "this devbox was closed")
            await asyncio.sleep(wait)
            pause = min(2 * pause, _LONGEST)

    async def _identify(self) -> None:
        try:
            identity = await self._transport.identity()
        except NotFound as error:
            if self._identity is None:
                raise
            # it was there: no file that is asked for is missing, and another sandbox may take its place
            raise Unavailable("open", ".", error.detail, hint=error.hint) from error
        if self._identity not in (None, identity):
            self.replaced += 1
        self._identity = identity

    def _watch_use(self) -> None:
        """Close the session when it was unused for long enough."""
        loop = asyncio.get_running_loop()
        self._used = loop.time()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(self._idle, self._look)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        link = self._link
        if link is None or not link.alive:
            return
        left = self._used + self._idle - loop.time()
        if link.busy or left > 0:
            self._timer = loop.call_later(max(left, self._idle / 10, 0.01), self._look)
            return
        self._link = None
        task = loop.create_task(link.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
