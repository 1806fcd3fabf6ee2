"""What the routes share while the server runs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from devbox_mcp.limits import Limits
from devbox_mcp.sandboxes import Sandboxes
from devbox_mcp.servers.rest.versions import Versions
from devbox_mcp.settings import Settings


@dataclass(slots=True)
class Service:
    """``sandboxes`` are all of them, before it is known who asks; ``stopping`` is set when the server ends, and ends
    what would otherwise go on."""

    sandboxes: Sandboxes
    settings: Settings
    versions: Versions = field(default_factory=Versions)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def limits(self) -> Limits:
        """The limits of every devbox."""
        return self.settings.limits
