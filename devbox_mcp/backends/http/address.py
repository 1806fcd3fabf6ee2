"""The URL of a devbox behind HTTP."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, quote_from_bytes, urlsplit

from devbox_mcp.credentials import normal
from devbox_mcp.paths import SandboxPath

_NAME = re.compile(r"[A-Za-z0-9._-]{1,63}")
_ABOVE = "/v1/devboxes/"


@dataclass(frozen=True, slots=True)
class Address:
    """``origin`` is the server's, ``prefix`` what stands before ``/v1`` in its paths, ``devbox`` the name of the
    devbox there; None is the only one that the credentials reach."""

    origin: str
    prefix: str = ""
    devbox: str | None = None

    @classmethod
    def parse(cls, url: str) -> Address:
        """Parse ``https://host/v1/devboxes/NAME``, ``https://host/NAME`` or ``https://host``. Raises ValueError with
        what to write; what the URL holds is shown only where it cannot be a secret."""
        parts = _checked(url)
        return cls(normal(url), *_split(parts.path))

    @classmethod
    def of_host(cls, url: str) -> Address:
        """Parse a URL whose path means something else. Raises ValueError."""
        _checked(url)
        return cls(normal(url))

    @property
    def base(self) -> str:
        """The URL that a devbox's routes are beneath, without a slash at its end."""
        return f"{self.origin}{self.prefix}{_ABOVE}{self.devbox}"


def _checked(url: str) -> SplitResult:
    """Take a URL apart. Raises ValueError."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  looked at only here
    except ValueError:
        raise ValueError("this is no URL; write https://HOST/v1/devboxes/NAME") from None
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise ValueError(
            "a URL with a user or a password in it is written into logs and histories; leave it out, and give the "
            "key as DEVBOX_MCP_API_KEY, as api_key=…, or in the credentials file"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("this is no URL of a server; write https://HOST/v1/devboxes/NAME")
    if parts.query or parts.fragment:
        raise ValueError("nothing stands behind a ? or # here; a key belongs into DEVBOX_MCP_API_KEY")
    return parts


def _split(path: str) -> tuple[str, str | None]:
    """Return the prefix and the name of a path."""
    clean = path.rstrip("/")
    above, found, name = clean.rpartition(_ABOVE)
    if not found:
        above, name = "", clean.removeprefix("/")
    if not name and not found:
        return "", None
    if not _NAME.fullmatch(name) or name in (".", "..", "v1"):
        raise ValueError(
            "behind the host stands no devbox; write https://HOST/v1/devboxes/NAME, or https://HOST/NAME for short"
        )
    return above, name


def segments(path: SandboxPath) -> str:
    """Return a path as a part of an address, every byte but letters, digits and ``-._~`` encoded."""
    if path.is_root:
        return ""
    return "/".join(quote_from_bytes(part.encode("utf-8", "surrogateescape"), safe="") for part in path.text.split("/"))


def query(parameters: dict[str, object]) -> str:
    """Return what stands behind the question mark: those that are not None, each byte encoded. A list is a parameter
    that is given many times."""
    pairs: list[str] = []
    for name, value in parameters.items():
        if value is None:
            continue
        for one in value if isinstance(value, list) else [value]:
            text = str(one).lower() if isinstance(one, bool) else str(one)
            pairs.append(f"{name}={quote_from_bytes(text.encode('utf-8', 'surrogateescape'), safe='')}")
    return "&".join(pairs)
