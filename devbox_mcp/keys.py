"""Keys: what they look like, and the hash that stands for one in the access file."""

from __future__ import annotations

import hashlib
import re
import secrets

_PREFIX = "dbx_"
#: A key anywhere in a text, so that it can be recognised where it must not be.
KEY = re.compile(r"dbx_[A-Za-z0-9_-]{43}")


def new_key() -> str:
    """Return a key of 256 random bits."""
    return _PREFIX + secrets.token_urlsafe(32)


def hashed(key: str) -> str:
    """Return what the access file holds of a key.

    A plain sha256 is enough, because a key is 256 random bits and no password: there is nothing to guess that a slow
    hash or a salt would protect, and a request is answered by one look into a table.
    """
    return f"sha256:{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def without_keys(text: str) -> str:
    """Return a text as logs may have it: with a mark in the place of every key."""
    return KEY.sub("(a key)", text) if _PREFIX in text else text
