"""One call as the server's end sees it, and what may come of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from devbox_mcp.errors import DevboxError, Unavailable, from_code
from devbox_mcp.guest import frames
from devbox_mcp.guest.frames import Frame, FrameError
from devbox_mcp.session.flows import Inflow, Outflow

Progress = Callable[[int, int | None], None]

_LONGEST_TEXT = 2000
_RESERVED = frozenset({"self", "op", "path", "detail", "hint"})


class ConnectionLost(Unavailable):
    """The connection to the sandbox was lost."""

    def __init__(self, op: str, path: str, detail: str, *, hint: str = "", may_have_happened: bool) -> None:
        told = "whether it happened is not known" if may_have_happened else "it did not happen"
        super().__init__(op, path, f"{detail}; {told}", hint=hint, may_have_happened=may_have_happened)
        self.may_have_happened = may_have_happened


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a call: a value, and bytes at once or as a stream."""

    value: Any
    data: bytes = b""
    stream: Incoming | None = None


class Incoming:
    """The bytes of an answer: iterate once. Given up, it tells the guest to stop."""

    def __init__(self, inflow: Inflow, abandon: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._inflow = inflow
        self._abandon = abandon
        self._loop = asyncio.get_running_loop()
        self._closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = b"" if self._closed else await self._inflow.next()
        if not chunk:
            self._closed = True
            raise StopAsyncIteration
        return chunk

    @property
    def sha256(self) -> str:
        """The hash of what has come out, in hex."""
        return self._inflow.sha256

    @property
    def final(self) -> Any:
        """What was told at the end."""
        return self._inflow.final

    async def aclose(self) -> None:
        """Give up the rest."""
        if not self._closed:
            self._closed = True
            over = self._inflow.over
            self._inflow.drop()
            if not over:
                await self._abandon()

    def __del__(self) -> None:
        # dropped without a word, as by a call that was cancelled just when its answer came
        self._inflow.drop()
        if not self._closed and not self._inflow.over and not self._loop.is_closed():
            abandon = self._abandon
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(lambda: asyncio.ensure_future(abandon()))


class Call:
    """What is known of a call under way: ``answer`` is settled by the frame that answers it, ``over`` set behind its
    last frame. ``complete`` tells whether all of its body was handed over, ``abandoned`` that nobody wants the rest."""

    __slots__ = (
        "abandoned", "answer", "complete", "inflow", "number", "on_progress", "op", "outflow", "over", "path",
    )  # fmt: skip

    def __init__(
        self, number: int, op: str, path: str, answer: asyncio.Future[Frame], on_progress: Progress | None
    ) -> None:
        self.number = number
        self.op = op
        self.path = path
        self.answer = answer
        self.on_progress = on_progress
        self.inflow: Inflow | None = None
        self.outflow: Outflow | None = None
        self.complete = True
        self.abandoned = False
        self.over = asyncio.Event()

    def take(self, frame: Frame) -> None:
        """Take a frame that is neither the first nor the last. Raises FrameError for one out of turn."""
        if frame.kind == frames.DATA and self.inflow is not None:
            if not self.abandoned:
                self.inflow.feed(frame.data)
        elif frame.kind == frames.CREDIT and self.outflow is not None:
            self.outflow.add(frame.meta)
        elif frame.kind == frames.PROGRESS and self.on_progress is not None:
            report(self.on_progress, frame.meta)
        else:
            raise FrameError(f"a frame of kind {frame.kind} out of turn")

    def fail(self, error: DevboxError) -> None:
        """It will not be answered, or not to the end."""
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # seen, should nobody wait
        elif self.inflow is not None:
            self.inflow.fail(error)


def lost(cause: DevboxError, op: str, path: str, *, may_have_happened: bool) -> ConnectionLost:
    """Return what a call raises that was under way when the session ended."""
    hint = cause.hint if isinstance(cause, Unavailable) else ""
    return ConnectionLost(op, path, cause.detail, hint=hint, may_have_happened=may_have_happened)


def report(on_progress: Progress, meta: Any) -> None:
    """Hand on what a PROGRESS frame tells. Raises FrameError where it tells nothing."""
    if (
        not isinstance(meta, list)
        or len(meta) != 2
        or type(meta[0]) is not int
        or type(meta[1]) not in (int, type(None))
    ):
        raise FrameError("progress that makes no sense")
    on_progress(meta[0], meta[1])


def error_of(op: str, asked: str, meta: Any) -> DevboxError:
    """Return what the guest tells went wrong with the path ``asked``. Raises FrameError where it tells nothing."""
    if not isinstance(meta, dict) or not isinstance(meta.get("data"), dict):
        raise FrameError("an error that makes no sense")
    texts = [meta.get(name) for name in ("code", "path", "detail", "hint")]
    if not all(isinstance(text, str) for text in texts):
        raise FrameError("an error that makes no sense")
    code, path, detail, hint = (str(text)[:_LONGEST_TEXT] for text in texts)
    if path.startswith("/"):
        path = asked  # nothing but what lies beneath the root is named
    data = {key: value for key, value in meta["data"].items() if key not in _RESERVED}
    return from_code(code, op, path, detail, hint, data)
