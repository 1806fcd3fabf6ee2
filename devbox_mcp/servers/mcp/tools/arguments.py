"""Arguments that several tools take, described once."""

from __future__ import annotations

import base64
import binascii
import os
from typing import Annotated

from pydantic import Field

from devbox_mcp.errors import InvalidArgument

Path = Annotated[str, Field(description="Path relative to the devbox root, or absolute beneath it.")]
Devbox = Annotated[str | None, Field(description="Name of the devbox; the default one if left out.")]
IfMatch = Annotated[
    str | None,
    Field(description="Only if the file's sha256 still begins with this (12 hex digits or more, as results show)."),
]
Cursor = Annotated[str | None, Field(description="next_cursor of the page before, to go on.")]
Limit = Annotated[int | None, Field(description="Most entries to return.")]


def decode_base64(text: str, op: str, path: str) -> bytes:
    """Return the bytes of base64 text, line breaks allowed. Raises InvalidArgument."""
    compact = "".join(text.split())
    try:
        if len(compact) % 4 == 0:
            return binascii.a2b_base64(compact, strict_mode=True)
    except ValueError:
        pass
    raise InvalidArgument(
        op, path, "the content is not valid base64", hint="send the standard alphabet (+ and /), padded with ="
    )


def encode_text(text: str, op: str, path: str) -> bytes:
    """Return UTF-8. Raises InvalidArgument for lone surrogates, which no text file can hold."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidArgument(
            op, path, "the content holds a lone surrogate, which is no text", hint="send bytes with encoding=base64"
        ) from None


def encode_cursor(text: str) -> str:
    """Return a path as an opaque cursor."""
    return base64.urlsafe_b64encode(os.fsencode(text)).decode("ascii").rstrip("=")


def decode_cursor(cursor: str, op: str, path: str) -> str:
    """Return what ``encode_cursor`` was given. Raises InvalidArgument."""
    try:
        return os.fsdecode(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        raise InvalidArgument(op, path, "this is no cursor of ours", hint="start again without a cursor") from None
