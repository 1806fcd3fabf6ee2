"""Which server a URL leads to, and the backend for it."""

from __future__ import annotations

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.http.address import Address
from devbox_mcp.backends.http.backend import HttpBackend
from devbox_mcp.credentials import api_key_for


async def open_http(url: str, api_key: str | None = None) -> Backend:
    """Open a devbox by its URL. Raises ValueError with what to write, DevboxError."""
    address = Address.parse(url)
    key = api_key_for(address.origin, api_key)
    return await HttpBackend.open(address, key)
