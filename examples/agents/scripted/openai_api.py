"""OpenAI's Chat Completions and Responses APIs, as far as agents use them: written from their public descriptions,
for tests only. They do not stream.
"""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

from conversation import Answer, Asked

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"


def asked_in_chat(body: dict[str, Any]) -> Asked:
    """Read a request of Chat Completions."""
    messages = body["messages"]
    task = next(_text(message["content"]) for message in messages if message["role"] == "user")
    turns = groupby(messages, key=lambda message: message["role"])
    results = [[_text(message["content"]) for message in turn] for role, turn in turns if role == "tool"]
    functions = [tool["function"] for tool in body.get("tools", [])]
    return Asked(task, {function["name"]: function.get("parameters", {}) for function in functions}, results)


def answered_in_chat(said: Answer, body: dict[str, Any], number: int) -> dict[str, Any]:
    """Make the response of Chat Completions."""
    calls = [
        {
            "id": f"call_{number}_{index}",
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
        }
        for index, call in enumerate(said.calls)
    ]
    message = {"role": "assistant", "content": said.text or None, **({"tool_calls": calls} if calls else {})}
    reason = "tool_calls" if calls else "stop"
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": reason, "logprobs": None}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }


def asked_in_responses(body: dict[str, Any]) -> Asked:
    """Read a request of Responses, which carries the whole conversation."""
    items = body["input"]
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    task = next(_text(item["content"]) for item in items if item.get("role") == "user")
    turns = groupby(items, key=lambda item: item.get("type"))
    results = [[_text(item["output"]) for item in turn] for kind, turn in turns if kind == "function_call_output"]
    tools = {tool["name"]: tool.get("parameters", {}) for tool in body.get("tools", []) if tool["type"] == "function"}
    return Asked(task, tools, results)


def answered_in_responses(said: Answer, body: dict[str, Any], number: int) -> dict[str, Any]:
    """Make the response of Responses."""
    output: list[dict[str, Any]] = []
    if said.text:
        words = {"type": "output_text", "text": said.text, "annotations": []}
        message = {"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed"}
        output.append({**message, "content": [words]})
    for index, call in enumerate(said.calls):
        names = {"id": f"fc_{number}_{index}", "call_id": f"call_{number}_{index}", "name": call.name}
        arguments = json.dumps(call.arguments)
        output.append({"type": "function_call", **names, "arguments": arguments, "status": "completed"})
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 0,
        "status": "completed",
        "model": body["model"],
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": body.get("tools", []),
        "usage": {
            "input_tokens": 0,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 0,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 0,
        },
    }


def _text(content: str | list[dict[str, Any]] | None) -> str:
    """The text of a message or a result, which is a string or a list of parts."""
    if isinstance(content, list):
        return "\n".join(part.get("text", "") for part in content)
    return content or ""
