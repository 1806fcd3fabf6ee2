"""The process that finds and searches for Worker: requests come in by one pipe, answers go out by another.

Both are lines of JSON. The first line says what the root is; from then on every request is answered with the parts
of its answer, and a last line that holds the error, if there is one. It ends with its parent, even in the middle of a
pattern that would never let the interpreter look.
"""

import fcntl
import json
import os
import select
import signal
import sys
from typing import Any, Callable, Dict, Iterator, Optional

from .beneath import Root
from .errors import GuestError
from .find import find_parts
from .job import Job
from .matching import give_up_slow_lines
from .policy import Policy
from .search import search_parts

_IDLE = 60.0  # seconds without a request until it ends
_PATIENCE = 2.0  # seconds behind the deadline until it ends unasked
_OPERATIONS: Dict[str, Callable[..., Iterator[Dict[str, Any]]]] = {"find": find_parts, "search": search_parts}


def main() -> None:
    """Serve until there is nobody to serve."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGIO, signal.SIGALRM))
    requests = _Requests()
    setting = requests.next()
    if setting is None:
        return
    _die_with_parent(setting["life"])
    os.set_inheritable(setting["fd"], False)
    policy = Policy(setting["deny"], read_only=True)
    root = Root(setting["path"], policy, setting["openat2"], handle=setting["fd"])
    give_up_slow_lines()
    while True:
        request = requests.next()
        if request is None:
            return
        seconds = request["seconds"]
        signal.setitimer(signal.ITIMER_REAL, 0 if seconds is None else max(seconds, 0.0) + _PATIENCE)
        last = _answer(root, request)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _send(last)


class _Requests:
    """What comes in."""

    def __init__(self) -> None:
        self._buffer = b""

    def next(self) -> Optional[Dict[str, Any]]:
        """Return the next line, None at the end or after a long silence."""
        while b"\n" not in self._buffer:
            if not select.select([0], [], [], _IDLE)[0]:
                return None
            chunk = os.read(0, 1 << 16)
            if not chunk:
                return None
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        found: Dict[str, Any] = json.loads(line)
        return found


def _answer(root: Root, request: Dict[str, Any]) -> Dict[str, Any]:
    """Send the parts of an answer, and return the line behind them."""
    job = Job(request["seconds"])
    run = _OPERATIONS[request["operation"]]
    try:
        for part in run(root, request["path"], request["pattern"], job, **request["options"]):
            _send({"part": part, "done": job.done})
    except GuestError as error:
        fields = {"code": error.code, "path": error.path, "detail": error.detail, "hint": error.hint}
        return {"error": {**fields, **error.data}}
    return {}


def _send(message: Dict[str, Any]) -> None:
    sys.stdout.buffer.write(json.dumps(message).encode("ascii") + b"\n")
    sys.stdout.buffer.flush()


def _die_with_parent(life: int) -> None:
    """Let the kernel end this process when the parent closes a pipe in which nothing is ever said: one that requests
    come in by would end it for a request, too. A parent-death signal would not do: it comes when the thread ends that
    started this process."""
    os.set_inheritable(life, False)
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([life], [], [], 0)[0]:
        sys.exit()
