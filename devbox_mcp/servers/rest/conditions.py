"""Conditional requests (RFC 9110, section 13). No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime

_TAG = re.compile(r'\s*(?P<weak>W/)?"(?P<text>[\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|\Z)')
_SHORTEST = 12
#: The last second that HTTP's dates can name.
_LAST = 253_402_300_799.0


@dataclass(frozen=True, slots=True)
class Tag:
    """An entity tag: the content's sha256, or weakly its revision."""

    text: str
    weak: bool = False

    def __str__(self) -> str:
        return f'W/"{self.text}"' if self.weak else f'"{self.text}"'

    def names(self, other: Tag) -> bool:
        """Whether this one, as a client sent it, strongly means the other: the same, or the beginning of its hash."""
        if self.weak or other.weak:
            return False
        return self.text == other.text or (len(self.text) >= _SHORTEST and other.text.startswith(self.text))


#: What is behind ``*``: anything that exists.
ANY: tuple[Tag, ...] = ()


def tags(header: str) -> tuple[Tag, ...]:
    """Parse a list of entity tags; ANY for ``*``. Raises ValueError."""
    if header.strip() == "*":
        return ANY
    found: list[Tag] = []
    position = 0
    while position < len(header):
        match = _TAG.match(header, position)
        if match is None:
            raise ValueError('write entity tags in double quotes, such as "0123456789ab"')
        found.append(Tag(match["text"], match["weak"] is not None))
        position = match.end()
    if not found:
        raise ValueError("there is no entity tag")
    return tuple(found)


def date(header: str | None) -> float | None:
    """Parse an HTTP date; None for what is none, which is ignored."""
    if header is None:
        return None
    try:
        return parsedate_to_datetime(header).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def last_modified(modified: float) -> str:
    """Return a time as HTTP has it, in whole seconds."""
    return formatdate(min(max(modified, 0.0), _LAST), usegmt=True)


def changed_after(until: float | None, modified: float) -> bool:
    """Whether something was changed after a time of If-Unmodified-Since, which knows whole seconds."""
    return until is not None and int(modified) > until


def unmet(headers: Mapping[str, str], tag: Tag, modified: float) -> int | None:
    """Return the status that a GET or HEAD of this version is answered with by its conditions, 412 or 304; None
    where they are met. Raises ValueError for entity tags that are none."""
    wanted = headers.get("if-match")
    if wanted is not None:
        listed = tags(wanted)
        if listed is not ANY and not any(one.names(tag) for one in listed):
            return 412
    elif changed_after(date(headers.get("if-unmodified-since")), modified):
        return 412
    held = headers.get("if-none-match")
    if held is not None:
        listed = tags(held)
        return 304 if listed is ANY or any(one.text == tag.text for one in listed) else None
    since = date(headers.get("if-modified-since"))
    return 304 if since is not None and int(modified) <= since else None


def same_for_range(headers: Mapping[str, str], tag: Tag, modified: float) -> bool:
    """Whether If-Range, if there is one, lets a range of this version be sent; otherwise it is the whole."""
    wanted = headers.get("if-range")
    if wanted is None:
        return True
    try:
        listed = tags(wanted)
    except ValueError:
        return date(wanted) == int(modified)
    return len(listed) == 1 and listed[0] == tag and not tag.weak
