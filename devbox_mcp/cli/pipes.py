"""Stdin, stdout and other pipes, which may keep whoever uses them waiting for as long as they like."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TypeVar

from devbox_mcp.cli.locations import STDIO
from devbox_mcp.cli.output import Output

T = TypeVar("T")

_PIECE = 256 * 1024


def is_pipe(path: str) -> bool:
    """Whether a path of this machine is stdin, or what can be read but once: what a shell or a program gave us."""
    if path == STDIO:
        return True
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116  names that are not UTF-8 too
    except (OSError, ValueError):
        return False  # whoever opens it says what is wrong
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


async def read(path: str) -> AsyncIterator[bytes]:
    """Yield what comes out of a pipe until its end. Raises OSError."""
    if path == STDIO:
        descriptor = sys.stdin.fileno()
    else:
        descriptor = await _beside(lambda: os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    while chunk := await _beside(lambda: os.read(descriptor, _PIECE)):
        yield chunk


async def write(output: Output, data: bytes) -> None:
    """Print bytes while the connections to devboxes are looked after. Raises OSError."""
    output.flush()
    rest = memoryview(data)
    while rest:
        rest = rest[await _beside(lambda: os.write(sys.stdout.fileno(), rest)) :]  # noqa: B023  awaited at once


async def _beside(work: Callable[[], T]) -> T:
    """Do what may block in a thread that nobody waits for when the command is interrupted."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # None only where T has it

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except OSError as failure:
            error = failure
        with suppress(RuntimeError):  # the loop is closed, and nobody waits
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=run, daemon=True).start()
    return await done
