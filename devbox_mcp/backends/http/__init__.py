"""Devboxes behind HTTP: this project's gateway (``backend.py``), and Sealos' own server (``sealos/``)."""

from devbox_mcp.backends.http.address import Address
from devbox_mcp.backends.http.backend import HttpBackend
from devbox_mcp.backends.http.opening import open_http

__all__ = ["Address", "HttpBackend", "open_http"]
