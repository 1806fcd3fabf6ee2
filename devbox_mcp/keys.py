"""Keys: what they look like, the hash that stands for one in the access file, and texts as logs may have them."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

_PREFIX = "dbx_"
#: A key anywhere in a text, so that it can be recognised where it must not be.
KEY = re.compile(r"dbx_[A-Za-z0-9_-]{43}")
#: With letters that somebody forgot or added.
_ALMOST_KEY = re.compile(r"dbx_[A-Za-z0-9_-]{16,}")
#: A JSON Web Token is three parts of base64url, the first of which is that of ``{"``.
_JWT_BEGINS = "eyJ"
_JWT_PARTS = 3
_DOTTED = re.compile(r"[A-Za-z0-9_.-]+")
_SIGNED = re.compile(
    r"([?&#;](?:signed|sig|token|access_token|api_key|[A-Za-z0-9-]{0,40}signature)=)[^&#\s]+", re.IGNORECASE
)
_SHORTEST_KNOWN = 8
#: Characters of a text that is looked through for secrets; whoever logs a longer one shows nothing of it.
LONGEST_SHOWN = 64 * 1024
#: Addresses are encoded once, by mistake twice.
_MOST_ENCODED = 3


def new_key() -> str:
    """Return a key of 256 random bits."""
    return _PREFIX + secrets.token_urlsafe(32)


def hashed(key: str) -> str:
    """Return what the access file holds of a key.

    A plain sha256 is enough, because a key is 256 random bits and no password: there is nothing to guess that a slow
    hash or a salt would protect, and a request is answered by one look into a table.
    """
    return f"sha256:{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


class Veil:
    """Hides secrets in texts that go into logs: keys, JSON Web Tokens, what signs an address, and those that are
    ``known`` here, in clear and percent-encoded. The one seam for the audit log and for the process' own."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        """``known`` are secrets of this server. One that is shorter than 8 characters is part of too many words to be
        hidden."""
        stripped = {secret.strip() for secret in known}
        # the longest first: one may be in another
        self._known = sorted((one for one in stripped if len(one) >= _SHORTEST_KNOWN), key=len, reverse=True)

    def over(self, text: str) -> str:
        """Return a text with a mark in the place of every secret."""
        hidden = self._over(text)
        plain = hidden
        for _ in range(_MOST_ENCODED):
            if "%" not in plain:
                break
            plain = unquote(plain, errors="surrogateescape")
            clean = self._over(plain)
            if clean != plain:
                # what was encoded can be decoded by whoever reads it
                return clean
        return hidden

    def over_all(self, value: Any) -> Any:
        """Return a value of JSON with the secrets of every text in it hidden, and of what is too long the length; in
        the place of what is no JSON its text. Names of fields are nobody's secret."""
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, str):
            return self.over(value) if len(value) <= LONGEST_SHOWN else f"(a text of {len(value)} characters)"
        if isinstance(value, dict):
            return {name: self.over_all(one) for name, one in value.items()}
        return [self.over_all(one) for one in value] if isinstance(value, (list, tuple)) else self.over_all(repr(value))

    def _over(self, text: str) -> str:
        for secret in self._known:
            if secret in text:
                text = text.replace(secret, "(a secret)")
        if _PREFIX in text:
            text = _ALMOST_KEY.sub("(a key)", text)
        if _JWT_BEGINS in text:
            text = _DOTTED.sub(_without_tokens, text)
        return _SIGNED.sub(r"\1(a signature)", text) if "=" in text else text


def _without_tokens(found: re.Match[str]) -> str:
    """Hide the JSON Web Tokens among parts with dots between. Looks at each part once, whatever stands there."""
    parts = found[0].split(".")
    kept: list[str] = []
    at = 0
    while at < len(parts):
        begins = parts[at].find(_JWT_BEGINS)
        if begins < 0 or at + _JWT_PARTS > len(parts) or not parts[at + 1]:
            kept.append(parts[at])
            at += 1
        else:
            kept.append(f"{parts[at][:begins]}(a token)")
            at += _JWT_PARTS
    return ".".join(kept)
