"""The server's end of one session: many calls over one channel.

What comes back is untrusted: a frame that makes no sense ends the session. When the channel is gone, every call under
way raises ConnectionLost, which tells whether the operation may have happened.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from typing import Any

import anyio

from devbox_mcp.errors import DevboxError, Integrity, Unavailable
from devbox_mcp.guest import frames
from devbox_mcp.guest.frames import EXTRA_DOWN, PIECE, Decoder, Frame, FrameError
from devbox_mcp.guest.streams import Intake, Room
from devbox_mcp.session.calls import Call, Incoming, Progress, Reply, error_of, lost
from devbox_mcp.session.flows import Inflow, Outflow
from devbox_mcp.session.outgoing import Outgoing
from devbox_mcp.transports.base import Channel

#: Seconds for a cancelled call to clean up behind itself, and for the guest to take leave.
_PATIENCE = 10.0
_FAREWELL = 2.0


class Link:
    """A session with a guest. Of one event loop."""

    def __init__(self, channel: Channel, *, beat: float = 20.0, silence: float = 60.0) -> None:
        """``beat`` is how often the guest hears from here, ``silence`` how long nothing may come from it, seconds."""
        self._channel = channel
        self._beat = beat
        self._silence = silence
        self._calls: dict[int, Call] = {}
        self._room = Room()
        self._last = 0
        self._failure: DevboxError | None = None
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._hello: asyncio.Future[Any] = self._loop.create_future()
        self._bye = asyncio.Event()
        self._decoder = Decoder()
        self._outgoing = Outgoing(channel, self._fail)
        self._tasks: set[asyncio.Task[None]] = set()
        channel.deliver(self._hear)
        self._spawn(self._receive())
        self._beating = self._spawn(self._keep_alive())

    @property
    def alive(self) -> bool:
        """Whether calls can be made."""
        return self._failure is None

    @property
    def busy(self) -> bool:
        """Whether calls or streams are under way."""
        return bool(self._calls)

    async def greet(self, source: bytes, wanted: dict[str, Any]) -> Any:
        """Send the guest's source, say what is wanted of it, and return what it says of itself. Raises what the guest
        does, Unavailable, Integrity."""
        self._outgoing.send(0, source + frames.frame(frames.HELLO, 0, wanted))
        return await self._hello

    async def call(
        self,
        operation: str,
        args: dict[str, Any],
        data: bytes = b"",
        *,
        op: str,
        path: str,
        body: AsyncIterator[bytes] | None = None,
        digest: hashlib._Hash | None = None,
        seconds: float | None = None,
        on_progress: Progress | None = None,
    ) -> Reply:
        """Do one operation; ``op`` and ``path`` are what errors name. ``body`` is streamed behind the request; its
        trailer tells what ``digest`` makes of it, which may have seen other bytes before.
        A call that is cancelled waits until the guest has stopped. Raises what the guest does, ConnectionLost."""
        if self._failure is not None:
            raise lost(self._failure, op, path, may_have_happened=False)
        self._last += 1
        call = Call(self._last, op, path, self._loop.create_future(), on_progress)
        meta: dict[str, Any] = {"op": operation, "args": args}
        if seconds is not None:
            meta["seconds"] = seconds
        if on_progress is not None:
            meta["progress"] = True
        if body is not None:
            meta["stream"] = True
            call.outflow = Outflow()
            call.complete = False
        self._calls[call.number] = call
        request = frames.frame(frames.REQUEST, call.number, meta, data)
        self._outgoing.send(call.number, request, alone=len(self._calls) == 1)
        try:
            if body is not None:
                await self._pump(call, body, digest or hashlib.sha256())
            reply = await call.answer
        except BaseException:
            if not call.over.is_set():
                await self._cancel(call)
            raise
        return self._reply(call, reply)

    def _reply(self, call: Call, frame: Frame) -> Reply:
        if call.inflow is None:
            return Reply(frame.meta["value"], frame.data)
        return Reply(frame.meta["value"], frame.data, Incoming(call.inflow, lambda: self._abandon(call)))

    async def aclose(self) -> None:
        """Take leave of the guest and close the channel; calls under way raise Unavailable. Not to be cancelled."""
        with anyio.CancelScope(shield=True):
            if self._failure is None and self._hello.done():
                self._outgoing.send(0, frames.frame(frames.BYE))
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._bye.wait(), _FAREWELL)
            self._fail(Unavailable("close", ".", "the session was closed"))
            await self._channel.aclose()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- what goes out

    async def _pump(self, call: Call, body: AsyncIterator[bytes], digest: hashlib._Hash) -> None:
        """Send a body while there is no answer; an early answer, which is a refusal, ends it."""
        pump = asyncio.create_task(self._send_all(call, body, digest))
        try:
            await asyncio.wait((pump, call.answer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not pump.done():
                pump.cancel()
                await asyncio.gather(pump, return_exceptions=True)
        if not pump.cancelled():
            pump.result()

    async def _send_all(self, call: Call, body: AsyncIterator[bytes], digest: hashlib._Hash) -> None:
        assert call.outflow is not None
        number, outflow = call.number, call.outflow
        length = 0
        async for chunk in body:
            digest.update(chunk)
            length += len(chunk)
            rest = memoryview(chunk)
            while rest:
                count = await outflow.take(min(len(rest), PIECE))
                await self._outgoing.stream(number, frames.frame(frames.DATA, number, None, rest[:count]))
                rest = rest[count:]
        call.complete = True
        trailer = {"length": length, "sha256": digest.hexdigest()}
        await self._outgoing.stream(number, frames.frame(frames.END, number, trailer))

    async def _cancel(self, call: Call) -> None:
        """Stop a call and wait until the guest has; what comes of it later is dropped."""
        call.abandoned = True
        if self._failure is not None or call.number not in self._calls:
            return
        self._say(frames.CANCEL, call)
        with anyio.CancelScope(shield=True), suppress(TimeoutError):
            await asyncio.wait_for(call.over.wait(), _PATIENCE)

    def _say(self, kind: int, call: Call, meta: Any = None) -> None:
        self._outgoing.send(call.number, frames.frame(kind, call.number, meta))

    async def _abandon(self, call: Call) -> None:
        if not call.over.is_set():
            await self._cancel(call)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._beat)
            if self._loop.time() - self._heard > self._silence:
                self._fail(Unavailable("session", ".", f"nothing was heard for {self._silence:g} seconds"))
                return
            self._outgoing.send(0, frames.frame(frames.PING))

    # -- what comes in

    async def _receive(self) -> None:
        """Take what does not come by itself, and learn of the end."""
        try:
            while data := await self._channel.receive():
                self._hear(data)
        except DevboxError as error:
            self._fail(error)
        else:
            self._fail(Unavailable("session", ".", "the guest has ended"))

    def _hear(self, data: bytes | memoryview) -> None:
        if self._failure is not None:
            return
        self._heard = self._loop.time()
        try:
            for frame in self._decoder.feed(data):
                self._take(frame)
        except FrameError as error:
            self._fail(Integrity("session", ".", f"what came from the guest is not to be trusted: {error}"))

    def _take(self, frame: Frame) -> None:
        if frame.kind == frames.PONG:
            return
        if frame.id == 0:
            self._take_own(frame)
            return
        call = self._calls.get(frame.id)
        if call is None:
            raise FrameError("an answer that nobody asked for")
        if frame.kind == frames.ANSWER:
            self._take_answer(call, frame)
        elif frame.kind == frames.ERROR:
            call.fail(error_of(call.op, call.path, frame.meta))
            self._finish(call)
        elif frame.kind == frames.END and call.inflow is not None:
            call.inflow.end(frame.meta)
            self._finish(call)
        else:
            call.take(frame)

    def _take_own(self, frame: Frame) -> None:
        if frame.kind == frames.BYE:
            self._bye.set()
        elif frame.kind == frames.HELLO and not self._hello.done():
            self._hello.set_result(frame.meta)
        elif frame.kind == frames.ERROR and not self._hello.done():
            self._hello.set_exception(error_of("open", ".", frame.meta))
        elif not self._hello.cancelled():
            raise FrameError(f"a frame of kind {frame.kind} out of turn")

    def _take_answer(self, call: Call, frame: Frame) -> None:
        if not isinstance(frame.meta, dict) or "value" not in frame.meta or call.inflow is not None:
            raise FrameError("an answer that makes no sense")
        if frame.meta.get("stream"):
            number = call.number
            call.inflow = Inflow(
                call.op,
                call.path,
                lambda count: self._outgoing.send(number, frames.frame(frames.CREDIT, number, count)),
                Intake(self._room, EXTRA_DOWN),
            )
        else:
            self._finish(call)
        if not call.answer.done():
            call.answer.set_result(frame)

    def _finish(self, call: Call) -> None:
        self._calls.pop(call.number, None)
        call.over.set()

    def _fail(self, error: DevboxError) -> None:
        """The session is over: tell everybody."""
        if self._failure is not None:
            return
        self._failure = error
        self._outgoing.close()
        self._beating.cancel()
        unsent = self._outgoing.waiting()
        if not self._hello.done():
            self._hello.set_exception(error)
            self._hello.exception()  # seen, should nobody wait
        for call in list(self._calls.values()):
            happened = call.complete and call.number not in unsent
            call.fail(lost(error, call.op, call.path, may_have_happened=happened))
            self._finish(call)
        self._spawn(self._channel.aclose())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
