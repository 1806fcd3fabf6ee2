"""How much JSON from outside may say."""

from __future__ import annotations

import asyncio
import json

import pytest

from devbox_mcp.errors import InvalidArgument
from devbox_mcp.servers.mcp.registry import json_list
from devbox_mcp.servers.sense import MOST_VALUES, Values, require_few


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (b"", 0),
        (b"7", 0),
        (b"[]", 1),
        (b'[1, [2], {"a": 3}]', 5),
        (b'["[,{", "]"]', 2),
        (rb'["\"[,", "\\", [], "\\\"[", [","]]', 7),
        (rb'{"a\\": ",", "b\"": "{\\\\"}', 2),
    ],
)
def test_values_are_counted_outside_texts_however_they_are_cut(text: bytes, count: int) -> None:
    for size in range(1, len(text) + 2):
        values = Values()
        for start in range(0, len(text), size):
            values.add(text[start : start + size])
        assert values.count == count, size


async def test_many_values_are_refused_whatever_they_are() -> None:
    for piece in (b"[],", b"0,", b'"",', b"{},"):
        body = b"[" + piece * 2 * MOST_VALUES + b"0]"
        with pytest.raises(InvalidArgument, match=f"more than {MOST_VALUES} values"):
            await require_few(body, "op")
    await require_few(json.dumps(["[,{" * MOST_VALUES]).encode(), "op")


async def test_others_have_their_turn_while_a_large_body_is_judged() -> None:
    order: list[str] = []

    async def judge() -> None:
        await require_few(b'["' + b"x" * (1 << 20) + b'"]', "op")
        order.append("judged")

    async def other() -> None:
        order.append("other")

    await asyncio.gather(judge(), other())
    assert order == ["other", "judged"]


def test_a_list_in_a_text_is_bounded_too() -> None:
    assert json_list("[[], 1]") == [[], 1]
    text = "[" + "[]," * MOST_VALUES + "0]"
    assert json_list(text) is text
