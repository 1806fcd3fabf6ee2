"""One request from its first frame to its last, and the one place from which frames go out."""

import hashlib
import os
import threading
import time
from contextlib import closing
from typing import Any, Callable, Dict, Iterable, List, Optional

from . import frames
from .errors import GuestError
from .frames import EXTRA_UP, MOST, Buffer, Frame
from .job import Job
from .operations import Answer, Files, Operation, Request, error_fields
from .streams import Body, Credit, Intake, Room

_PROGRESS = 0.2  # seconds between two reports
_GATHERED = 64 << 10  # bytes of answers that go out together


class Output:
    """Writes frames, each whole. Any thread may send; ``send_later`` and ``flush`` are the reading thread's."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self._later: List[Buffer] = []
        self._later_size = 0
        #: Whether nobody takes frames any more.
        self.broken = False

    def send(self, kind: int, request: int, meta: Any = None, data: Buffer = b"") -> None:
        """Write a frame; waits while the other side does not take it."""
        self._write(*frames.encode(kind, request, meta, data))

    def send_later(self, kind: int, request: int = 0, meta: Any = None, data: Buffer = b"") -> None:
        """Write a frame together with those that follow at once."""
        ahead, data = frames.encode(kind, request, meta, data)
        self._later += (ahead, data) if data else (ahead,)
        self._later_size += len(ahead) + len(data)
        if self._later_size >= _GATHERED:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        if self._later:
            gathered = b"".join(self._later)
            self._later.clear()
            self._later_size = 0
            self._write(gathered)

    def _write(self, ahead: bytes, data: Buffer = b"") -> None:
        buffers = [memoryview(ahead), memoryview(data)]
        with self._lock:
            try:
                while buffers and not self.broken:
                    # together, or all that pass them on would have to deal with a few bytes alone
                    written = os.writev(self._fd, buffers)
                    while buffers and written >= len(buffers[0]):
                        written -= len(buffers.pop(0))
                    if buffers:
                        buffers[0] = buffers[0][written:]
            except OSError:
                self.broken = True


class Call:
    """A request that is being worked on."""

    def __init__(
        self,
        frame: Frame,
        operation: Operation,
        files: Files,
        output: Output,
        calls: "Dict[int, Call]",
        elsewhere: Callable[[Callable[[], None]], None],
        room: Room,
    ) -> None:
        """``calls`` is where it is known by its id until its last frame; ``elsewhere`` runs what waits for the taker
        of a stream; ``room`` is what bodies share."""
        meta = frame.meta
        self._id = frame.id
        self._operation = operation
        self._files = files
        self._output = output
        self._calls = calls
        self._elsewhere = elsewhere
        self._reported = 0.0
        self._path = meta["args"].get("path", ".")
        self._job = Job(meta.get("seconds"), self._report if meta.get("progress") else None, ends=True)
        self._credit = Credit()
        self._body = Body(self._path, self._grant, Intake(room, EXTRA_UP)) if meta.get("stream") else None
        if self._body is None:
            self._request = Request(meta["args"], self._job, (frame.data,) if frame.data else ())
        else:
            self._request = Request(meta["args"], self._job, self._body, self._body.sha256)

    @property
    def waits(self) -> bool:
        """Whether it will wait for somebody."""
        return self._operation.waits or self._body is not None

    def take(self, frame: Frame) -> None:
        """Take a later frame of the request."""
        if frame.kind == frames.CREDIT:
            self._credit.add(frame.meta)
        elif frame.kind == frames.CANCEL:
            self.cancel()
        elif self._body is not None and frame.kind == frames.DATA:
            self._body.put(frame.data)
        elif self._body is not None and frame.kind == frames.END:
            self._body.end(frame.meta)
        else:
            raise frames.FrameError("a frame of kind %d for a request" % frame.kind)

    def cancel(self) -> None:
        """Stop the work; it ends with a frame all the same."""
        self._job.cancel()
        self._credit.cancel()
        if self._body is not None:
            self._body.cancel()

    def run(self) -> None:
        """Do the work, in a thread."""
        try:
            self._job.check(self._path)
            answer = self._operation.run(self._files, self._request)
        except Exception as error:  # noqa: BLE001  whatever it is, the request is answered
            self._fail(error)
            return
        finally:
            self._request.body = ()  # or what it holds lives as long as the stream of the answer
            if self._body is not None:
                self._body.close()
        if not isinstance(answer, Answer):
            answer = Answer(answer)
        if answer.stream is None:
            self._finish(frames.ANSWER, {"value": answer.value}, answer.data)
        else:
            self._output.send(frames.ANSWER, self._id, {"value": answer.value, "stream": True})
            self._elsewhere(lambda: self._stream(answer))

    def _stream(self, answer: Answer) -> None:
        assert answer.stream is not None
        try:
            with closing(answer.stream):
                trailer = self._send_all(answer.stream)
            trailer["value"] = answer.final()
        except Exception as error:  # noqa: BLE001  as above
            self._fail(error)
        else:
            self._finish(frames.END, trailer)

    def _send_all(self, stream: Iterable[bytes]) -> Dict[str, Any]:
        digest = hashlib.sha256()
        length = 0
        for chunk in stream:
            digest.update(chunk)
            length += len(chunk)
            rest = memoryview(chunk)
            while rest:
                count = self._credit.take(min(len(rest), MOST))
                if not count or self._output.broken:
                    raise GuestError("cancelled", self._path, "the caller gave up")
                self._output.send(frames.DATA, self._id, None, rest[:count])
                rest = rest[count:]
        return {"length": length, "sha256": digest.hexdigest()}

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, GuestError):
            error = GuestError("io_error", self._path, "the guest failed with %s" % type(error).__name__)
        self._finish(frames.ERROR, error_fields(error))

    def _finish(self, kind: int, meta: Any, data: bytes = b"") -> None:
        self._calls.pop(self._id, None)
        self._output.send(kind, self._id, meta, data)
        self._job.end()

    def _grant(self, count: int) -> None:
        self._output.send(frames.CREDIT, self._id, count)

    def _report(self, done: int, total: Optional[int]) -> None:
        now = time.monotonic()
        if now - self._reported >= _PROGRESS:
            self._reported = now
            self._output.send(frames.PROGRESS, self._id, [done, total])
