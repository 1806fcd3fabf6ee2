"""Many files in one request: as parts of a form, in an archive, or in JSON."""

from devbox_mcp.servers.rest.batch.routes import ROUTES

__all__ = ["ROUTES"]
