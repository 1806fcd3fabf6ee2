"""Devbox: a devbox from a program without an event loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from devbox_mcp.client.blocking.files import Files
from devbox_mcp.client.blocking.portal import Portal
from devbox_mcp.client.connection import Connection, PathText, listed
from devbox_mcp.client.files import AsyncFiles
from devbox_mcp.kinds import Opening


class Devbox:
    """A devbox by its text: a directory, ``k8s://NAMESPACE/POD``, ``exec:COMMAND`` or ``https://HOST/…``::

        with Devbox("k8s://default/my-pod") as box:
            box.fs.write_file("main.py", "print('hello')")
            print(box.fs.read_file("main.py"))

    It is opened with the block, or by the first call. Calls block, and any number of threads may make them; inside a
    running event loop they block that loop, so there AsyncDevbox is better. A forked process makes its own.
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
        self._portal = Portal()
        self._connection = Connection(devbox, Opening(read_only, listed(deny, "deny"), force, api_key), self._portal)
        self.fs = Files(AsyncFiles(self._connection), self._connection, self._portal)
        """The files."""

    def root(self) -> str:
        """Return the root's absolute path as programs inside the devbox see it. Raises what opening does."""
        return self._portal.run(self._connection.core.sandbox()).root

    def close(self) -> None:
        """Close it; later calls raise Unavailable. Closing twice does nothing."""
        self._portal.close(self._connection.core.aclose)

    def __enter__(self) -> Self:
        """Open it. Raises InvalidArgument for a text that is no DEVBOX, NotFound, Unauthenticated, Unavailable."""
        self._portal.run(self._connection.core.sandbox())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._connection.core.devbox!r})"


def forgettable(box: Devbox) -> Devbox:
    """Return a box that is closed with the last that uses it, and nobody is warned: for those who have no way to
    close it themselves."""
    box._connection.core.forgettable = True  # noqa: SLF001  the same room
    return box
