"""What one request, or one WebSocket, uses up of its caller's allowance."""

from __future__ import annotations

from devbox_mcp.errors import RateLimited
from devbox_mcp.servers.guarding.allowances import Allowance

#: Bytes that are charged at a time: a store that replicas share is not asked for every piece.
_PORTION = 1024 * 1024


class Spending:
    """A caller's spending; ``scope["state"]["spending"]`` while it is limited. Every message on a WebSocket that asks
    for something is an ``operation`` of its own."""

    def __init__(self, allowance: Allowance, caller: str) -> None:
        self._allowance = allowance
        self._caller = caller
        self._moved = 0

    async def operation(self, op: str = "request", path: str = "") -> None:
        """Pay for one operation. Raises RateLimited, whose ``data["retry_after"]`` is in seconds."""
        wait = await self._allowance.admit(self._caller)
        if wait:
            raise RateLimited(
                op,
                path,
                f"{self._caller} has used up what it may do for now",
                hint=f"try again in {wait:.2g} seconds",
                retry_after=round(wait, 3),
            )

    async def moved(self, count: int) -> None:
        """Pay for bytes that came or went, now or a little later."""
        self._moved += count
        if self._moved >= _PORTION:
            await self.settle()

    async def settle(self) -> None:
        """Pay for what is still open."""
        count, self._moved = self._moved, 0
        if count:
            await self._allowance.charge(self._caller, count)
