"""One warm shell: requests go in one after the other, and each answer ends where its lengths say."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import anyio

from devbox_mcp.backends.shell.failures import failure
from devbox_mcp.backends.shell.records import Malformed
from devbox_mcp.backends.shell.source import BOOT, program
from devbox_mcp.errors import DevboxError, Unavailable, Unsupported
from devbox_mcp.transports.base import Channel, ExecTransport

#: A body this small goes out with its request.
_TOGETHER = 64 * 1024
_LONGEST_LINE = 16 * 1024
#: The most that one answer may announce: a piece of a file, or the target of a link.
_LONGEST_ANSWER = 4 * 1024 * 1024
#: Seconds without a byte after which a shell counts as lost, and how many times that where tools have to go through a
#: tree or flush to a slow disk.
PATIENCE = 60.0
#: Seconds without a request after which a shell ends itself; the pool says something in every idle one far more often.
SILENCE = 240.0
_SLOW = 30
#: Seconds that the watch over a shell sleeps at a time: at most so long it stays behind.
_NAP = 10
_PLAIN = frozenset(range(0x20, 0x7F))

#: Takes what has arrived of a stream off the buffer; an int is its end.
Records = Callable[[bytearray], Iterator[object]]


class Lost(Exception):
    """The shell is gone, or what it says makes no sense; nothing more can be asked of it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the words of an ok, or of a ``link``, and the bytes behind them. ``verdict`` is ``same``, or
    ``changed`` for a file that was changed while it was read."""

    status: str
    words: list[str]
    data: bytes
    verdict: str = "same"

    def number(self, index: int) -> int:
        """Return a word that is a number. Raises Malformed."""
        if index >= len(self.words) or not self.words[index].isdecimal():
            raise Malformed(f"no number in {self.words}")
        return int(self.words[index])


class Session:
    """A shell that runs the program. ``root`` is the root's path, ``identity`` tells whether it is the same one;
    ``lost`` means that nothing more can be asked; ``forgotten`` are slots of files to be closed."""

    def __init__(self, channel: Channel, patience: float) -> None:
        self._patience = patience
        self._limit = patience
        self._channel = channel
        self._buffer = bytearray()
        self._nonce = secrets.token_hex(4)
        self._count = 0
        self.lost = False
        self.used = time.monotonic()
        self.forgotten: list[str] = []
        self.root = b""
        self.identity = ""

    @classmethod
    async def open(
        cls, transport: ExecTransport, shell: Sequence[str], root: str, patience: float, silence: float
    ) -> Session:
        """Start a shell and open the root in it; it ends itself when it is asked nothing for ``silence`` seconds.
        Raises Unsupported where there is no shell, or too little beside it, NotFound and NotDirectory for the root."""
        try:
            channel = await transport.start([*shell, "-c", BOOT])
        except Unsupported as error:
            raise _no_shell(transport.name) from error
        session = cls(channel, patience)
        try:
            await session._start()
            answer = await session.ask("open", [root, *_naps(silence, patience)])
        except Lost as error:
            end = None
            with anyio.move_on_after(1):
                end = await channel.exit()
            await session.close()
            if isinstance(error.__cause__, Unsupported) or (end is not None and end.status in (126, 127, 128)):
                raise _no_shell(transport.name) from error
            if isinstance(error.__cause__, TimeoutError):
                said, hint = f"said nothing for {patience:g} s", ""
            elif end is None:
                said, hint = "says something else than what it is asked", "what starts it must print nothing of its own"
            else:
                said, hint = "ended at once", ""
            raise Unavailable("open", ".", f"the shell in {transport.name} {said}", hint=hint) from error
        except BaseException:
            await session.close()
            raise
        session.root, session.identity = answer.data, answer.words[0]
        return session

    async def _start(self) -> None:
        try:
            await self._channel.send(program())
        except DevboxError as error:
            raise Lost(str(error)) from error

    async def ask(
        self,
        operation: str,
        arguments: Sequence[str] = (),
        body: bytes | memoryview = b"",
        *,
        paths: Sequence[str] = (".",),
        op: str = "",
        slow: bool = False,
        records: tuple[Records, list[object]] | None = None,
    ) -> Answer:
        """Ask and wait for the answer. ``records`` takes a stream apart into a list. Raises the error that the shell
        tells, named after ``op`` and the one of ``paths`` that it is about, or Lost."""
        while self.forgotten:
            await self.ask("shut", [self.forgotten.pop()])
        self._count += 1
        name = f"{self._nonce}{self._count:x}"
        lines = [f"{name} {operation} {len(arguments)} {len(body)}", *map(_argument, arguments), ""]
        head = "\n".join(lines).encode("ascii")
        self._limit = self._patience * (_SLOW if slow else 1)
        try:
            if len(body) <= _TOGETHER:
                await self._channel.send(b"".join((head, body)))
            else:
                await self._channel.send(head)
                await self._channel.send(body)
            answer = await self._answer(name, records)
        except (Lost, Malformed, TimeoutError, DevboxError) as error:
            self.lost = True
            raise Lost(str(error)) from error
        except BaseException:
            self.lost = True  # given up in the middle of an answer
            raise
        self.used = time.monotonic()
        if answer.status == "fail":
            word, number = answer.words[0], 2 if answer.words[1:] == ["2"] else 1
            text = answer.data.decode("utf-8", "replace")
            raise failure(word, text, op or operation, paths[min(number, len(paths)) - 1])
        return answer

    async def close(self) -> None:
        """End it. May be called twice."""
        self.lost = True
        with anyio.CancelScope(shield=True):
            await self._channel.aclose()

    async def _answer(self, name: str, records: tuple[Records, list[object]] | None) -> Answer:
        words = await self._words()
        if len(words) < 3 or words[0] != name or words[1] not in ("ok", "link", "fail"):
            raise Lost("an answer to something else")
        if words[1] != "ok" and len(words) < 4:
            raise Lost("an answer that says nothing")
        data = await self._exactly(_length(words[2]))
        if records is not None and words[1] == "ok":
            await self._stream(*records)
        end = await self._words()
        if len(end) != 3 or end[:2] != [name, "."]:
            raise Lost("an answer without its end")
        return Answer(words[1], words[3:], data, end[2])

    async def _stream(self, take: Records, found: list[object]) -> None:
        while True:
            for one in take(self._buffer):
                found.append(one)
                if isinstance(one, int):
                    return
            await self._more()

    async def _words(self) -> list[str]:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _LONGEST_LINE:
                raise Lost("a line without an end")
            await self._more()
        line = self._buffer[:end].decode("ascii", "replace")
        del self._buffer[: end + 1]
        return line.split(" ")

    async def _exactly(self, length: int) -> bytes:
        while len(self._buffer) < length:
            await self._more()
        data = bytes(self._buffer[:length])
        del self._buffer[:length]
        return data

    async def _more(self) -> None:
        with anyio.fail_after(self._limit):
            data = await self._channel.receive()
        if not data:
            raise Lost("the shell ended")
        self._buffer += data


def _naps(silence: float, patience: float) -> list[str]:
    """Return how long the shell's watch sleeps at a time, and how often before it ends the shell: idle, and at work."""
    nap = min(_NAP, max(1, int(silence / 3)))
    return [str(nap), str(int(silence / nap)), str(int((silence + _SLOW * patience) / nap))]


def _argument(text: str) -> str:
    """Return an argument as a line that the shell reads."""
    data = os.fsencode(text)
    if _PLAIN.issuperset(data):
        return f"={text}"
    escaped = [chr(byte) if byte in _PLAIN and byte != 0x5C else f"\\0{byte:03o}" for byte in data]
    return f"%{''.join(escaped)}"


def _length(word: str) -> int:
    if not word.isdecimal() or int(word) > _LONGEST_ANSWER:
        raise Lost("a length that cannot be")
    return int(word)


def _no_shell(name: str) -> Unsupported:
    return Unsupported(
        "open", ".", f"there is neither Python nor a shell in {name}",
        hint="use an image that has one of them, or add a container with a shell to the pod that shares its volumes "
        "(kubectl debug shows how)",
    )  # fmt: skip
