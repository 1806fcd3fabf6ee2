"""TLS from certificate files."""

from __future__ import annotations

import ssl
from pathlib import Path


def load_tls(cert: str | None, key: str | None) -> ssl.SSLContext | None:
    """Return what TLS is served with, None where neither file is configured. Raises ValueError, which says which file
    is wrong and what belongs there."""
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        missing = "tls_cert" if cert is None else "tls_key"
        raise ValueError(f"a certificate and its key belong together; set {missing} too")
    for name, file in (("certificate", cert), ("key", key)):
        try:
            Path(file).read_bytes()
        except OSError as error:
            raise ValueError(f"cannot read the TLS {name} {file}: {error.strerror}") from None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # without a function of ours, OpenSSL would ask for a passphrase on the terminal
        context.load_cert_chain(cert, key, password=lambda: "")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"the TLS key {key} does not belong to the certificate {cert}") from None
        raise ValueError(
            f"{cert} and {key} are no certificate and key that TLS can use ({error.reason or 'not PEM'}); "
            "both are PEM files, the key without a passphrase"
        ) from None
    return context
