"""AsyncDevbox: a devbox from a program that has an event loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from devbox_mcp.client.connection import Connection, PathText, listed
from devbox_mcp.client.files import AsyncFiles
from devbox_mcp.kinds import Opening


class AsyncDevbox:
    """A devbox by its text: a directory, ``k8s://NAMESPACE/POD``, ``exec:COMMAND`` or ``https://HOST/…``::

        async with AsyncDevbox("k8s://default/my-pod") as box:
            await box.fs.write_file("main.py", "print('hello')")
            print(await box.fs.read_file("main.py"))

    It is opened with the block, or by the first call, and belongs to the event loop that does so. Calls may run at
    the same time; a cancelled call leaves nothing half done.
    """

    def __init__(
        self,
        devbox: PathText,
        *,
        api_key: str | None = None,
        read_only: bool = False,
        deny: Sequence[str] = (),
        force: bool = False,
    ) -> None:
        """``api_key`` is for ``https://``; without it the environment and the credentials file are asked.
        ``read_only`` and the ``deny`` globs bind this box. ``force`` takes a whole file system or home directory."""
        self._connection = Connection(devbox, Opening(read_only, listed(deny, "deny"), force, api_key))
        self.fs = AsyncFiles(self._connection)
        """The files."""

    async def root(self) -> str:
        """Return the root's absolute path as programs inside the devbox see it. Raises what opening does."""
        return (await self._connection.core.sandbox()).root

    async def aclose(self) -> None:
        """Close it; later calls raise Unavailable. Closing twice does nothing."""
        await self._connection.aclose()

    async def __aenter__(self) -> Self:
        """Open it. Raises InvalidArgument for a text that is no DEVBOX, NotFound, Unauthenticated, Unavailable."""
        await self._connection.core.sandbox()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._connection.core.devbox!r})"
