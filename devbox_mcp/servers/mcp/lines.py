"""Answers as lines of JSON; a long text in pieces, so that the first are read while the others are still made."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from typing import Any

import mcp_types as types
from pydantic_core import PydanticSerializationError, to_json

logger = logging.getLogger(__name__)

#: Characters of a piece. What is not longer than two is made at once.
_PIECE = 512 * 1024


def line_of(answer: dict[str, Any]) -> bytes | Iterator[bytes]:
    """Return an answer of ``tools/call`` as it is sent, whole or in pieces; one that cannot be sent is an error, or the
    client would wait for ever."""
    try:
        text = _long_text(answer)
        if text is None:
            return _json(answer)
        mark = secrets.token_hex(16)
        content, *others = answer["result"]["content"]
        result = {**answer["result"], "content": [{**content, "text": mark}, *others]}
        head, tail = _json({**answer, "result": result}).split(mark.encode("ascii"))
        return _pieces(head, text, tail)
    except PydanticSerializationError:
        logger.exception("an answer of tools/call cannot be sent")
        error = types.ErrorData(code=types.INTERNAL_ERROR, message="Internal server error")
        return _json({"jsonrpc": "2.0", "id": answer["id"], "error": error})


def _long_text(answer: dict[str, Any]) -> str | None:
    """Return the text that an answer begins with, if it is long and surely can be sent: half a line cannot be taken
    back."""
    content = answer.get("result", {}).get("content")
    text = content[0].get("text") if content else None
    if text is None or len(text) <= 2 * _PIECE or not (text.isascii() or _encodable(text)):
        return None
    assert isinstance(text, str)
    return text


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _pieces(head: bytes, text: str, tail: bytes) -> Iterator[bytes]:
    yield head
    for start in range(0, len(text), _PIECE):
        yield to_json(text[start : start + _PIECE])[1:-1]
    yield tail


def _json(answer: dict[str, Any]) -> bytes:
    return to_json(answer, by_alias=True, exclude_none=True)
