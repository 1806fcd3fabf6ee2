"""The tools as model providers take them: each form keeps its provider's rules, and its calls are understood."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from devbox_mcp.servers.mcp.tools import TOOLS
from tests.mcp.door import stdio_door
from tools import forms

NAMED = [pytest.param(tool.definition, id=tool.name) for tool in TOOLS]

#: What OpenAI's guide to strict mode lists, of what one could need here.
STRICT_WORDS = {"type", "description", "enum", "properties", "required", "items", "additionalProperties"}
#: The fields of Gemini's Schema object.
GEMINI_WORDS = {"type", "format", "title", "description", "nullable", "enum", "maxItems", "minItems", "properties",
                "required", "minProperties", "maxProperties", "minLength", "maxLength", "pattern", "example", "anyOf",
                "propertyOrdering", "default", "items", "minimum", "maximum"}  # fmt: skip


def schemas_in(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a schema and every one in it."""
    yield schema
    if "items" in schema:
        yield from schemas_in(schema["items"])
    for inner in schema.get("properties", {}).values():
        yield from schemas_in(inner)


@pytest.mark.parametrize("tool", NAMED)
def test_strict_mode_gets_what_it_asks_for(tool: Any) -> None:
    function = forms.openai_strict(tool)
    assert function["strict"] is True
    assert len(function["name"]) <= 64
    for schema in schemas_in(function["parameters"]):
        assert set(schema) <= STRICT_WORDS
        if "properties" in schema:
            assert schema["additionalProperties"] is False
            assert schema["required"] == list(schema["properties"])
    jsonschema.Draft202012Validator.check_schema(function["parameters"])


@pytest.mark.parametrize("tool", NAMED)
def test_strict_mode_may_leave_out_what_mcp_may(tool: Any) -> None:
    mcp, strict = tool.input_schema, forms.openai_strict(tool)["parameters"]
    for name, schema in strict["properties"].items():
        optional = name not in mcp.get("required", [])
        assert jsonschema.Draft202012Validator(schema).is_valid(None) is optional


@pytest.mark.parametrize("tool", NAMED)
def test_gemini_gets_only_what_its_schema_has(tool: Any) -> None:
    for schema in schemas_in(forms.gemini(tool)["parameters"]):
        assert set(schema) <= GEMINI_WORDS
        assert schema["type"] in {"string", "integer", "number", "boolean", "array", "object"}


@pytest.mark.parametrize("tool", NAMED)
def test_the_other_forms_carry_the_schema_as_it_is(tool: Any) -> None:
    assert forms.anthropic(tool)["input_schema"] == forms.openai(tool)["parameters"] == tool.input_schema
    assert forms.anthropic(tool)["description"] == forms.gemini(tool)["description"] == tool.description


async def test_a_call_with_null_for_everything_left_out_is_understood(tmp_path: Path) -> None:
    box = tmp_path / "box"
    box.mkdir()
    (box / "a.txt").write_text("one\n")
    calls: dict[str, dict[str, Any]] = {
        "read_file": {"path": "a.txt"},
        "list_dir": {},
        "edit_file": {"path": "a.txt", "edits": [{"old_text": "one", "new_text": "two"}]},
        "upload_batch": {"files": [{"path": "b.txt", "content": "b"}]},
    }
    async with stdio_door(box, log=tmp_path / "log") as door:
        for tool in TOOLS:
            if tool.name in calls:
                strict = forms.openai_strict(tool.definition)["parameters"]
                arguments = filled(strict, calls[tool.name])
                jsonschema.validate(arguments, strict)
                result = await door.client.call_tool(tool.name, arguments)
                assert not result.is_error, json.dumps(arguments) + str(result.content)
    assert (box / "a.txt").read_text() == "two\n"
    assert (box / "b.txt").read_text() == "b"


def filled(schema: dict[str, Any], value: Any) -> Any:
    """Put null where something was left out, as a strict model does."""
    if isinstance(value, dict):
        return {name: filled(inner, value[name]) if name in value else None
                for name, inner in schema["properties"].items()}  # fmt: skip
    return [filled(schema["items"], item) for item in value] if isinstance(value, list) else value
