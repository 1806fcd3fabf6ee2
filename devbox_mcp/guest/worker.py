"""Finding and searching in child processes, because only a process can be stopped at any moment.

A regular expression that explodes holds the interpreter for years, with every thread in it. So the work is done by
children that are killed at the deadline; what they have found until then is the answer. They are kept warm for the
next call, and end by themselves when idle or when this process does.
"""

import json
import os
import select
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

from .beneath import Root
from .errors import GuestError
from .job import Job
from .paging import gather

_MOST = {"search": 4, "find": 5}  # children at work up to which one more is begun: finds never wait for searches alone
_GRACE = 0.25  # seconds behind the deadline for a child to end its answer properly
_LOOK = 0.05  # seconds between two looks at the job
_ENVIRONMENT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")  # an interpreter may not start without them

#: Returns the program for a child's ``-c``, which makes this package known and calls ``child.main``, and the bytes
#: that this program reads from its standard input before that.
Loader = Callable[[], Tuple[str, bytes]]


def from_directory() -> Tuple[str, bytes]:
    """Let the child import this package from its directory, and nothing around it."""
    program = (
        "import sys\n"
        "guest = sys.modules['guest'] = type(sys)('guest')\n"
        "guest.__path__ = [%a]\n"
        "from guest.child import main\n"
        "main()\n"
    )
    return program % os.path.dirname(os.path.abspath(__file__)), b""


