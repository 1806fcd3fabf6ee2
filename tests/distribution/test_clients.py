"""The configuration that clients are given: it has the shape they document, it starts the server, and the README shows
the same."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from devbox_mcp import __version__
from tests.distribution.conftest import PROJECT
from tests.raw import RawClient

CLIENTS = PROJECT / "packaging" / "clients"
README = (PROJECT / "README.md").read_text()


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Server(Strict):
    command: str
    args: list[str]


class TypedServer(Server):
    type: Literal["stdio"]


class McpServers(Strict):
    """Claude Code, Claude Desktop, Cursor and Gemini CLI."""

    servers: dict[str, Server] = Field(alias="mcpServers")


class VisualStudioCode(Strict):
    servers: dict[str, TypedServer]


class Codex(Strict):
    servers: dict[str, Server] = Field(alias="mcp_servers")


SHAPES: dict[str, type[McpServers | VisualStudioCode | Codex]] = {
    "claude-code/.mcp.json": McpServers,
    "claude-code-plugin/.mcp.json": McpServers,
    "claude-desktop/claude_desktop_config.json": McpServers,
    "cursor/mcp.json": McpServers,
    "gemini-cli/settings.json": McpServers,
    "vscode/mcp.json": VisualStudioCode,
    "codex/config.toml": Codex,
}


def parsed(text: str, *, toml: bool) -> Any:
    return tomllib.loads(text) if toml else json.loads(text)


def test_every_file_is_known() -> None:
    there = {str(file.relative_to(CLIENTS)) for file in CLIENTS.rglob("*") if file.is_file()}
    assert there == {*SHAPES, "README.md", "claude-code-plugin/.claude-plugin/plugin.json"}


@pytest.mark.parametrize("file", SHAPES)
def test_a_client_can_start_the_server_by_it(file: str, tmp_path: Path) -> None:
    text = (CLIENTS / file).read_text()
    configuration = SHAPES[file].model_validate(parsed(text, toml=file.endswith(".toml")))
    ((_, server),) = configuration.servers.items()
    assert server.command == "devbox-mcp"
    (tmp_path / "a.txt").write_text("here\n")
    arguments = [
        argument.replace("/home/you/projects/shop", str(tmp_path)).replace("${workspaceFolder}", str(tmp_path))
        for argument in server.args
    ]
    client = RawClient([str(Path(sys.executable).parent / server.command), *arguments], cwd=str(tmp_path))
    try:
        client.initialize()
        listed = client.request("tools/call", {"name": "list_dir", "arguments": {}})
        assert "a.txt" in listed["content"][0]["text"]
    finally:
        client.close()


def test_the_readme_shows_these_files() -> None:
    shown = re.findall(r"^```(json|toml)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    snippets = [text for _, text in shown if re.search(r"mcp_?servers|\"servers\"", text, re.IGNORECASE)]
    ours = {(CLIENTS / file).read_text() for file in SHAPES if "plugin" not in file}
    assert set(snippets) == ours
    for client in ("Claude Code", "Claude Desktop", "Cursor", "VS Code", "Codex", "Gemini CLI"):
        assert f"**{client}**" in README


def test_the_plugin_is_of_this_version() -> None:
    plugin = json.loads((CLIENTS / "claude-code-plugin/.claude-plugin/plugin.json").read_text())
    assert re.fullmatch(r"[a-z][a-z0-9-]*", plugin["name"])
    assert plugin["version"] == __version__
