"""API keys for devboxes behind HTTP: given as an argument, by the environment, or in a file, never in a URL.

The file is ``~/.config/devbox-mcp/credentials.toml`` (or beneath ``$XDG_CONFIG_HOME``), readable by its owner only:

    ["https://gateway.example.com"]
    api_key = "dbx_…"
"""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

from devbox_mcp.errors import Unauthenticated

#: Overrides the file, whatever the host.
VARIABLE = "DEVBOX_MCP_API_KEY"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MOST = 1 << 20


def credentials_file() -> Path | None:
    """Return where the file is, or would be; None where the environment tells no home directory."""
    above = os.environ.get("XDG_CONFIG_HOME", "")
    try:
        directory = Path(above) if above.startswith("/") else Path.home() / ".config"
    except RuntimeError:
        return None
    return directory / "devbox-mcp" / "credentials.toml"


def api_key_for(origin: str, given: str | None = None) -> str | None:
    """Return the key for an origin (``https://host``, with ``:port`` where it is another than usual), None where
    there is none. Raises Unauthenticated for a key or a file that makes no sense, which is never shown."""
    for key, source in ((given, "the API key that was given"), (os.environ.get(VARIABLE), VARIABLE)):
        if key is not None:
            return _checked(key, source)
    path = credentials_file()
    if path is None:
        return None
    stanza = _read(path).get(normal(origin))
    if stanza is None:
        return None
    key = stanza.get("api_key") if isinstance(stanza, dict) else None
    if not isinstance(key, str):
        raise _bad(f'{path} has no api_key = "…" beneath ["{normal(origin)}"]')
    return _checked(key, f"the api_key of {normal(origin)} in {path}")


def normal(origin: str) -> str:
    """Return an origin in the one form that it is compared in. Raises ValueError."""
    parts = urlsplit(origin)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    port = "" if parts.port in (None, usual) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def _read(path: Path) -> dict[str, object]:
    """Return the file's stanzas by origin; none where there is no file."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & _OTHERS:
                raise _bad(f"{path} is open to other users", f"chmod 600 {path}")
            text = file.read(_MOST).decode("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no UTF-8'}") from None
    found: dict[str, object] = {}
    try:
        for origin, stanza in tomllib.loads(text).items():
            found[normal(origin)] = stanza
    except tomllib.TOMLDecodeError:
        # its message may quote a line, and so a key
        raise _bad(f"{path} is no TOML", 'write ["https://host"] and beneath it api_key = "…"') from None
    except ValueError:
        raise _bad(f"{path} has a heading that is no origin", 'write ["https://host"]') from None
    return found


def _checked(key: str, source: str) -> str:
    stripped = key.strip()
    if not stripped or not stripped.isascii() or not stripped.isprintable() or " " in stripped:
        raise _bad(f"{source} is empty, or holds characters that no key has")
    return stripped


def _bad(detail: str, hint: str = "") -> Unauthenticated:
    return Unauthenticated("connect", ".", detail, hint=hint or "see docs/http-backend.md, Credentials")
