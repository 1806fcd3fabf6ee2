"""What a line tells of a record: bounded as it is written, and without secrets."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any, Final

from devbox_mcp.audit.records import AuditRecord
from devbox_mcp.errors import printable
from devbox_mcp.keys import LONGEST_SHOWN, Veil

#: Bytes that a character may take as it is written.
_LARGEST_CHARACTER: Final = 12
#: Of one text as it is written, in bytes.
_LONGEST_NAME: Final = 256
_LONGEST_CALLER: Final = 1024
#: Of a request that never became an operation: anybody can send one.
_LONGEST_ADDRESS: Final = 1000
#: As PATH_MAX.
_LONGEST_PATH: Final = 4096


def fields_of(record: AuditRecord, veil: Veil) -> dict[str, Any]:
    """Return what a line tells of a record. Every text passes here."""
    longest = _LONGEST_PATH if record.of_operation else _LONGEST_ADDRESS
    texts = (
        ("caller", record.caller, _LONGEST_CALLER),
        ("request_id", record.request_id, _LONGEST_NAME),
        ("devbox", record.devbox, _LONGEST_NAME),
        ("op", record.op, _LONGEST_NAME),
        ("path", record.path, longest),
        ("destination", record.destination, longest),
        ("result", record.result, _LONGEST_NAME),
    )
    return {
        "time": stamp(record.time),
        **{name: None if text is None else shown(text, veil, most) for name, text, most in texts},
        "bytes": record.bytes,
        "sha256": record.sha256,
        "ms": round(record.seconds * 1e3, 3),
    }


def shown(text: str, veil: Veil, most: int) -> str:
    """Return a text as a line has it. Of one that is too long to look for secrets in, the mark alone: a secret that is
    cut in two is not found either."""
    return _mark(text) if len(text) > LONGEST_SHOWN else fitting(veil.over(text), most)


def fitting(text: str, most: int) -> str:
    """Return a text that is printable, and has at most so many bytes when it is written. What is longer is cut at a
    whole character, says so, and tells the hash of the whole: two that were cut can be told apart."""
    if len(text) <= most:
        whole = printable(text)
        if len(text) * _LARGEST_CHARACTER <= most or _written(whole) <= most:
            return whole
    mark = _mark(text)
    room = most - _written(mark)
    kept: list[str] = []
    for character in text:
        written = printable(character)
        room -= _written(written)
        if room < 0:
            break
        kept.append(written)
    return "".join(kept) + mark


def _written(text: str) -> int:
    return len(json.dumps(text)) - 2


def _mark(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"… (cut: {len(text)} characters, sha256 {digest[:16]})"


def stamp(moment: float) -> str:
    """Return a time in seconds since 1970 as text, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment % 1 * 1e3):03d}Z"


def encoded(fields: dict[str, Any]) -> bytes:
    """Return fields as one line of JSON, without its end; what is None is left out."""
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode("ascii")
