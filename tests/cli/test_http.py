"""The commands on a devbox behind HTTP, with a key that is no argument."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .command import Command
from .conftest import names

_KEY = "correct-horse-battery-staple"


@pytest.fixture
def url(command: Command) -> Iterator[str]:
    """The URL of a server that serves ``a`` and ``b`` and asks for a key."""
    command.env["DEVBOX_MCP_TOKEN"] = _KEY
    serving = command.start("serve", "a", "b", "--http", "127.0.0.1:0")
    del command.env["DEVBOX_MCP_TOKEN"]
    assert serving.stderr is not None
    found = re.search(rb"(http://127\.0\.0\.1:\d+)/", serving.stderr.readline())
    assert found is not None
    yield found[1].decode()
    serving.terminate()
    serving.wait(60)


def test_files_go_both_ways(command: Command, home: Path, url: str) -> None:
    env = {"DEVBOX_MCP_API_KEY": _KEY}
    assert command.ok("ls", f"{url}/a:", env=env).splitlines() == ["README.md", "data.bin", "run.sh", "src/"]
    (home / "big").write_bytes(bytes(range(256)) * 20_000)
    command.ok("put", "big", "a/src", f"{url}/b:in/", env=env)
    assert (home / "b" / "in" / "big").read_bytes() == (home / "big").read_bytes()
    assert (home / "b" / "in" / "src" / "app.py").exists()
    command.ok("get", f"{url}/b:in", "out", env=env)
    assert names(home / "out") == names(home / "b" / "in")
    command.ok("sync", "--delete", f"{url}/a", f"{url}/b:in", env=env)
    assert names(home / "b" / "in") == names(home / "a")
    assert command.ok("sync", f"{url}/a", f"{url}/b:in", env=env) == ""
    assert command.run("zip", f"{url}/a:src", "-", env=env).stdout.startswith(b"PK")
    assert command.ok("grep", "-l", "os", f"{url}/a", env=env) == "src/app.py\n"
    assert command.run("edit", f"{url}/a:README.md", "--replace", "Read", "Write", env=env).returncode == 0
    assert "a:missing: there is nothing here" in command.fails(3, "cat", f"{url}/a:missing", env=env)


def test_a_key_comes_from_the_environment_or_the_file(command: Command, home: Path, url: str) -> None:
    said = command.fails(5, "ls", f"{url}/a")
    assert "DEVBOX_MCP_API_KEY" in said
    command.fails(5, "ls", f"{url}/a", env={"DEVBOX_MCP_API_KEY": "wrong"})
    file = home / ".config" / "devbox-mcp" / "credentials.toml"
    file.parent.mkdir(parents=True)
    file.write_text(f'["{url}"]\napi_key = "{_KEY}"\n')
    file.chmod(0o600)
    assert "src/" in command.ok("ls", f"{url}/a")
    file.chmod(0o644)
    assert "chmod 600" in command.fails(5, "ls", f"{url}/a")


def test_doctor_tells_what_stands_between(command: Command, url: str) -> None:
    report = json.loads(command.ok("doctor", "--json", f"{url}/a", env={"DEVBOX_MCP_API_KEY": _KEY}))
    assert report["ok"] is True
    assert report["checks"][0]["detail"].startswith("http, root ")
    done = command.run("doctor", f"{url}/a", env={"DEVBOX_MCP_API_KEY": "wrong"})
    assert (done.returncode, done.stderr) == (5, b"")
    assert "✗ reached: " in done.stdout.decode()


def test_a_server_that_is_not_there_is_one_sentence(command: Command) -> None:
    assert "; see that it runs and the URL is right" in command.fails(6, "ls", "http://127.0.0.1:1/a")
