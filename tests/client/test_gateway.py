"""A gateway that asks for a key: given as an argument, by the environment or in the credentials file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from devbox_mcp import Devbox, errors
from tests.mcp.door import http_server

KEY = "a-key-of-the-tests-0123456789abcdef"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    ground = tmp_path_factory.mktemp("guarded")
    (ground / "box").mkdir()
    with http_server(ground / "server.log", f"box={ground / 'box'}", env={"DEVBOX_MCP_TOKEN": KEY}) as url:
        yield f"{url.removesuffix('/mcp')}/v1/devboxes/box"


@pytest.fixture(autouse=True)
def nothing_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEVBOX_MCP_API_KEY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def test_without_a_key_it_says_so(guarded: str) -> None:
    for key in (None, "another-key"):
        with pytest.raises(errors.Unauthenticated) as caught, Devbox(guarded, api_key=key) as box:
            box.fs.list_dir()
        assert "another-key" not in str(caught.value)


def test_a_key_by_argument(guarded: str) -> None:
    with Devbox(guarded, api_key=KEY) as box:
        box.fs.write_file("a", "x")
        assert box.fs.read_file("a") == "x"


def test_a_key_by_the_environment(guarded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVBOX_MCP_API_KEY", KEY)
    with Devbox(guarded) as box:
        assert box.fs.exists(".")


def test_a_key_in_the_credentials_file(guarded: str, tmp_path: Path) -> None:
    file = tmp_path / "devbox-mcp" / "credentials.toml"
    file.parent.mkdir()
    file.write_text(f'["{guarded.partition("/v1")[0]}"]\napi_key = "{KEY}"\n')
    file.chmod(0o600)
    with Devbox(guarded) as box:
        assert box.fs.exists(".")


def test_a_key_as_a_storage_option(guarded: str) -> None:
    with fsspec.open("devbox://d/a.txt", "w", box=guarded, api_key=KEY) as file:
        file.write("x")
    fs = fsspec.filesystem("devbox", box=guarded, api_key=KEY)
    assert fs.cat("d/a.txt") == b"x"
    with pytest.raises(PermissionError):
        fsspec.filesystem("devbox", box=guarded).cat_file("d/a.txt")
