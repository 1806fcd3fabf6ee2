"""How far a chain had come, kept elsewhere: without it a log that lost its last lines would look whole."""

from __future__ import annotations

import hmac
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Anchor:
    """The ``chain`` had ``count`` lines, and the last one's mac was ``mac``."""

    chain: str
    count: int
    mac: str

    def seal(self, key: bytes) -> str:
        """Return what only who has the key can write under it."""
        return hmac.digest(key, f"anchor\n{self.chain}\n{self.count}\n{self.mac}".encode(), "sha256").hex()


def load(path: str, key: bytes) -> Anchor | None:
    """Return the anchor, None if there is no such file. Raises OSError, and ValueError for one that this key did not
    write."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no anchor of an audit log") from None
    try:
        found = json.loads(text)
        anchor = Anchor(str(found["chain"]), int(found["count"]), str(found["mac"]))
        seal = str(found["seal"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is no anchor of an audit log") from None
    if not hmac.compare_digest(seal.encode(), anchor.seal(key).encode()):
        raise ValueError(f"the anchor {path} was changed, or is of another key")
    return anchor


def save(path: str, anchor: Anchor, key: bytes) -> None:
    """Replace the file atomically. Raises OSError."""
    fields = {"chain": anchor.chain, "count": anchor.count, "mac": anchor.mac, "seal": anchor.seal(key)}
    temporary = Path(f"{path}.new")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(fd, json.dumps(fields).encode() + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
