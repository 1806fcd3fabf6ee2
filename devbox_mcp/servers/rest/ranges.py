"""Byte ranges (RFC 9110, section 14). No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

_RANGES = re.compile(r"bytes=\s*(?P<specs>[-0-9 \t,]+)\Z", re.IGNORECASE)
_SPEC = re.compile(r"(?P<first>[0-9]{0,18})-(?P<last>[0-9]{0,18})")


class Unsatisfiable(Exception):
    """Nothing of the range is there."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes from ``first``, ``length`` of them, at least one."""

    first: int
    length: int

    def of(self, size: int) -> str:
        """Return it as Content-Range has it."""
        return f"bytes {self.first}-{self.first + self.length - 1}/{size}"


def wanted(header: str | None, size: int) -> Span | None:
    """Return the range that a header asks for of ``size`` bytes; None where all of them are to be sent: there is
    none, it is in another unit or malformed, or there are several. Raises Unsatisfiable."""
    match = None if header is None else _RANGES.match(header)
    if match is None:
        return None
    specs = [spec for spec in (text.strip() for text in match["specs"].split(",")) if spec]
    spec = _SPEC.fullmatch(specs[0]) if len(specs) == 1 else None
    if spec is None or spec[0] == "-":
        return None
    if not spec["first"]:
        length = min(int(spec["last"]), size)
        if length == 0:
            raise Unsatisfiable
        return Span(size - length, length)
    first = int(spec["first"])
    last = min(int(spec["last"]), size - 1) if spec["last"] else size - 1
    if spec["last"] and int(spec["last"]) < first:
        return None
    if first >= size:
        raise Unsatisfiable
    return Span(first, last - first + 1)
