"""The middlewares of this floor as one server needs them, by its settings."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import ASGIApp

from devbox_mcp.servers.guarding.bodies import Holding, Rooms
from devbox_mcp.servers.guarding.deadlines import Deadlines
from devbox_mcp.servers.guarding.health import Health, Probe, Readiness
from devbox_mcp.servers.guarding.logs import open_log
from devbox_mcp.servers.guarding.measures import Measures, Metrics
from devbox_mcp.servers.guarding.observe import Observe
from devbox_mcp.servers.guarding.shared import open_allowance
from devbox_mcp.servers.guarding.throttle import Throttle, Transfers
from devbox_mcp.settings import Settings
from devbox_mcp.tally import Tally


class Guard:
    """``outside`` goes around everything, ``inside`` around the doors, where it is known who asks. ``metrics`` is an
    endpoint for the doors; ``drain`` is called when the server is told to end, ``aclose`` when it has."""

    def __init__(self, settings: Settings, probes: Sequence[Probe], tally: Tally | None = None) -> None:
        """``probes`` ask a devbox each whether it answers; ``tally`` is what the floors below count. Raises
        ValueError for a store that cannot be one."""
        self.measures = Measures(tally)
        self.metrics: ASGIApp = Metrics(self.measures)
        self._veil = settings.veil
        self._log = open_log(veil=self._veil)
        self._readiness = Readiness(probes, self.measures)
        self._allowance = open_allowance(settings, self._log)
        self._transfers = Transfers(settings.max_transfers)
        #: What bodies are held in that somebody needs as a whole.
        self.rooms = Rooms(settings.limits.body, settings.body_timeout)
        self._settings = settings

    def outside(self, app: ASGIApp) -> ASGIApp:
        """Return an application whose requests are named, counted and logged, and which tells of its health."""
        return Observe(Health(app, self._readiness), self.measures, self._log, self._veil)

    def inside(self, app: ASGIApp) -> ASGIApp:
        """Return an application that identified callers use within their limits."""
        patient = Deadlines(app, self._settings.body_timeout, self.measures)
        return Throttle(Holding(patient, self.rooms), self._allowance, self._transfers, self.measures)

    async def is_ready(self) -> bool:
        """Return whether requests should be sent here."""
        return await self._readiness.ask()

    def drain(self) -> None:
        """Say from now on that no requests should be sent here."""
        self._readiness.drain()

    async def aclose(self) -> None:
        """Close what the limits are kept in."""
        await self._allowance.aclose()
