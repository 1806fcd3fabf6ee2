"""What every request over HTTP passes: it is named, counted, limited, and not waited for for ever."""

from devbox_mcp.servers.guarding.allowances import Allowance, InMemory
from devbox_mcp.servers.guarding.deadlines import Deadlines
from devbox_mcp.servers.guarding.health import Health, Readiness
from devbox_mcp.servers.guarding.measures import Measures, Metrics
from devbox_mcp.servers.guarding.observe import Observe
from devbox_mcp.servers.guarding.routed import Routed
from devbox_mcp.servers.guarding.shared import open_allowance
from devbox_mcp.servers.guarding.spending import Spending
from devbox_mcp.servers.guarding.throttle import Throttle

__all__ = [
    "Allowance",
    "Deadlines",
    "Health",
    "InMemory",
    "Measures",
    "Metrics",
    "Observe",
    "Readiness",
    "Routed",
    "Spending",
    "Throttle",
    "open_allowance",
]
