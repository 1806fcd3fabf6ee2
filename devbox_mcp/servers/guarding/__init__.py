"""What every request over HTTP passes: it is named, counted, limited, and not waited for for ever.

    guard = Guard(settings, probes)
    app = guard.outside(Hosts(Identify(guard.inside(doors))))

with ``Routed`` directly around each door that has a router, so that metrics and logs tell the route's template, and
``guard.metrics`` at ``/metrics``.
"""

from devbox_mcp.servers.guarding.guard import Guard
from devbox_mcp.servers.guarding.measures import Measures
from devbox_mcp.servers.guarding.routed import Routed
from devbox_mcp.servers.guarding.spending import Spending

__all__ = ["Guard", "Measures", "Routed", "Spending"]
