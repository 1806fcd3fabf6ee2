"""An ASGI application on a socket: addresses, TLS, time-outs of connections, signals and a graceful end."""

from devbox_mcp.servers.addresses import bind, split_address
from devbox_mcp.servers.serving.connections import Timeouts
from devbox_mcp.servers.serving.running import GRACE_SECONDS, run, serve
from devbox_mcp.servers.serving.tls import load_tls

__all__ = ["GRACE_SECONDS", "Timeouts", "bind", "load_tls", "run", "serve", "split_address"]
