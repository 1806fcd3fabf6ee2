"""Answers that come page by page, and a page that comes part by part.

A cursor is opaque to callers and holds all that is needed to go on, so that nothing is remembered in between. A
part is a whole answer: what was found since the part before it, and otherwise what is to be said if no other part
follows because the process that makes them was ended.
"""

import binascii
import json
import os
from typing import Any, Dict, Iterable, List, Optional, Type

from .errors import GuestError


def make_cursor(kind: str, start: str, *values: Any) -> str:
    """Return a cursor for the ``kind`` of answer about the path ``start``; ``values`` are plain JSON."""
    text = json.dumps([kind, start, *values], separators=(",", ":"))
    return binascii.b2a_base64(text.encode("ascii"), newline=False).decode("ascii")


def read_cursor(cursor: Optional[str], kind: str, start: str, *types: Type[Any]) -> Optional[List[Any]]:
    """Return the values of a cursor, None for none. Raises invalid_argument for one that was not made for this."""
    if cursor is None:
        return None
    try:
        found = json.loads(binascii.a2b_base64(cursor.encode("ascii")))
        # a path that the system could not name is none of ours
        os.fsencode("".join(value for value in found if isinstance(value, str)))
    except (ValueError, TypeError, RecursionError):
        found = None
    if not isinstance(found, list) or found[:2] != [kind, start] or [type(value) for value in found[2:]] != [*types]:
        raise GuestError(
            "invalid_argument",
            start,
            "the cursor was not made by this search",
            "pass the cursor of the page before with the same arguments, or none to begin anew",
        )
    return found[2:]


def gather(parts: Iterable[Dict[str, Any]], *keys: str) -> Dict[str, Any]:
    """Put parts together; ``keys`` name the lists that grow."""
    found: Dict[str, List[Any]] = {key: [] for key in keys}
    answer: Dict[str, Any] = {}
    for part in parts:
        for key in keys:
            found[key] += part[key]
        answer = part
    return {**answer, **found}
