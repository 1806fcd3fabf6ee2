"""The same routes over one WebSocket, for many small calls."""

from devbox_mcp.servers.rest.tunnel.endpoint import endpoint

__all__ = ["endpoint"]
