"""Sealos' own server in the pod, as a backend."""

from devbox_mcp.backends.http.sealos.backend import SealosBackend

__all__ = ["SealosBackend"]
