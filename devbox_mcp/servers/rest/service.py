"""What the routes share while the server runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.types import ASGIApp

from devbox_mcp.keys import Veil
from devbox_mcp.sandboxes import Sandboxes
from devbox_mcp.servers.guarding.bodies import Rooms
from devbox_mcp.servers.rest.versions import Versions


@dataclass(slots=True)
class Service:
    """``sandboxes`` are all of them, before it is known who asks. ``inside`` is the application as requests meet it
    that came over a connection whose caller is known already; ``rooms`` are what such requests are held in, and
    ``veil`` tells what may not be their id."""

    sandboxes: Sandboxes
    inside: ASGIApp
    rooms: Rooms
    veil: Veil
    versions: Versions = field(default_factory=Versions)
