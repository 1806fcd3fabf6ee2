"""Changes as they happen, for threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Self

from devbox_mcp.client.blocking.portal import Portal
from devbox_mcp.client.connection import Connection, PathText, spelled
from devbox_mcp.client.shapes import Event
from devbox_mcp.client.watching import Feed, Handler, log_end, log_failure
from devbox_mcp.errors import Cancelled, DevboxError


class Watch:
    """Changes beneath a directory since it was made, in one of three ways::

    for event in box.fs.watch("."):  # waits for the next one, until the box is closed
        print(event.path, event.type)

    with box.fs.watch(".") as changes:  # ends with the block
        for event in changes: ...

    @box.fs.watch(".")  # in a thread of its own, until the box is closed
    def on_change(event): ...
    """

    def __init__(self, connection: Connection, portal: Portal, path: PathText, *, recursive: bool) -> None:
        """Begin to watch. Raises NotFound, NotDirectory, Unsupported."""
        self._connection = connection  # an iteration keeps the box open
        self._portal = portal
        self._feed = Feed(connection.core, spelled(path), recursive=recursive)
        portal.run(self._feed.start())

    def __call__(self, handler: Handler) -> Handler:
        """Call a function with every change, one at a time, in a background thread; it may use the box. What it
        raises is logged."""
        threading.Thread(
            target=_follow, args=(self._portal, self._feed, handler), name="devbox-watch", daemon=True
        ).start()
        return handler

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        try:
            event = None if self._feed.closed else self._portal.run(self._feed.next())
        except Cancelled:
            if not self._portal.ended:
                raise
            event = None
        if event is None:
            raise StopIteration
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it: an iteration that waits in another thread ends too."""
        if not self._feed.closed:
            self._portal.run(self._feed.aclose())


def _follow(portal: Portal, feed: Feed, handler: Callable[[Event], Any]) -> None:
    # holds nothing that keeps the box open
    try:
        while not feed.closed and (event := portal.run(feed.next())) is not None:
            try:
                handler(event)
            except Exception:  # noqa: BLE001  whatever a handler raises, the next change is told
                log_failure(event)
    except Cancelled:
        return
    except DevboxError as error:
        if not feed.closed:
            log_end(error)
