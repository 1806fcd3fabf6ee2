"""The program in the container: frames come by stdin, go by stdout, until nobody is there any more.

One thread reads. What the kernel's caches answer, and what is asked for while nothing else is, it answers itself; the
rest is work for other threads. It ends, and leaves no temporary and no process behind, with the end of its stdin, when
stdout is broken, and when nothing was heard for too long: a connection that is cut somewhere on the way ends neither
pipe.
"""

import fcntl
import os
import platform
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Any, Callable, Dict, Optional

from . import frames
from .beneath import Root
from .bootstrap import program
from .calls import Call, Output
from .errors import GuestError, os_errors
from .frames import Decoder, Frame, FrameError
from .operations import OPERATIONS, Answer, Files, describe_process, error_fields
from .policy import Policy
from .pool import Pool
from .streams import Room
from .turns import Turns, Work
from .worker import Loader

_READ = 256 << 10
_SET_PIPE_SIZE = 1031  # fcntl.F_SETPIPE_SZ, since Python 3.10
_WORKERS, _WAITERS = 8, 256
_PATIENCE = 10.0  # seconds for work to stop and clean up behind itself
_SILENCE = 75.0  # seconds, unless the server says how often it will be heard
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def main(blob: bytes) -> None:
    """Serve the root that the first frame names."""
    # stdout is for frames alone: whatever else would print there goes nowhere
    out = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.close(null)
    for number in _SIGNALS:
        signal.signal(number, _end)
    _widen(0, _READ)
    _widen(out, _READ)
    _widen(out, frames.MOST)  # a large piece of a stream at once, where that much may be had
    sys.setswitchinterval(0.001)  # the thread that reads must not wait long for one that computes
    server = Server(0, out, lambda: (program(blob, "child"), blob))
    with suppress(SystemExit):
        server.run()
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    server.close()
    os._exit(0)  # with whatever thread still hangs in a system call


def _widen(pipe: int, size: int) -> None:
    """Let a pipe hold more, so that neither end wakes the other for every few kilobytes."""
    with suppress(OSError):  # no pipe, no Linux, or all that this user may have is taken
        fcntl.fcntl(pipe, _SET_PIPE_SIZE, size)


def _end(*_: Any) -> None:
    sys.exit()


class Server:
    """One session, from its first frame to its last."""

    def __init__(self, source: int, sink: int, loader: Loader) -> None:
        self._source = source
        self._output = Output(sink)
        self._loader = loader
        self._silence = _SILENCE
        self._heard = time.monotonic()
        self._decoder = Decoder()
        self._turns = Turns(self._read)
        self._workers = Pool(_WORKERS, "work")
        self._waiters = Pool(_WAITERS, "wait")
        self._calls: Dict[int, Call] = {}
        self._room = Room()
        self._files: Optional[Files] = None

    def run(self) -> None:
        """Serve until the end."""
        self._turns.start()
        threading.Thread(target=self._listen, name="listen", daemon=True).start()
        self._turns.wait()

    def close(self) -> None:
        """Stop everything, and wait until it is cleaned up. Of what is stopped here nothing is told: nobody asked."""
        self._output.broken = True
        for call in list(self._calls.values()):
            call.cancel()
        if self._files is not None:
            self._files.close()
        self._turns.close(_PATIENCE)
        self._workers.close(_PATIENCE)
        self._waiters.close(_PATIENCE)

    def _listen(self) -> None:
        """End the process when nothing was heard for too long, whatever the reading thread hangs in."""
        while time.monotonic() - self._heard < self._silence:
            time.sleep(min(2.0, self._silence / 10))
        self.close()
        os._exit(1)

    def _read(self) -> Optional[Work]:
        """Take what comes, until there is a call that this thread shall do, or return None at the end."""
        while not self._output.broken:
            try:
                data = os.read(self._source, _READ)
            except OSError:
                return None
            if not data:
                return None
            self._heard = time.monotonic()
            try:
                found = self._decoder.feed(data)
                for frame in found:
                    call = self._take(frame)
                    if call is None:
                        continue
                    if len(found) == len(self._calls) == 1 and self._turns.claim():
                        return call.run
                    self._workers.run(call.run)
            except FrameError:
                return None
            self._output.flush()
        return None

    def _take(self, frame: Frame) -> Optional[Call]:
        """Deal with a frame; return a call that is work for a thread."""
        if frame.kind == frames.REQUEST:
            return self._begin(frame)
        if frame.kind == frames.PING:
            self._output.send_later(frames.PONG, frame.id)
        elif frame.kind == frames.HELLO and self._files is None:
            self._hello(frame.meta)
        elif frame.kind == frames.BYE:
            # the reading side ends first, then this one: so the last frame is never lost
            self._output.send_later(frames.BYE)
        else:
            call = self._calls.get(frame.id)
            if call is not None:  # else it is through already
                call.take(frame)
        return None

    def _hello(self, wanted: Dict[str, Any]) -> None:
        try:
            root = _open_root(wanted)
        except GuestError as error:
            self._output.send_later(frames.ERROR, 0, error_fields(error))
            return
        self._silence = wanted["silence"]
        self._files = Files(root, self._loader)
        about = describe_process(root)
        about.update(version=frames.VERSION, python=platform.python_version())
        self._output.send_later(frames.HELLO, 0, about)

    def _begin(self, frame: Frame) -> Optional[Call]:
        name = frame.meta["op"]
        operation = OPERATIONS.get(name)
        files = self._files
        if operation is None or files is None or frame.id in self._calls:
            raise FrameError("a request that cannot be")
        if operation.now is not None and self._answered(frame, operation.now, files):
            return None
        files.prepare(name)
        call = Call(frame, operation, files, self._output, self._calls, self._waiters.run, self._room)
        self._calls[frame.id] = call
        if not call.waits:
            return call
        self._waiters.run(call.run)
        return None

    def _answered(self, frame: Frame, now: Callable[[Files, Dict[str, Any]], Answer], files: Files) -> bool:
        """Answer at once if that can be done."""
        try:
            answer = now(files, frame.meta["args"])
        except GuestError as error:
            self._output.send_later(frames.ERROR, frame.id, error_fields(error))
        except Exception:  # noqa: BLE001  WouldBlock, or a fault, which where it does not stop the others is met again
            return False
        else:
            self._output.send_later(frames.ANSWER, frame.id, {"value": answer.value}, answer.data)
        return True


def _open_root(wanted: Dict[str, Any]) -> Root:
    with os_errors("."):
        directory = os.getcwd() if wanted["root"] is None else wanted["root"]
    root = Root(directory, Policy(wanted["deny"], wanted["read_only"]), wanted["openat2"])
    effective = os.access in os.supports_effective_ids
    if not os.access(".", os.R_OK | os.X_OK, dir_fd=root.fd, effective_ids=effective):
        root.close()
        raise GuestError("permission_denied", ".", "the root cannot be read by user %d" % os.geteuid())
    return root
