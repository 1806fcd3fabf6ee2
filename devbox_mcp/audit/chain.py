"""The chain's arithmetic: no files here.

A line is ``{"seq": N, …, "mac": "…"}``. Its mac is the HMAC-SHA256, under the chain's key, of the mac of the line
before and of the line itself, byte for byte, without its mac. The first line has number 0 and names the chain.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass

_LINE = re.compile(rb'(\{"seq": ([0-9]{1,18}), [^\n]*), "mac": "([0-9a-f]{64})"\}\n')
_CHAIN = re.compile(rb'\{"seq": 0, "chain": "([0-9a-f]{32})", ')
#: No line is longer.
LONGEST = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it was read: its number, what its mac is of, and its mac."""

    seq: int
    body: bytes
    mac: bytes

    def follows(self, before: bytes, key: bytes) -> bool:
        """Whether it was written after the line with the mac ``before``, by who has the key."""
        return hmac.compare_digest(self.mac, mac_of(key, before, self.body))

    @property
    def chain(self) -> str | None:
        """The chain's name, on its first line."""
        found = _CHAIN.match(self.body)
        return found[1].decode("ascii") if found else None


def parse(line: bytes) -> Line | None:
    """Return a line's parts, None for what is no line of a chain."""
    found = _LINE.fullmatch(line)
    return None if found is None else Line(int(found[2]), found[1] + b"}", found[3])


def mac_of(key: bytes, before: bytes, body: bytes) -> bytes:
    """Return a line's mac in hex; the first line has nothing before it."""
    return hmac.digest(key, before + body, "sha256").hex().encode("ascii")


def sealed(key: bytes, before: bytes, body: bytes) -> tuple[bytes, bytes]:
    """Return a whole line, and its mac."""
    mac = mac_of(key, before, body)
    return body[:-1] + b', "mac": "' + mac + b'"}\n', mac
