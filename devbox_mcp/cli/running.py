"""From a command's coroutine to its exit code: signals, a reader that went away, and one sentence for what is wrong."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import typer

from devbox_mcp.cli.failing import INTERRUPTED, READER_GONE, Failed

#: Ends a command returns; None is 0.
Work = Callable[[], Coroutine[Any, Any, int | None]]
_ENDED_BY_SIGNAL = 128


def run(work: Work) -> NoReturn:
    """Do a command's work and end with its exit code. Whatever ends it, what is under way is cleared away first."""
    try:
        code = asyncio.run(_guarded(work))
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Failed as failure:
        code = tell(failure)
    except BrokenPipeError:
        _flush_or_forget()
        code = READER_GONE
    except (typer.Exit, typer.Abort):
        raise
    except OSError as error:
        _flush_or_forget()
        name = "" if error.filename is None else os.fsdecode(error.filename)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        code = tell(Failed("no_space" if full else "io_error", name, error.strerror or str(error)))
    except Exception as error:  # noqa: BLE001  a traceback helps nobody who types a command
        told = f"{type(error).__name__}: {error}"
        code = tell(Failed("internal", "", f"a fault of devbox-mcp itself: {told}", "please report it"))
    raise typer.Exit(code)


def _flush_or_forget() -> None:
    """Print what is left, if that can be: the interpreter would try once more at its end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tell(failure: Failed) -> int:
    """Write a failure to stderr and return its exit code."""
    warn(str(failure))
    return failure.exit_code


def warn(sentence: str) -> None:
    """Write one line to stderr, if anybody reads it."""
    try:
        sys.stderr.write(f"devbox-mcp: {sentence}\n")
        sys.stderr.flush()
    except (BrokenPipeError, ValueError):
        return


async def _guarded(work: Work) -> int:
    """Run to the end, or until a signal that ends other programs at once."""
    task = asyncio.ensure_future(work())
    ended_by: list[int] = []

    def end(number: int) -> None:
        ended_by.append(number)
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end, number)
    try:
        return await task or 0
    except asyncio.CancelledError:
        if not ended_by:
            raise
        return _ENDED_BY_SIGNAL + ended_by[0]
