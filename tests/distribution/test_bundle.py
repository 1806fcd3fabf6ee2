"""The bundle for clients that install with one click. ``make mcpb`` lets the format's own tool check it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from devbox_mcp import __version__
from tests.distribution.conftest import PROJECT
from tests.raw import RawClient
from tools import mcpb


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mcpb.build(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def unpacked(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(place)
    return place


def test_the_same_checkout_gives_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    assert mcpb.build(tmp_path).read_bytes() == bundle.read_bytes()


def test_the_manifest_tells_this_version_and_the_tools_that_are_published(unpacked: Path) -> None:
    manifest = json.loads((unpacked / "manifest.json").read_text())
    assert (manifest["manifest_version"], manifest["version"]) == ("0.4", __version__)
    published = json.loads((PROJECT / "tools/schemas/mcp.json").read_text())
    assert [tool["name"] for tool in manifest["tools"]] == [tool["name"] for tool in published]
    assert all(5 < len(tool["description"]) < 200 for tool in manifest["tools"])


def test_what_it_asks_of_the_user_is_what_it_uses(unpacked: Path) -> None:
    manifest = json.loads((unpacked / "manifest.json").read_text())
    used = json.dumps(manifest["server"]["mcp_config"])
    for name in manifest["user_config"]:
        assert f"${{user_config.{name}}}" in used
    assert (unpacked / manifest["server"]["entry_point"]).is_file()


def test_what_it_needs_is_pinned(unpacked: Path) -> None:
    project = tomllib.loads((unpacked / "pyproject.toml").read_text())["project"]
    pinned = [line for line in (PROJECT / "constraints/runtime.txt").read_text().splitlines() if "==" in line]
    assert len(project["dependencies"]) == len(pinned) > 20
    asked = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == asked["requires-python"]


def test_its_server_works_as_the_manifest_starts_it(unpacked: Path, tmp_path: Path) -> None:
    """With this environment in place of the one that uv would make, and the package of the bundle."""
    config = json.loads((unpacked / "manifest.json").read_text())["server"]["mcp_config"]
    directories = [tmp_path / "one", tmp_path / "two"]
    for directory in directories:
        directory.mkdir()
    assert (config["command"], config["args"][:3]) == ("uv", ["run", "--directory", "${__dirname}"])
    command = [sys.executable]
    for argument in config["args"][3:]:
        # several directories are as many arguments
        command += map(str, directories) if argument == "${user_config.directories}" else [argument]
    env = {
        name: value.replace("${user_config.read_only}", "true").replace("${user_config.deny}", ".env")
        for name, value in config["env"].items()
    }
    where = subprocess.run(
        [sys.executable, "-c", "import sys; sys.path.insert(0, ''); import devbox_mcp; print(devbox_mcp.__file__)"],
        cwd=unpacked, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(unpacked))
    client = RawClient(command, env=env, cwd=str(unpacked))
    try:
        client.initialize()
        tools = {tool["name"] for tool in client.request("tools/list", {})["tools"]}
        assert "read_file" in tools
        assert "write_file" not in tools  # read only
        listed = client.request("tools/call", {"name": "list_dir", "arguments": {"devbox": "two"}})
        assert not listed.get("isError")
    finally:
        client.close()
