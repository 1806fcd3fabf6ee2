"""The open devbox behind the SDK: opened at the first call, closed once, and never left behind."""

from __future__ import annotations

import asyncio
import os
import re
import threading
import warnings
import weakref
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol, TypeVar

from devbox_mcp.errors import InvalidArgument, Unavailable
from devbox_mcp.kinds import Opening
from devbox_mcp.limits import MIB, Limits
from devbox_mcp.paths import SandboxPath
from devbox_mcp.sandbox import Sandbox
from devbox_mcp.sandboxes import open_devbox

PathText = str | os.PathLike[str]
T = TypeVar("T")

_ANY_SIZE = 1 << 48  # 15 digits, the most that a gateway reads
#: What nobody should write into a URL, and some do.
_PASSWORD = re.compile(r"//[^/@\s]*@")
#: A program knows what it asks for; what it holds in memory at once stays bounded all the same.
LIMITS = Limits(text=16 * MIB, write=_ANY_SIZE, file=_ANY_SIZE, edit=64 * MIB, transfer=_ANY_SIZE, archive_files=10**9)


def spelled(path: PathText) -> str:
    """Return a path as text. Raises TypeError."""
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError(f"a path is text, not {type(text).__name__}: os.fsdecode makes it one")
    return text


def listed(given: Sequence[T], name: str) -> tuple[T, ...]:
    """Return what was given as a list. Raises TypeError for a single text, which would be a list of its letters."""
    if isinstance(given, str | bytes | os.PathLike):
        raise TypeError(f"{name} is a list, not {type(given).__name__}: write [{given!r:.100}]")
    return tuple(given)


class Loop(Protocol):
    """The event loop of a sync face."""

    def end(self, last: Callable[[], Awaitable[None]]) -> None:
        """Run a last call and end, without waiting for it."""


class Core:
    """A devbox by its text, and what was opened for it. Knows nothing of those who use it, so that they can be
    collected while its threads are at work."""

    def __init__(self, devbox: str, opening: Opening) -> None:
        self._text = devbox
        self.devbox = _PASSWORD.sub("//…@", devbox)
        """the text as it may be shown"""
        self._opening = opening
        self._pid = os.getpid()
        self._lock = asyncio.Lock()
        self._sandbox: Sandbox | None = None
        self._closing: set[Callable[[], Awaitable[None]]] = set()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.closed = False
        self.forgettable = False
        """whether nobody is expected to close it, because nobody could know when"""

    @property
    def is_open(self) -> bool:
        """Whether there is something to close, in this process."""
        return self._sandbox is not None and not self.closed and self.is_ours

    @property
    def is_ours(self) -> bool:
        """Whether this is the process that made it; threads and connections do not come along with a fork."""
        return self._pid == os.getpid()

    def check(self) -> None:
        """Raise Unavailable if no call can be made any more."""
        if not self.is_ours:
            raise Unavailable(
                "open", self.devbox, "this box was made by another process, before a fork", hint="make a new one here"
            )
        if self.closed:
            raise Unavailable("open", self.devbox, "this box is closed", hint="make a new one")

    async def sandbox(self) -> Sandbox:
        """Return the open devbox, opening it if this is the first call. Raises Unavailable, and what opening does."""
        self.check()
        if self.loop is None:
            self.loop = asyncio.get_running_loop()
        elif self.loop is not asyncio.get_running_loop():
            raise Unavailable(
                "open", self.devbox, "this box belongs to another event loop", hint="make a new one in this loop"
            )
        if self._sandbox is None:
            async with self._lock:
                self.check()
                if self._sandbox is None:
                    try:
                        self._sandbox = await open_devbox(self._text, self._opening, LIMITS)
                    except ValueError as error:
                        raise InvalidArgument("open", self.devbox, str(error)) from None
        return self._sandbox

    def before_closing(self, end: Callable[[], Awaitable[None]]) -> Callable[[], None]:
        """Have something ended when the devbox is closed; return what takes that back."""
        self._closing.add(end)
        return lambda: self._closing.discard(end)

    async def aclose(self) -> None:
        """Close what was opened, once."""
        if self.closed or not self.is_ours:
            return
        self.closed = True
        async with self._lock:
            for end in list(self._closing):
                await end()
            if self._sandbox is not None:
                await self._sandbox.aclose()


class Connection:
    """What boxes, their ``fs`` and open files hold on to: with the last of them the devbox is closed, and a
    ResourceWarning says that nobody did so before."""

    def __init__(self, devbox: PathText, opening: Opening, loop: Loop | None = None) -> None:
        """``loop`` is that of a sync face, to be ended with the devbox."""
        self.core = Core(os.fspath(devbox), opening)
        self._finalizer = weakref.finalize(self, _abandoned, self.core, loop)
        self._finalizer.atexit = False  # the process ends, and with it everything it had open

    async def at(self, path: PathText, op: str) -> tuple[Sandbox, SandboxPath]:
        """Return the open devbox and a path in it as a caller wrote it. Raises InvalidArgument, EscapesRoot."""
        sandbox = await self.core.sandbox()
        return sandbox, await sandbox.parse(spelled(path), op)

    async def aclose(self) -> None:
        """Close the devbox, once."""
        await self.core.aclose()


def _abandoned(core: Core, loop: Loop | None) -> None:
    """Close what nobody holds any more. Runs wherever garbage is collected, so it waits for nothing that could wait
    for it."""
    was_open = core.is_open
    try:
        if was_open and not core.forgettable:
            warnings.warn(
                f"a box on {core.devbox} was never closed; use it in a with block", ResourceWarning, stacklevel=2
            )
    finally:
        if not core.is_ours:
            pass
        elif loop is not None:
            loop.end(core.aclose)
        elif was_open:
            _close_alone(core)


def _close_alone(core: Core) -> None:
    """Close an asynchronous box: in its event loop, or where that is over in one of its own."""
    if core.loop is not None and core.loop.is_running():
        asyncio.run_coroutine_threadsafe(core.aclose(), core.loop)
        return
    closing = threading.Thread(target=_run, args=(core,), name="devbox-closing", daemon=True)
    closing.start()
    closing.join(timeout=10)


def _run(core: Core) -> None:
    with suppress(Exception):  # what is bound to the loop that is over goes with it
        asyncio.run(core.aclose())
