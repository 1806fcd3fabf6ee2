"""Devboxes that are not reached yet: served with all others, and tried again whenever they are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from devbox_mcp.errors import DevboxError, Unavailable
from devbox_mcp.sandbox import Sandbox


class Absent:
    """A devbox by name that is still to be opened. ``sandbox`` is there once that went well, ``failure`` says why it
    did not the last time."""

    def __init__(self, name: str, opening: Callable[[], Awaitable[Sandbox]]) -> None:
        """``opening`` opens it, or raises ValueError for what makes no sense, DevboxError where it is not reached."""
        self.name = name
        self.sandbox: Sandbox | None = None
        self.failure: DevboxError | ValueError | None = None
        self._opening = opening
        self._trying: asyncio.Task[None] | None = None

    def begin(self) -> asyncio.Task[None]:
        """Try to open it, unless that is under way: whoever asks meanwhile waits for the same attempt."""
        if self._trying is None or self._trying.done():
            self._trying = asyncio.get_running_loop().create_task(self._try())
        return self._trying

    async def reach(self, op: str) -> Sandbox:
        """Return it, open. Raises Unavailable with the reason."""
        if self.sandbox is None:
            # shielded: whoever asks may go away, and others wait for the same attempt
            await asyncio.shield(self.begin())
        if self.sandbox is None:
            raise self.refusal(op)
        return self.sandbox

    def refusal(self, op: str) -> Unavailable:
        """Return what is told to whoever asks for it now."""
        if isinstance(self.failure, DevboxError):
            why, hint = self.failure.detail, self.failure.hint
        else:
            why, hint = str(self.failure or "it is being opened"), ""
        return Unavailable(
            op, self.name, f"this devbox cannot be reached: {why}", hint=hint or "try again when it is there"
        )

    async def _try(self) -> None:
        try:
            self.sandbox = await self._opening()
        except (DevboxError, ValueError) as error:
            self.failure = error

    async def aclose(self) -> None:
        """Give up, and close what was opened."""
        if self._trying is not None:
            self._trying.cancel()
            await asyncio.gather(self._trying, return_exceptions=True)
        if self.sandbox is not None:
            await self.sandbox.aclose()
