"""Anthropic's Messages API, as far as agents use it: written from its public description, for tests only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from conversation import Answer, Asked

PATH = "/v1/messages"


def asked(body: dict[str, Any]) -> Asked:
    """Read a request."""
    task = ""
    results = []
    for message in body["messages"]:
        blocks = message["content"]
        blocks = [{"type": "text", "text": blocks}] if isinstance(blocks, str) else blocks
        if message["role"] != "user":
            continue
        turn = [_text(block.get("content", "")) for block in blocks if block["type"] == "tool_result"]
        if turn:
            results.append(turn)
        task = task or _text(blocks)
    tools = {tool["name"]: tool.get("input_schema", {}) for tool in body.get("tools", [])}
    return Asked(task, tools, results)


def _text(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] for block in content if block["type"] == "text")


def answered(said: Answer, body: dict[str, Any], number: int) -> dict[str, Any]:
    """Make the response to a request that does not stream."""
    content: list[dict[str, Any]] = [{"type": "text", "text": said.text}] if said.text else []
    for index, call in enumerate(said.calls):
        content.append(
            {"type": "tool_use", "id": f"toolu_{number}_{index}", "name": call.name, "input": call.arguments}
        )
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": content,
        "stop_reason": "tool_use" if said.calls else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": len(json.dumps(body)) // 4, "output_tokens": len(json.dumps(content)) // 4},
    }


def streamed(message: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The same response as events: names and data."""
    head = {**message, "content": [], "stop_reason": None}
    yield "message_start", {"message": head}
    for index, block in enumerate(message["content"]):
        if block["type"] == "text":
            empty, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
        else:
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
            empty = {**block, "input": {}}
        yield "content_block_start", {"index": index, "content_block": empty}
        yield "content_block_delta", {"index": index, "delta": delta}
        yield "content_block_stop", {"index": index}
    end = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield "message_delta", {"delta": end, "usage": message["usage"]}
    yield "message_stop", {}
