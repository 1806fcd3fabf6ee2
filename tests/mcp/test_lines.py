"""Answers as lines: in pieces they say what they say whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from devbox_mcp.servers.mcp.lines import line_of

LONG = 3 * 1024 * 1024


def answer(text: str) -> dict[str, Any]:
    content = [{"type": "text", "text": text}, {"type": "text", "text": "facts"}]
    return {"jsonrpc": "2.0", "id": 7, "result": {"content": content, "isError": False}}


@pytest.mark.parametrize("text", ["a" * LONG, '"\\\n\x00' * LONG, "\u20ac\U0001f600" * LONG])
def test_a_long_text_is_made_in_pieces_that_are_the_whole_together(text: str) -> None:
    pieces = line_of(answer(text))
    assert not isinstance(pieces, bytes)
    made = list(pieces)
    assert len(made) > 3
    assert all(made)
    line = b"".join(made)
    assert b"\n" not in line
    assert json.loads(line) == answer(text)


def test_what_cannot_be_sent_is_an_error_before_anything_is_sent() -> None:
    line = line_of(answer("a" * LONG + "\ud800"))
    assert isinstance(line, bytes)
    assert json.loads(line) == {
        "jsonrpc": "2.0",
        "id": 7,
        "error": {"code": -32603, "message": "Internal server error"},
    }
