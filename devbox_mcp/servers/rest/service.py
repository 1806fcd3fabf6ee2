"""What the routes share while the server runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.types import ASGIApp

from devbox_mcp.keys import Veil
from devbox_mcp.sandboxes import Sandboxes
from devbox_mcp.servers.rest.versions import Versions


@dataclass(slots=True)
class Service:
    """``sandboxes`` are all of them, before it is known who asks. ``inside`` is the application as requests meet it
    that came over a connection whose caller is known already; ``veil`` tells what may be no request's id."""

    sandboxes: Sandboxes
    inside: ASGIApp
    versions: Versions = field(default_factory=Versions)
    veil: Veil = field(default_factory=Veil)
