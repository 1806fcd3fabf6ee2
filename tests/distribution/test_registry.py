"""server.json, for the MCP registry. The schema is ours: what the registry documents of its format (2025-12-11) and
this file uses."""

from __future__ import annotations

import json
import re

import jsonschema

from devbox_mcp import __version__
from devbox_mcp.settings import Settings
from tests.distribution.conftest import PROJECT

SERVER = json.loads((PROJECT / "packaging" / "server.json").read_text())

_INPUT = {
    "description": {"type": "string"},
    "format": {"enum": ["string", "number", "boolean", "filepath"]},
    "isRequired": {"type": "boolean"},
    "isSecret": {"type": "boolean"},
    "default": {"type": "string"},
    "placeholder": {"type": "string"},
    "value": {"type": "string"},
    "choices": {"type": "array", "items": {"type": "string"}},
}
SCHEMA = {
    "type": "object",
    "required": ["$schema", "name", "description", "version", "packages"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"const": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"},
        "name": {"type": "string", "maxLength": 200, "pattern": "^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$"},
        "title": {"type": "string", "minLength": 1, "maxLength": 100},
        "description": {"type": "string", "minLength": 1, "maxLength": 100},
        "version": {"type": "string", "maxLength": 255, "pattern": r"^\d+\.\d+\.\d+"},
        "packages": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["registryType", "identifier", "version", "transport"],
                "additionalProperties": False,
                "properties": {
                    "registryType": {"enum": ["pypi", "npm", "oci", "nuget", "mcpb"]},
                    "identifier": {"type": "string"},
                    "version": {"type": "string", "minLength": 1, "not": {"const": "latest"}},
                    "runtimeHint": {"type": "string"},
                    "transport": {
                        "type": "object",
                        "required": ["type"],
                        "additionalProperties": False,
                        "properties": {"type": {"const": "stdio"}},
                    },
                    "packageArguments": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["type"],
                            "anyOf": [{"required": ["value"]}, {"required": ["valueHint"]}],
                            "additionalProperties": False,
                            "properties": {
                                **_INPUT,
                                "type": {"const": "positional"},
                                "valueHint": {"type": "string"},
                                "isRepeated": {"type": "boolean"},
                            },
                        },
                    },
                    "environmentVariables": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["name"],
                            "additionalProperties": False,
                            "properties": {**_INPUT, "name": {"type": "string"}},
                        },
                    },
                },
            },
        },
    },
}


def test_it_has_the_documented_shape() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(SERVER)


def test_it_is_of_this_version() -> None:
    assert {SERVER["version"], *(package["version"] for package in SERVER["packages"])} == {__version__}


def test_the_package_says_that_it_is_this_server() -> None:
    """The registry looks for this in the README that the package index shows, and in the image's labels."""
    assert f"<!-- mcp-name: {SERVER['name']} -->" in (PROJECT / "README.md").read_text()
    containerfile = (PROJECT / "packaging" / "Containerfile").read_text()
    assert f'io.modelcontextprotocol.server.name="{SERVER["name"]}"' in containerfile


def test_its_variables_are_settings() -> None:
    known = {f"DEVBOX_MCP_{name.upper()}" for name in Settings.model_fields} | {"DEVBOX_MCP_API_KEY"}
    named = {variable["name"] for package in SERVER["packages"] for variable in package["environmentVariables"]}
    assert named <= known
    assert re.fullmatch(r"[a-z-]+", SERVER["packages"][0]["identifier"])
