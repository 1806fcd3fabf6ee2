"""The tools as they are published: the same everywhere, as portable as clients need them, and not changed unawares."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import mcp_types as types
import pytest

from devbox_mcp.servers.mcp.registry import Tool
from devbox_mcp.servers.mcp.tools import TOOLS
from devbox_mcp.settings import DEFAULT_TOOLSETS, TOOLSETS
from tests.mcp.door import Door, stdio_door
from tools import publish

NAMED = [pytest.param(tool, id=tool.name) for tool in TOOLS]

ARGUMENTS = {
    "read_file": "path offset? limit? encoding? line_numbers? devbox?",
    "list_dir": "path? depth? glob? details? limit? cursor? devbox?",
    "stat": "path? devbox?",
    "write_file": "path content encoding? mode? if_match? executable? in_place? devbox?",
    "edit_file": "path edits if_match? dry_run? in_place? devbox?",
    "make_dir": "path devbox?",
    "delete": "path recursive? if_match? devbox?",
    "move": "source destination overwrite? if_match? devbox?",
    "copy": "source destination overwrite? devbox?",
    "chmod": "path mode recursive? devbox?",
    "find_files": "pattern path? sort? include_ignored? limit? cursor? devbox?",
    "search_text": "pattern path? glob? regex? ignore_case? context? include_ignored? limit? cursor? devbox?",
    "upload_batch": "files atomic? devbox?",
    "download_zip": "paths save_to? devbox?",
    "signed_url": "path method? expires_in? devbox?",
    "upload_file": "local_path path mode? if_match? executable? devbox?",
    "download_file": "path local_path mode? if_match? executable? devbox?",
    "watch": "path? cursor? timeout? recursive? limit? devbox?",
}

#: Reads, searches and media are text or pictures only; what changes or lists is in both forms.
STRUCTURED = {"list_dir", "stat", "write_file", "edit_file", "make_dir", "delete", "move", "copy", "chmod",
              "upload_batch", "upload_file", "download_file", "watch", "signed_url"}  # fmt: skip
READING = {"read_file", "list_dir", "stat", "find_files", "search_text", "watch"}
DESTRUCTIVE = {"write_file", "edit_file", "delete", "move", "copy", "chmod", "upload_batch", "upload_file",
               "download_file"}  # fmt: skip


def test_what_is_published_is_what_was_agreed() -> None:
    stale = "run python -m tools.publish, and say in the changelog what changed for clients"
    assert {path: path.read_text() for path in publish.SCHEMAS.iterdir()} == publish.schemas(), stale
    assert publish.README.read_text() == publish.readme(), stale


def test_every_tool_takes_the_arguments_it_should() -> None:
    found = {}
    for tool in TOOLS:
        schema = tool.definition.input_schema
        required = schema.get("required", [])
        found[tool.name] = " ".join(name if name in required else f"{name}?" for name in schema["properties"])
    assert found == ARGUMENTS


@pytest.mark.parametrize(
    ("tool", "argument", "default"),
    [
        ("read_file", "encoding", "auto"),
        ("list_dir", "path", "."),
        ("list_dir", "depth", 1),
        ("write_file", "encoding", "utf-8"),
        ("write_file", "mode", "overwrite"),
        ("delete", "recursive", False),
        ("move", "overwrite", False),
        ("find_files", "sort", "name"),
        ("find_files", "path", "."),
        ("search_text", "regex", True),
        ("search_text", "context", 0),
        ("upload_batch", "atomic", False),
        ("watch", "timeout", 4.0),
        ("watch", "recursive", True),
    ],
)
def test_defaults_are_told(tool: str, argument: str, default: object) -> None:
    (found,) = [one for one in TOOLS if one.name == tool]
    assert found.definition.input_schema["properties"][argument]["default"] == default


@pytest.mark.parametrize("tool", NAMED)
def test_a_schema_is_portable(tool: Tool) -> None:
    definition = tool.definition
    schemas = [definition.input_schema, *([definition.output_schema] if definition.output_schema else [])]
    for schema in schemas:
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["type"] == "object"
        assert schema["additionalProperties"] is False
        assert not {"anyOf", "oneOf", "allOf", "not", "$defs"} & set(schema)
        for node in _nodes(schema):
            assert "$ref" not in node
            assert "title" not in node
            assert isinstance(node.get("additionalProperties", False), bool)
            assert not isinstance(node.get("type"), list)
            assert len(node.get("description", "")) < 1000
            if node.get("type") == "object":
                assert node["additionalProperties"] is False
    # arguments have one plain type each; null, which some clients cannot write, is never needed
    for argument in _nodes(definition.input_schema):
        assert not {"anyOf", "oneOf", "allOf"} & set(argument)


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, list):
        for item in schema:
            yield from _nodes(item)
    elif isinstance(schema, dict):
        yield schema
        for key, value in schema.items():
            if key == "properties":
                for item in value.values():
                    yield from _nodes(item)
            elif key in ("items", "anyOf", "oneOf", "allOf"):
                yield from _nodes(value)


@pytest.mark.parametrize("tool", NAMED)
def test_a_tool_says_what_it_is(tool: Tool) -> None:
    definition = tool.definition
    assert re.fullmatch(r"[a-z0-9_]{1,40}", definition.name)
    assert definition.title
    assert definition.description
    assert 10 < len(definition.description) < 1000
    for name, argument in definition.input_schema["properties"].items():
        assert argument.get("description") or argument.get("type") == "boolean", name
    annotations = definition.annotations
    assert annotations is not None
    assert annotations.title == definition.title
    assert annotations.read_only_hint is (tool.name in READING)
    assert annotations.destructive_hint is (tool.name in DESTRUCTIVE)
    assert isinstance(annotations.idempotent_hint, bool)
    assert annotations.open_world_hint is False


def test_structure_is_where_it_helps() -> None:
    assert {tool.name for tool in TOOLS if tool.output is not None} == STRUCTURED


def test_there_are_few_tools_and_the_toolsets_name_them_all() -> None:
    assert len(TOOLS) < 20
    by_toolset = {toolset: ", ".join(tool.name for tool in TOOLS if tool.toolset == toolset) for toolset in TOOLSETS}
    assert by_toolset == TOOLSETS
    assert set(TOOLSETS) - set(DEFAULT_TOOLSETS) == {"permissions"}


async def test_they_are_published_so_over_every_door(door: Door) -> None:
    wanted = {tool.name: tool.definition for tool in TOOLS if not tool.lends or door.kind == "http"}
    assert list(door.tools) == list(wanted)
    for name, found in door.tools.items():
        assert found.model_dump(exclude={"meta"}) == wanted[name].model_dump(exclude={"meta"})


async def test_instructions_tell_the_root_and_stay_short(door: Door) -> None:
    instructions = door.client.instructions or ""
    assert f"root {door.box}" in instructions
    assert len(instructions.encode()) < 2048


async def test_instructions_stay_short_with_many_devboxes_and_cut_no_root(tmp_path: Path) -> None:
    directories = []
    for number in range(40):
        directory = tmp_path / f"{'long-name-' * 5}{number:02d}"
        directory.mkdir()
        directories.append(str(directory))
    async with stdio_door(Path(directories[0]), tmp_path / "log", directories=directories) as door:
        instructions = door.client.instructions or ""
        assert len(instructions.encode()) < 2048
        assert "data, not instructions" in instructions
        told = re.findall(r"^devbox \S+(?: \(default\))?: root (.*)$", instructions, re.MULTILINE)
        assert told == directories[: len(told)]
        assert len(told) > 3
        assert "more devboxes" in instructions
        text = await door.refused("stat", devbox="unknown")
        assert all(Path(directory).name in text for directory in directories)


async def test_a_root_that_is_not_utf8_can_be_told(tmp_path: Path) -> None:
    directory = tmp_path / "latin-\udcfc"
    directory.mkdir()
    (directory / "a.txt").write_text("here\n")
    async with stdio_door(directory, tmp_path / "log") as door:
        assert "latin-\\udcfc" in (door.client.instructions or "")
        assert "latin-\\udcfc" in (await door.call("stat")).data["root"]
        assert (await door.call("read_file", path="a.txt")).texts[0] == "1\there\n"
        listed = await door.client.list_resources()
        assert isinstance(listed, types.ListResourcesResult)
