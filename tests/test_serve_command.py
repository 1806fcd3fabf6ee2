"""``devbox-mcp serve`` as a command: what it says when something is wrong, and where its settings come from."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from devbox_mcp import __version__
from devbox_mcp.cli import app
from devbox_mcp.settings import Settings, load
from tests.raw import RawClient

PROJECT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "devbox_mcp"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory, which is the working directory too, with a project and some files that are none of it."""
    for name in os.environ:
        if name.upper().startswith("DEVBOX_MCP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "a.txt").write_text("here\n")
    (tmp_path / "file").write_text("a file")
    (tmp_path / "empty-token").write_text(" \n")
    (tmp_path / "odd-token").write_bytes(b"\xff\xfe")
    (tmp_path / "bad.toml").write_text("read_only = maybe\n")
    (tmp_path / "unknown.toml").write_text("raed_only = true\n")
    (tmp_path / "wrong.toml").write_text('max_text = "lots"\n')
    return tmp_path


def environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "HOME": str(home), "PYTHONPATH": str(PROJECT), **(extra or {})}


def run(home: Path, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, env=environment(home, env), cwd=home,
        stdin=subprocess.DEVNULL, timeout=60, check=False,
    )  # fmt: skip


def refused(*arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Serve with something wrong, in this process, and return the one sentence about it."""
    done = CliRunner().invoke(app, ["serve", *arguments], env=env)
    assert done.exit_code == 2, done.output
    assert isinstance(done.exception, SystemExit)
    assert done.stdout == ""
    assert done.stderr.startswith("devbox-mcp: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def start(home: Path, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> RawClient:
    return RawClient([*COMMAND, "serve", *arguments], env=environment(home, env), cwd=str(cwd or home))


def client(home: Path, *arguments: str, env: Mapping[str, str] | None = None) -> RawClient:
    opened = start(home, *arguments, env=env)
    opened.initialize()
    return opened


# -- what is wrong is said in one sentence


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing"], "there is no directory {home}/missing"),
        (["file"], "{home}/file is a file, not a directory"),
        (["project/a.txt/b"], "there is no directory"),
        (["/"], "/ is the whole file system; name a project directory in it, or pass --force"),
        (["~"], "{home} is your home directory; name a project directory in it, or pass --force"),
        (["{home}"], "is your home directory"),
        (["."], "is your home directory"),
        ([], "is your home directory"),
        (["project/.."], "is your home directory"),
        (["~no-such-user/x"], "write the full path"),
        (["project", "--toolsets", "read,fly"], "bad setting toolsets: unknown toolset fly; choose from read"),
        (["project", "--max-text", "lots"], "bad setting max_text: 'lots' is not a size; write"),
        (["project", "--max-inline-zip", "0"], "bad setting max_inline_zip: '0' is not a size above zero"),
        (["project", "--deny", ""], "bad setting deny: '' is no glob: the glob is empty"),
        (["project", "--http", "8000"], "bad setting http: '8000' is not HOST:PORT; write 127.0.0.1:8000"),
        (["project", "--http", "http://127.0.0.1:80"], "is not HOST:PORT"),
        (
            ["project", "--http", "0.0.0.0:0"],
            "a token is required: set DEVBOX_MCP_TOKEN, pass --token-file or --access",
        ),
        (["project", "--http", "no.such.host.invalid:0", "--token-file", "file"], "cannot listen on"),
        (["project", "--config", "missing.toml"], "there is no configuration file missing.toml"),
        (["project", "--config", "project"], "there is no configuration file project"),
        (["project", "--config", "bad.toml"], "bad.toml is no TOML"),
        (["project", "--config", "unknown.toml"], "there is no setting 'raed_only'; see devbox-mcp serve --help"),
        (["project", "--config", "wrong.toml"], "bad setting max_text: 'lots' is not a size"),
        (["project", "--token-file", "missing"], "cannot read the token file missing: No such file"),
        (["project", "--token-file", "project"], "cannot read the token file project: Is a directory"),
        (["project", "--token-file", "empty-token"], "the token file empty-token is empty; write the token into it"),
        (["project", "--token-file", "odd-token"], "the token file odd-token is not UTF-8"),
        (["project", "--allow-local", "missing"], "bad setting allow_local: there is no directory {home}/missing"),
        (
            ["project", "--allow-local", "/"],
            "bad setting allow_local: / is the whole file system; name a directory in it",
        ),
        (["project", "--audit-log", "missing/log"], "cannot write the audit log missing/log: No such file"),
        (["a=project", "a=project"], "two devboxes are called 'a'; give each its own NAME=URL"),
        (["ssh:host"], "unknown kind of devbox 'ssh'; write a directory or one of local:DIR"),
        (["a b=project"], "'a b' is no name for a devbox"),
        (["a="], "says nothing behind local:"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(home: Path, arguments: list[str], said: str) -> None:
    stated = refused(*(argument.format(home=home) for argument in arguments))
    assert said.format(home=home) in stated


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("DEVBOX_MCP_READ_ONLY", "perhaps", "bad setting read_only"),
        ("DEVBOX_MCP_MAX_TEXT", "lots", "bad setting max_text"),
        ("DEVBOX_MCP_TOKEN", "", "bad setting token: the token is empty"),
        ("DEVBOX_MCP_READONLY", "true", "did you mean DEVBOX_MCP_READ_ONLY?"),
        ("DEVBOX_MCP_CONFIG", "missing.toml", "there is no configuration file missing.toml"),
        ("DEVBOX_MCP_DEVBOXES", "missing", "there is no directory"),
    ],
)
def test_a_bad_variable_is_said_in_one_sentence(home: Path, variable: str, value: str, said: str) -> None:
    directories = [] if variable == "DEVBOX_MCP_DEVBOXES" else ["project"]
    assert said in refused(*directories, env={variable: value})


def test_what_kubernetes_tells_of_a_service_of_this_name_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {
        "DEVBOX_MCP_SERVICE_HOST": "10.96.0.7", "DEVBOX_MCP_SERVICE_PORT": "80", "DEVBOX_MCP_SERVICE_PORT_HTTP": "80",
        "DEVBOX_MCP_PORT": "tcp://10.96.0.7:80", "DEVBOX_MCP_PORT_80_TCP": "tcp://10.96.0.7:80",
        "DEVBOX_MCP_PORT_80_TCP_PROTO": "tcp", "DEVBOX_MCP_PORT_80_TCP_ADDR": "10.96.0.7",
    }  # fmt: skip
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert load({}, None) == Settings()
    monkeypatch.setenv("DEVBOX_MCP_PORTS", "80")
    with pytest.raises(ValueError, match="there is no setting DEVBOX_MCP_PORTS"):
        load({}, None)


def test_a_secret_is_not_repeated(home: Path) -> None:
    done = run(home, "serve", "missing", env={"DEVBOX_MCP_TOKEN": "correct horse"})
    assert "horse" not in done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [["--no-such-option"], ["--max-text"], ["project", "--config"]])
def test_an_unknown_option_is_a_usage_error(home: Path, arguments: list[str]) -> None:
    done = run(home, "serve", *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "--" in done.stderr


def test_a_directory_that_may_not_be_entered_is_said(home: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root enters every directory")
    (home / "closed").mkdir(mode=0)
    assert "cannot open the devbox" in refused("closed")


def test_as_a_process_it_says_the_same(home: Path) -> None:
    done = run(home, "serve", "missing")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == refused("missing")


# -- what it says about itself


def test_help_says_it_all(home: Path) -> None:
    done = run(home, "serve", "--help", env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert done.returncode == 0
    for field in Settings.model_fields:
        option = {"devboxes": "DEVBOX", "line_numbers": "--no-line-numbers", "token": "--token-file",
                  "secret": "--secret-file", "audit_key": "--audit-key-file", "host_devboxes": "--host-devbox",
                  "redis": "--redis-url",
                  "allow_hosts": "--allow-host", "allow_origins": "--allow-origin"}  # fmt: skip
        assert option.get(field, "--" + field.replace("_", "-")) in done.stdout
    assert "--config" in done.stdout
    assert "DEVBOX_MCP_" in done.stdout


def test_it_names_its_commands_and_its_version(home: Path) -> None:
    assert "serve" in run(home, "--help").stdout
    assert "serve" in run(home).stdout + run(home).stderr
    version = run(home, "--version")
    assert (version.returncode, version.stdout) == (0, f"devbox-mcp {__version__}\n")


def test_help_does_not_wait_for_the_server_to_be_imported(home: Path) -> None:
    code = (
        "import sys\n"
        "from devbox_mcp import cli\n"
        "print(sorted(name for name in sys.modules if name in ('mcp', 'mcp_types', 'uvicorn', 'starlette')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(home), check=True, timeout=60
    )
    assert done.stdout == "[]\n"


# -- where settings come from


def tools(opened: RawClient) -> set[str]:
    return {tool["name"] for tool in opened.request("tools/list")["tools"]}


def test_the_working_directory_is_served_by_default(home: Path) -> None:
    with start(home, cwd=home / "project") as opened:
        assert f"devbox project: root {home}/project" in opened.initialize()["instructions"]
        assert opened.call("list_dir")["structuredContent"]["entries"] == ["a.txt"]


def test_force_serves_the_home_directory(home: Path) -> None:
    with client(home, "~", "--force") as opened:
        assert "project/" in opened.call("list_dir")["structuredContent"]["entries"]


def test_command_line_environment_and_file_in_that_order(home: Path) -> None:
    config = home / "settings.toml"
    config.write_text('toolsets = ["read"]\ndevboxes = ["project"]\nread_only = true\nline_numbers = false\n')
    with client(home, "--config", "settings.toml") as opened:
        assert tools(opened) == {"read_file", "list_dir", "stat"}
        assert opened.call("read_file", path="a.txt")["content"][0]["text"] == "here\n"
    with client(home, env={"DEVBOX_MCP_CONFIG": "settings.toml", "DEVBOX_MCP_TOOLSETS": "search,watch"}) as opened:
        assert tools(opened) == {"find_files", "search_text", "watch"}
    with client(
        home, "--config", "settings.toml", "--toolsets", "write,read",
        env={"DEVBOX_MCP_TOOLSETS": "search", "DEVBOX_MCP_READ_ONLY": "false"},
    ) as opened:  # fmt: skip
        assert {"write_file", "read_file"} <= tools(opened)
        assert "find_files" not in tools(opened)


def test_denied_globs_may_be_repeated_and_come_from_the_environment(home: Path) -> None:
    for name in (".env", "server.key", "server.pem"):
        (home / "project" / name).write_text("secret")
    with client(home, "project", "--deny", ".env", "--deny", "*.key") as opened:
        assert opened.call("list_dir")["structuredContent"]["entries"] == ["a.txt", "server.pem"]
    with client(home, "project", env={"DEVBOX_MCP_DENY": "*.{key,pem},.env"}) as opened:
        assert opened.call("list_dir")["structuredContent"]["entries"] == ["a.txt"]


def test_an_audit_log_is_written(home: Path) -> None:
    with client(home, "project", "--audit-log", "audit.jsonl") as opened:
        opened.call("read_file", path="a.txt")
        opened.call("read_file", path="missing")
    lines = (home / "audit.jsonl").read_text().splitlines()
    assert [re.findall(r'"(?:op|path|result)": "([^"]*)"', line) for line in lines] == [
        ["read", "a.txt", "ok"],
        ["read", "missing", "not_found"],
    ]