class Worker:
    """``find`` and ``search`` of a root, each ended at its job's deadline whatever it is doing. Thread-safe."""

    def __init__(self, root: Root, loader: Loader = from_directory) -> None:
        self._root = root
        self._loader = loader
        self._children: Set[_Child] = set()
        self._idle: List[_Child] = []
        self._closed = False
        self._changed = threading.Condition()

    def find(
        self,
        path: str,
        pattern: str,
        job: Job,
        *,
        sort: str = "name",
        ignored: bool = False,
        limit: int = 200,
        after: Optional[str] = None,
    ) -> Dict[str, Any]:
        """Answer as ``find.find``. Raises what it does, and unavailable."""
        options = {"sort": sort, "ignored": ignored, "limit": limit, "after": after}
        return self._run("find", ("entries",), path, pattern, job, options)

    def search(
        self,
        path: str,
        pattern: str,
        job: Job,
        *,
        glob: Optional[str] = None,
        regex: bool = True,
        ignore_case: bool = False,
        context: int = 0,
        ignored: bool = False,
        limit: int = 200,
        after: Optional[str] = None,
    ) -> Dict[str, Any]:
        """Answer as ``search.search``, but by the deadline. Raises what it does, and unavailable."""
        options = {
            "glob": glob,
            "regex": regex,
            "ignore_case": ignore_case,
            "context": context,
            "ignored": ignored,
            "limit": limit,
            "after": after,
        }
        return self._run("search", ("matches", "gaps"), path, pattern, job, options)

    def close(self) -> None:
        """End all children; calls under way raise unavailable, and so do later ones."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
            busy = self._children.difference(idle)
            self._changed.notify_all()
        for child in busy:
            child.kill()
        for child in idle:
            self._drop(child)

    def _run(
        self, operation: str, keys: Tuple[str, ...], path: str, pattern: str, job: Job, options: Dict[str, Any]
    ) -> Dict[str, Any]:
        request = {"operation": operation, "path": path, "pattern": pattern, "options": options}
        while True:
            with self._child(path, job, _MOST[operation]) as child:
                warm = child.served > 0
                try:
                    return gather(child.parts(request, path, job), *keys)
                except _Ended:
                    # one that was idle for long may end just now; the next one is another or a new one
                    if not warm:
                        raise GuestError("unavailable", path, "the process that searches ended unexpectedly") from None

    @contextmanager
    def _child(self, path: str, job: Job, most: int) -> "Iterator[_Child]":
        """Lend an idle child or a new one; one that is not through with its answer afterwards is killed."""
        child = self._take(path, job, most)
        try:
            yield child
        finally:
            with self._changed:
                keep = child.idle and not self._closed
                if keep:
                    self._idle.append(child)
                    self._changed.notify()
            if not keep:
                self._drop(child)

    def _take(self, path: str, job: Job, most: int) -> "_Child":
        with self._changed:
            while True:
                if self._closed:
                    raise GuestError("unavailable", path, "this sandbox was closed")
                self._forget_ended()
                if len(self._children) - len(self._idle) < most:
                    if self._idle:
                        return self._idle.pop()
                    child = _Child(self._root, self._loader)
                    self._children.add(child)
                    return child
                if job.expired:
                    raise GuestError("timeout", path, "other searches took all the time allowed", "try again")
                job.check(path)
                self._changed.wait(_LOOK)

    def _forget_ended(self) -> None:
        """Take leave of children that were idle for too long."""
        for child in [child for child in self._idle if child.has_ended()]:
            self._idle.remove(child)
            self._children.discard(child)
            child.end()

    def _drop(self, child: "_Child") -> None:
        child.end()
        with self._changed:
            self._children.discard(child)
            self._changed.notify()


@contextmanager
def _starting() -> Iterator[None]:
    """Say of an error that it is the process, and no file of the root, that is not as it should be."""
    try:
        yield
    except OSError as error:
        detail = "the process that searches cannot be started: %s" % (error.strerror or error)
        hint = "other operations go on; if this does too, restart the server"
        raise GuestError("unavailable", ".", detail, hint) from None


class _Ended(Exception):
    """The child is gone."""


class _Child:
    """One process. Used by one thread at a time, but ``kill`` may come from any."""

    def __init__(self, root: Root, loader: Loader) -> None:
        """Raises unavailable where no process can be started."""
        program, fed = loader()
        with _starting():
            life, held = os.pipe()
            self._life = os.fdopen(held, "wb", 0)
            try:
                # its own interpreter and program: nothing of a request is an argument
                self._process = subprocess.Popen(  # noqa: S603
                    [sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", program],
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                    pass_fds=(root.fd, life),
                    start_new_session=True,
                )
            except BaseException:
                self._life.close()
                raise
            finally:
                os.close(life)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests = self._process.stdin
        self._answers = self._process.stdout
        self._readable = select.poll()
        self._readable.register(self._answers, select.POLLIN)
        self._buffer = b""
        policy = root.policy
        setting = {"fd": root.fd, "path": root.path, "deny": policy.deny, "openat2": root.uses_openat2, "life": life}
        self._unsent = fed + _line(setting)
        self.served = 0
        #: Whether it waits for a request.
        self.idle = True

    def parts(self, request: Dict[str, Any], path: str, job: Job) -> Iterator[Dict[str, Any]]:
        """Send a request and yield the parts of its answer, until it or the time is at an end.

        Raises what the child raises, cancelled, timeout when there is nothing at all by then, and _Ended.
        """
        self.idle = False
        seconds = None if job.deadline is None else job.deadline - time.monotonic()
        self._send(_line({**request, "seconds": seconds}))
        message = self._receive(path, job)
        if message is None:
            raise GuestError("timeout", path, "the time allowed is over")
        while message is not None and "part" in message:
            job.advance(message["done"] - job.done)
            yield message["part"]
            message = self._receive(path, job)
        if message is None:
            return
        self.served += 1
        self.idle = True
        if "error" in message:
            raise GuestError(**message["error"])

    def _send(self, line: bytes) -> None:
        unsent = memoryview(self._unsent + line)
        self._unsent = b""
        try:
            while unsent:
                unsent = unsent[self._requests.write(unsent) :]
        except BrokenPipeError:
            raise _Ended from None

    def _receive(self, path: str, job: Job) -> Optional[Dict[str, Any]]:
        """Return the next line of the answer, None where it has not come by the deadline."""
        while b"\n" not in self._buffer:
            try:
                job.check(path)
            except GuestError as error:
                # a child that watches its deadline says so itself, a moment later
                if error.code != "timeout" or job.deadline is None:
                    raise
                if time.monotonic() > job.deadline + _GRACE:
                    return None
            if self._readable.poll(_LOOK * 1000):
                chunk = os.read(self._answers.fileno(), 1 << 16)
                if not chunk:
                    raise _Ended
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        found: Dict[str, Any] = json.loads(line)
        return found

    def has_ended(self) -> bool:
        """Whether the process is no more."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """Stop the process; whoever uses it learns that it ended."""
        self._process.kill()

    def end(self) -> None:
        """Stop the process and leave nothing of it."""
        self._process.kill()
        self._process.wait()
        self._requests.close()
        self._answers.close()
        self._life.close()


def _line(message: Dict[str, Any]) -> bytes:
    return json.dumps(message).encode("ascii") + b"\n"
