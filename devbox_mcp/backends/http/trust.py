"""Whose certificates are believed: those that the environment names, or the system's."""

from __future__ import annotations

import ssl

import httpx2

from devbox_mcp.errors import InvalidArgument


def trusting(base: str) -> ssl.SSLContext:
    """Return TLS for a server. Without TLS it trusts nobody: loading the authorities takes longer than many a call.
    Raises InvalidArgument for authorities that cannot be read."""
    if not base.startswith("https:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return httpx2.create_ssl_context()
    except OSError as error:
        raise InvalidArgument(
            "connect",
            ".",
            "the certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read",
            hint="name a file of certificates in PEM",
        ) from error
