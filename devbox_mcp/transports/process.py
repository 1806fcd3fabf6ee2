"""Any local command as a transport: ``docker exec -i web``, ``ssh host``, ``nsenter …``, or nothing at all.

Pipes are read and written on the event loop with no queue of our own between them: what is not fetched fills the
kernel's pipe and makes the program wait, and what the program does not read makes ``send`` wait.

Through a wrapper such as ``docker exec`` the start of the program itself cannot be observed. That it is missing there
shows when the wrapper ends with 126 or 127 and no output; ``receive`` raises it then.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import select
import shlex
import signal
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import PurePath
from typing import IO

from devbox_mcp.errors import DevboxError, InvalidArgument, Unavailable, Unsupported
from devbox_mcp.transports.base import Channel, ExecTransport, Exit
from devbox_mcp.transports.leader import Leader

#: Room in the kernel for a burst in each direction, so that both sides work in big steps.
_PIPE_SIZE = 1024 * 1024
_SET_PIPE_SIZE = getattr(fcntl, "F_SETPIPE_SZ", 1031)
_READ = 256 * 1024
#: After this much sent without waiting, other tasks get their turn.
_TURN = 64 * 1024
_STDERR_TAIL = 4096
#: How long a program may take to end by itself: once after its stdin ended, once after SIGTERM.
_GRACE = 0.5
#: How long an end of stdout waits for the exit status that may say why.
_VERDICT = 1.0
#: POSIX: a command that cannot be executed, and one that is not found.
_NOT_STARTED = (126, 127)


class ProcessTransport(ExecTransport):
    """Runs ``command`` followed by what is to be started. The command must pass stdin, stdout and the argument list
    on as they are: no terminal (``docker exec -i``, not ``-it``), no password prompt.

    ssh does not: it joins the arguments with blanks and the remote shell splits them again, so they are quoted for
    it, which needs a POSIX shell as the remote login shell.
    """

    def __init__(self, command: Sequence[str] = ()) -> None:
        self._command = tuple(command)
        self._identity = uuid.uuid4().hex

    @property
    def name(self) -> str:
        return f"command {shlex.join(self._command)}" if self._command else "this machine"

    async def start(self, argv: Sequence[str]) -> Channel:
        words = [*self._command, *self._quoted(argv)]
        try:
            process = subprocess.Popen(  # noqa: ASYNC220, S603  returns when the program runs, after about 1 ms
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except ValueError as error:
            raise InvalidArgument("start", ".", "an argument contains a NUL character") from error
        except OSError as error:
            raise _not_started(words[0], error) from error
        return ProcessChannel(process, argv[0], wrapped=bool(self._command))

    async def identity(self) -> str:
        """A command cannot tell whether it reaches the same sandbox as before: constant for this transport."""
        return self._identity

    async def aclose(self) -> None:
        """Nothing is kept beside the channels."""

    def _quoted(self, argv: Sequence[str]) -> Sequence[str]:
        if self._command and PurePath(self._command[0]).name == "ssh":
            return [shlex.join(argv)]
        return argv


class ProcessChannel(Channel):
    """A process in a session of its own, which ends whole: when its leader has ended, so is the rest of it."""

    def __init__(self, process: subprocess.Popen[bytes], program: str, *, wrapped: bool) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._program = program
        self._wrapped = wrapped
        self._loop = asyncio.get_running_loop()
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._tail = b""
        self._received = False
        self._waiting: set[asyncio.Future[None]] = set()
        self._ending: asyncio.Task[None] | None = None
        for pipe in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(pipe.fileno(), False)
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):  # only Linux has it, and there a user's pages for pipes may be used up
                fcntl.fcntl(pipe.fileno(), _SET_PIPE_SIZE, _PIPE_SIZE)
        self._loop.add_reader(self._stderr.fileno(), self._drain)
        self._leader = Leader(process, self._on_end)
        self._ended = self._leader.ended

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data).cast("B")
        waited = len(rest) < _TURN
        while rest:
            if self._stdin.closed or self._ended.is_set():
                raise await self._failure("send")
            try:
                rest = rest[os.write(self._stdin.fileno(), rest) :]
            except BlockingIOError:
                waited = True
                await self._ready(self._stdin, writing=True)
            except BrokenPipeError as error:
                raise await self._failure("send") from error
        if not waited:
            await asyncio.sleep(0)

    def send_now(self, data: bytes) -> bool:
        if len(data) > select.PIPE_BUF or self._stdin.closed or self._ended.is_set():
            return False
        try:
            return os.write(self._stdin.fileno(), data) == len(data)  # so few go into a pipe together or not at all
        except OSError:  # a full pipe, or one that ``send`` will say more about
            return False

    async def receive(self) -> bytes:
        while True:
            try:
                if not self._ended.is_set():  # afterwards whatever there is lies in the pipe
                    await self._ready(self._stdout)
                data = os.read(self._stdout.fileno(), _READ)
            except BlockingIOError:
                if not self._ended.is_set():
                    continue
                data = b""  # what escaped from the session still holds the pipe
            except ValueError as error:  # closed
                raise await self._failure("receive") from error
            if not data and not self._received and await self._never_started():
                raise await self._failure("receive")
            self._received = True
            return data

    async def close_stdin(self) -> None:
        self._close(self._stdin)

    async def exit(self) -> Exit:
        await self._ended.wait()
        status = self._leader.status
        if status is not None and status < 0:
            return Exit(None, self._said(), f"ended by {_signal_name(-status)}")
        return Exit(status, self._said())

    async def aclose(self) -> None:
        if self._ending is None:
            self._ending = self._loop.create_task(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        """Ask three times, more firmly each time. Whoever is busy writing learns by SIGPIPE that nobody reads."""
        self._close(self._stdin)
        self._close(self._stdout)
        try:
            for number in (signal.SIGTERM, signal.SIGKILL):
                try:
                    await asyncio.wait_for(self._ended.wait(), _GRACE)
                    break
                except TimeoutError:
                    self._leader.signal(number)
            await self._ended.wait()
        finally:
            if not self._ended.is_set():  # the event loop itself is ending
                self._leader.kill()
            self._close(self._stderr)

    async def _never_started(self) -> bool:
        """Whether a wrapper says that it could not start the program. Its end follows the end of stdout."""
        if not self._wrapped:
            return False
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), _VERDICT)
        return self._leader.status in _NOT_STARTED

    async def _failure(self, op: str) -> DevboxError:
        if self._ending is not None:
            return Unavailable(op, ".", "the channel is closed")
        if not self._received and await self._never_started():
            return Unsupported(
                op,
                ".",
                f"{self._program} cannot be started there: {self._said() or 'the command says no more'}",
                hint="install it there, or check the command",
                program=self._program,
            )
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), _VERDICT)
        if not self._ended.is_set():
            return Unavailable(op, ".", f"the stdin of {self._program} is closed")
        end = await self.exit()
        said = f": {end.stderr}" if end.stderr else ""
        return Unavailable(op, ".", f"{self._program} {end.reason or f'ended with status {end.status}'}{said}")

    async def _ready(self, pipe: IO[bytes], *, writing: bool = False) -> None:
        """Wait until the pipe can be used, is closed here, or the program has ended."""
        loop, descriptor = self._loop, pipe.fileno()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.add(future)
        (loop.add_writer if writing else loop.add_reader)(descriptor, _settle, future)
        try:
            await future
        finally:
            self._waiting.discard(future)
            if not pipe.closed:  # else the number may be another file's by now
                (loop.remove_writer if writing else loop.remove_reader)(descriptor)

    def _close(self, pipe: IO[bytes]) -> None:
        if pipe.closed:
            return
        self._loop.remove_reader(pipe.fileno())
        self._loop.remove_writer(pipe.fileno())
        pipe.close()
        self._wake()

    def _on_end(self) -> None:
        self._drain()
        self._wake()

    def _wake(self) -> None:
        for future in tuple(self._waiting):
            _settle(future)

    def _drain(self) -> None:
        """Keep the end of what the program says on stderr. Never waits."""
        if self._stderr.closed:
            return
        try:
            data = os.read(self._stderr.fileno(), _READ)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._stderr.fileno())
        self._tail = (self._tail + data)[-_STDERR_TAIL:]

    def _said(self) -> str:
        return self._tail.decode(errors="replace").strip()


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _not_started(program: str, error: OSError) -> DevboxError:
    missing = isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError)
    if missing or error.errno == errno.ENOEXEC:
        return Unsupported(
            "start",
            ".",
            f"{program} cannot be started: {error.strerror}",
            hint="install it, or name the program by its full path",
            program=program,
        )
    if error.errno == errno.E2BIG:
        return InvalidArgument("start", ".", "the arguments are too long")
    return Unavailable("start", ".", f"{program} cannot be started: {error.strerror}")
