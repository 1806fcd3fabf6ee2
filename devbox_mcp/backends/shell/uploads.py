"""Files as streams in the other direction: piece by piece into a draft, which a last word puts in its place."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import anyio

from devbox_mcp.backends.shell.asking import Asker, to_the_end
from devbox_mcp.backends.shell.places import Way
from devbox_mcp.backends.shell.records import Malformed, parse_stat
from devbox_mcp.backends.shell.session import Answer, Lost
from devbox_mcp.errors import DevboxError
from devbox_mcp.guest.names import OWN_PREFIX
from devbox_mcp.models import WriteMode, Written
from devbox_mcp.paths import SandboxPath

#: What is written in one go; more comes in pieces.
_SMALL = 256 * 1024
_PIECE = 1024 * 1024
_MOST_REMEMBERED = 4096


def hidden_name(kind: str) -> str:
    """Return a fresh name for the server's own use; ``kind`` is part or trash."""
    return f"{OWN_PREFIX}{kind}-{secrets.token_hex(8)}"


@dataclass(frozen=True, slots=True)
class Terms:
    """How a file is to be written."""

    mode: WriteMode
    if_match: str | None
    executable: bool | None
    in_place: bool

    def words(self) -> list[str]:
        """Return them as the program takes them."""
        executable = "" if self.executable is None else str(int(self.executable))
        return [self.mode, self.if_match or "", executable, "1" if self.in_place else ""]


class Uploads:
    """Writes files, and clears away what a crash left behind in the directories that it comes to."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._swept: set[str] = set()

    async def write(self, way: Way, path: SandboxPath, data: bytes | AsyncIterator[bytes], terms: Terms) -> Written:
        """Write a file. Raises what ``Backend.write`` raises."""
        written = await _Upload(self._asker, way, path, terms).run(data)
        await self.sweep(_directory(way))
        return written

    async def sweep(self, directory: str) -> None:
        """Clear a directory, the first time that it is come to."""
        if directory not in self._swept:
            if len(self._swept) >= _MOST_REMEMBERED:
                self._swept.clear()
            self._swept.add(directory)
            with suppress(Lost, DevboxError):  # the next server tries again
                await to_the_end(self._asker.ask("sweep", [directory]))


class _Upload:
    """One file being written."""

    def __init__(self, asker: Asker, way: Way, path: SandboxPath, terms: Terms) -> None:
        self._asker = asker
        self._way = way
        self._path = path
        self._terms = terms
        self._draft = hidden_name("part")
        self._made: list[str] | None = None  # once the draft is there: whether parents were made, and how many were not

    async def run(self, data: bytes | AsyncIterator[bytes]) -> Written:
        """Write it."""
        if isinstance(data, bytes) and len(data) <= _SMALL:
            return await to_the_end(self._put(data))
        digest = hashlib.sha256()
        pending = bytearray()
        pieces = _pieces(data) if isinstance(data, bytes) else data
        try:
            async for piece in pieces:
                digest.update(piece)
                pending += piece
                while len(pending) >= _PIECE:
                    await self._add(pending[:_PIECE])
                    del pending[:_PIECE]
            if self._made is None and len(pending) <= _SMALL:
                return await to_the_end(self._put(bytes(pending)))
            if pending:
                await self._add(pending)
            return await to_the_end(self._commit(digest.hexdigest()))
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._discard()
            raise

    async def _put(self, data: bytes) -> Written:
        sha256 = hashlib.sha256(data).hexdigest()
        return self._written(
            await self._asker.follow(
                [self._way], lambda: self._change("put", [self._draft, sha256, *self._terms.words()], data)
            )
        )

    async def _add(self, piece: bytearray) -> None:
        if self._made is None:
            await to_the_end(self._begin())
        with memoryview(piece) as body:
            directory = _directory(self._way)
            await to_the_end(
                self._asker.ask("add", [directory, self._draft], body, paths=[self._path.text], changes=True)
            )

    async def _begin(self) -> None:
        mode, match, *_ = self._terms.words()
        try:
            answer = await self._asker.follow([self._way], lambda: self._change("draft", [self._draft, mode, match]))
        except Lost:
            self._made = ["", ""]  # it may be there
            raise
        self._made = ["made" if "made" in answer.words[1:] else "", str(answer.number(0))]

    async def _commit(self, sha256: str) -> Written:
        answer = await self._change("commit", [self._draft, sha256, *self._terms.words()])
        if answer.status != "ok":
            raise Malformed("a link has taken a directory's place")
        return self._written(answer)

    async def _change(self, operation: str, arguments: list[str], body: bytes = b"") -> Answer:
        return await self._asker.ask(
            operation, [self._way.text, *arguments], body, paths=[self._path.text], changes=True, slow=True
        )

    def _written(self, answer: Answer) -> Written:
        if len(answer.words) < 4:
            raise Malformed(f"an incomplete answer: {answer.words}")
        created, broken, previous, sha256 = answer.words[:4]
        info = parse_stat(answer.words[4:]).info(self._path, sha256=sha256)
        return Written(info, created == "1", None if previous == "-" else previous, int(broken or 0))

    async def _discard(self) -> None:
        if self._made is None:
            return
        await self._asker.discard(_directory(self._way), self._draft, *self._made)


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), _PIECE):
        yield data[start : start + _PIECE]


def _directory(way: Way) -> str:
    """Return the directory that holds what a way leads to."""
    return way.text.rpartition("/")[0] or "."
