"""A few warm shells on one root: each does one thing at a time, and whoever comes takes a free one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import anyio

from devbox_mcp.backends.shell.session import Lost, Session
from devbox_mcp.errors import DevboxError, NotFound, Unavailable
from devbox_mcp.transports.base import ExecTransport

_MOST = 4
#: Seconds between two signs of life of idle shells, for load balancers cut what is silent for minutes.
_HEARTBEAT = 25.0
#: Beats without use after which a shell is closed.
_PATIENT_BEATS = 24


class Pool:
    """Opens shells as they are needed, keeps them, and replaces those that are lost."""

    def __init__(
        self, transport: ExecTransport, shell: Sequence[str], root: str, patience: float, silence: float
    ) -> None:
        self._patience = patience
        self._silence = silence
        self._transport = transport
        self._shell = tuple(shell)
        self._root = root
        self._idle: list[Session] = []
        self._all: set[Session] = set()
        self._unused: dict[Session, int] = {}
        self._closing: set[Session] = set()
        self._opening = 0
        self._closed = False
        self._freed = asyncio.Condition()
        self._beating: asyncio.Task[None] | None = None
        self.path: bytes | None = None
        self._identity = ""
        self._place = ""

    @asynccontextmanager
    async def session(self, wanted: Session | None = None) -> AsyncIterator[Session]:
        """Have a free shell, or the ``wanted`` one, to oneself. Raises Unavailable, or what opening one raises; Lost
        where the wanted one is gone."""
        session = await self._take(wanted)
        try:
            yield session
        finally:
            with anyio.CancelScope(shield=True):
                await self._give_back(session)

    async def _take(self, wanted: Session | None) -> Session:
        async with self._freed:
            while True:
                if self._closed:
                    raise Unavailable("open", ".", "this devbox was closed")
                if wanted is not None:
                    if wanted.lost:
                        raise Lost("the shell is gone")
                    if wanted in self._idle:
                        self._idle.remove(wanted)
                        return wanted
                elif session := self._pop_idle():
                    return session
                elif len(self._all) + self._opening < _MOST:
                    self._opening += 1
                    break
                await self._freed.wait()
        try:
            session = await self._open()
        finally:
            self._opening -= 1
            with anyio.CancelScope(shield=True):
                async with self._freed:
                    self._freed.notify_all()
        return session

    def _pop_idle(self) -> Session | None:
        while self._idle:
            session = self._idle.pop()
            if not session.lost:
                return session
            self._drop(session)
            self._closing.add(session)
        return None

    async def _open(self) -> Session:
        while self._closing:
            await self._closing.pop().close()

        first = self.path is None
        if first:
            self._place = await self._find_place()
        try:
            session = await Session.open(self._transport, self._shell, self._root, self._patience, self._silence)
        except NotFound as error:
            if first:
                raise
            # it was there: no file that is asked for is missing
            raise Unavailable("open", ".", error.detail, hint=error.hint) from error
        if first or (session.identity != self._identity and await self._replaced()):
            self.path, self._identity = session.root, session.identity
        if session.identity != self._identity or self._closed:
            await session.close()
            detail = "this devbox was closed" if self._closed else "another directory has taken the root's place"
            raise Unavailable("open", ".", detail, hint="restart the server")
        self._all.add(session)
        if self._beating is None:
            self._beating = asyncio.create_task(self._beat())
        return session

    async def _find_place(self) -> str:
        with suppress(DevboxError):  # it may take a right that nothing else here takes
            return await self._transport.identity()
        return ""

    async def _replaced(self) -> bool:
        """Whether the sandbox itself is another one now, and so of course the root. Unknown is no."""
        before, self._place = self._place, await self._find_place() or self._place
        return before != self._place != ""

    async def _give_back(self, session: Session) -> None:
        self._unused[session] = 0
        async with self._freed:
            if session.lost or self._closed:
                self._drop(session)
            else:
                self._idle.append(session)
            self._freed.notify_all()
        if session.lost:
            await session.close()

    def _drop(self, session: Session) -> None:
        session.lost = True
        self._all.discard(session)
        self._unused.pop(session, None)

    def retire(self) -> None:
        """Let every shell be replaced before it is used again, because what it was started as is no longer right."""
        for session in self._all:
            session.lost = True

    async def _beat(self) -> None:
        """Say something in every idle shell now and then; close those that nobody needs."""
        while True:
            await asyncio.sleep(_HEARTBEAT)
            for session in list(self._idle):
                if session not in self._idle:
                    continue
                self._idle.remove(session)
                unused = self._unused.get(session, 0)
                try:
                    if unused >= _PATIENT_BEATS:
                        session.lost = True
                    else:
                        await session.ask("nop")
                except (Lost, DevboxError):
                    session.lost = True
                finally:
                    await self._give_back(session)
                if not session.lost:
                    self._unused[session] = unused + 1

    async def aclose(self) -> None:
        """Close every shell; what is under way in one is lost."""
        self._closed = True
        if self._beating is not None:
            self._beating.cancel()
        for session in [*self._all, *self._closing]:
            self._drop(session)
            await session.close()
        self._idle.clear()
        async with self._freed:
            self._freed.notify_all()
