"""What a backend lacks natively, composed from the small contract, so that every tool works everywhere."""

from devbox_mcp.backends.composed.backend import Composed

__all__ = ["Composed"]
