"""Files as streams: the first piece says whether there are more, and the shell keeps the file open for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Self

import anyio

from devbox_mcp.backends.shell.asking import Asker, to_the_end, told_as
from devbox_mcp.backends.shell.places import Way
from devbox_mcp.backends.shell.pool import Pool
from devbox_mcp.backends.shell.records import STAT_WORDS, Malformed, Stat, parse_stat
from devbox_mcp.backends.shell.session import Answer, Lost, Session
from devbox_mcp.errors import Conflict, DevboxError
from devbox_mcp.models import Content
from devbox_mcp.paths import SandboxPath

_BLOCK = 64 * 1024
_BLOCKS = 16  # in one piece: as much as others wait for


class Reading(AsyncIterator[bytes]):
    """A range of a file, piece by piece, from one version of it. With a slot in a shell, which are few, the file
    stays open, so that replacing it does not matter; without one, replacing it raises conflict."""

    def __init__(self, asker: Asker, pool: Pool, way: Way, path: SandboxPath) -> None:
        self._asker = asker
        self._pool = pool
        self._way = way
        self._path = path
        self._session: Session | None = None
        self._slot = "-"
        self._position = 0
        self._end = 0
        self._first: bytes | None = b""
        self._found: Stat | None = None

    async def open(self, offset: int, length: int | None) -> Content:
        """Read the first piece."""

        def ask_at(position: int) -> list[str]:
            return [self._way.text, str(position), "" if length is None else str(length), str(_BLOCKS), "1"]

        def opened(session: Session) -> None:
            self._session = session

        answer = await self._asker.follow(
            [self._way], lambda: self._asker.ask("read", ask_at(offset), paths=[self._path.text], at=opened)
        )
        if len(answer.words) != 2 + STAT_WORDS:
            raise Malformed(f"a piece without a stat: {answer.words}")
        self._slot = answer.words[1]
        self._found = parse_stat(answer.words[2:])
        size = self._found.size
        start = min(offset, size)
        self._end = size if length is None else min(start + length, size)
        self._first = self._piece(answer, start)
        return Content(self._found.info(self._path), start, self)

    def _piece(self, answer: Answer, start: int) -> bytes:
        """Return what of an answer belongs to the range."""
        if answer.verdict != "same":
            raise self._changed()
        begins = answer.number(0)
        data = answer.data[max(start - begins, 0) : max(self._end - begins, 0)]
        self._position = start + len(data)
        return data

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        data, self._first = self._first, None
        if data is None and self._position < self._end:
            try:
                with told_as("read", self._path.text, changes=False):
                    data = await to_the_end(self._next())
            except BaseException:
                await self.aclose()
                raise
        if not data:
            await self.aclose()
            raise StopAsyncIteration
        if self._position >= self._end:
            await self.aclose()
        return data

    async def _next(self) -> bytes:
        assert self._found is not None
        left = min(-(-(self._end - self._position) // _BLOCK), _BLOCKS)
        if self._slot == "-":
            wanted = str(self._end - self._position)
            answer = await self._asker.ask(
                "read", [self._way.text, str(self._position), wanted, str(left), ""], paths=[self._path.text]
            )
            again = parse_stat(answer.words[2:])
            if answer.status != "ok" or (again.inode, again.version) != (self._found.inode, self._found.version):
                raise self._changed()
        else:
            assert self._session is not None
            async with self._pool.session(self._session) as session:
                answer = await session.ask(
                    "more", [self._slot, str(self._position), str(left), *self._found.version], op="read",
                    paths=[self._path.text],
                )  # fmt: skip
        data = self._piece(answer, self._position)
        if not data:
            raise self._changed()
        return data

    def _changed(self) -> Conflict:
        return Conflict("read", self._path.text, "the file was changed while it was read", hint="read it again")

    async def aclose(self) -> None:
        """Let the shell close the file."""
        self._first = None
        self._end = self._position
        slot, self._slot = self._slot, "-"
        with anyio.CancelScope(shield=True):
            await self._shut(slot)

    async def _shut(self, slot: str) -> None:
        if slot == "-" or self._session is None:
            return
        with suppress(Lost, DevboxError):
            async with self._pool.session(self._session) as session:
                await session.ask("shut", [slot])

    def __del__(self) -> None:
        if self._slot != "-" and self._session is not None:
            self._session.forgotten.append(self._slot)
