"""The protocol of Sealos' server in the devbox, for clients that were written for it: confined, atomic, audited."""

from devbox_mcp.servers.sealos.app import create, is_sealos

__all__ = ["create", "is_sealos"]
