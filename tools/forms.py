"""The tools in the forms that model providers take functions in, each made from the MCP definition.

- Anthropic's Messages API: ``tools=[…]``.
- OpenAI, strict: every argument is required, one that may be left out is ``null`` instead, and only the words that
  strict mode knows are used. The server takes a ``null`` for an argument that was left out.
- OpenAI, not strict: the schema as it is.
- Gemini: ``FunctionDeclaration``, whose schema is a part of OpenAPI's.
"""

from __future__ import annotations

from typing import Any

import mcp_types as types

Schema = dict[str, Any]

#: What strict mode and Gemini know of JSON Schema, and our schemas use.
_STRICT_WORDS = frozenset({"type", "description", "enum", "properties", "required", "items", "additionalProperties"})
_GEMINI_WORDS = frozenset(
    {"type", "description", "enum", "properties", "required", "items", "minimum", "maximum", "minItems", "maxItems"}
)


def anthropic(tool: types.Tool) -> Schema:
    """Return the tool as Anthropic's Messages API takes it."""
    return {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}


def openai(tool: types.Tool) -> Schema:
    """Return the tool as OpenAI's Responses API takes it, with arguments that may be left out."""
    return _function(tool, tool.input_schema, strict=False)


def openai_strict(tool: types.Tool) -> Schema:
    """Return the tool as OpenAI's strict mode takes it."""
    return _function(tool, _strict(tool.input_schema), strict=True)


def gemini(tool: types.Tool) -> Schema:
    """Return the tool as a FunctionDeclaration of Gemini's API."""
    return {"name": tool.name, "description": tool.description, "parameters": _only(tool.input_schema, _GEMINI_WORDS)}


def _function(tool: types.Tool, parameters: Schema, *, strict: bool) -> Schema:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": parameters,
        "strict": strict,
    }


def _strict(schema: Schema) -> Schema:
    """Require every property of every object; what was optional may be null."""
    found = _only(schema, _STRICT_WORDS)
    if "items" in schema:
        found["items"] = _strict(schema["items"])
    if "properties" in schema:
        required = schema.get("required", [])
        found["properties"] = {
            name: _strict(inner) if name in required else _nullable(_strict(inner))
            for name, inner in schema["properties"].items()
        }
        found["required"] = list(schema["properties"])
    return found


def _nullable(schema: Schema) -> Schema:
    values = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, "type": [schema["type"], "null"], **values}


def _only(schema: Schema, words: frozenset[str]) -> Schema:
    """Drop the words that are not known, at every depth."""
    found = {word: value for word, value in schema.items() if word in words}
    if "items" in found:
        found["items"] = _only(found["items"], words)
    if "properties" in found:
        found["properties"] = {name: _only(inner, words) for name, inner in found["properties"].items()}
    return found
