"""Which route a request took, told outwards past everything that copies the scope."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

NOTES = "notes"


@dataclass(slots=True)
class Notes:
    """What is found out about a request further in; ``route`` is its template, never its path."""

    route: str | None = None
    caller: str | None = None


def notes_of(scope: Scope) -> Notes | None:
    """Return the notes on this request, None where nobody observes it."""
    found = scope.get("state", {}).get(NOTES)
    return found if isinstance(found, Notes) else None


class Routed:
    """Stands directly around an application with a router, and notes the route that it chose."""

    def __init__(self, app: ASGIApp, prefix: str = "") -> None:
        """``prefix`` is what the application's routes are mounted under; without routes it is the template itself."""
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        finally:
            notes = notes_of(scope)
            if notes is not None and notes.route is None:
                path = getattr(scope.get("route"), "path", None)
                notes.route = self._prefix + path if path is not None else self._prefix or None
