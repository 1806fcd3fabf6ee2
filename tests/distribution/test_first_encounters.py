"""What a new user runs into ends in one sentence that says what to do. Real processes, most of them of the plain
install, where the extras' packages really are missing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.distribution.conftest import PROJECT
from tests.raw import RawClient

pytestmark = pytest.mark.slow


def one_sentence(command: list[str | Path], env: Mapping[str, str], cwd: Path) -> str:
    """Run what fails, and return the one line that it says."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.startswith("devbox-mcp: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


MISSING = "are missing; pip install 'devbox-mcp[{}]'"


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["serve", ".", "--http", "127.0.0.1:0"], "gateway"),
        (["serve", "https://files.example.com/v1/devboxes/shop"], "http"),
        (["ls", "https://files.example.com/v1/devboxes/shop:src"], "http"),
        (["serve", "k8s://shop/web"], "kubernetes"),
        (["cat", "k8s://shop/web:README.md"], "kubernetes"),
    ],
)
def test_a_missing_extra(installed: Path, tmp_path: Path, arguments: list[str], extra: str) -> None:
    assert MISSING.format(extra) in one_sentence([installed / "devbox-mcp", *arguments], {}, tmp_path)


@pytest.mark.parametrize(
    ("receipt", "command"),
    [("pipx_metadata.json", "pipx install --force"), ("uv-receipt.toml", "uv tool install --force")],
)
def test_a_missing_extra_where_a_tool_installed_the_command(
    installed: Path, tmp_path: Path, receipt: str, command: str
) -> None:
    left_by_the_tool = installed.parent / receipt
    left_by_the_tool.touch()
    try:
        said = one_sentence([installed / "devbox-mcp", "serve", "k8s://shop/web"], {}, tmp_path)
    finally:
        left_by_the_tool.unlink()
    assert f"are missing; {command} 'devbox-mcp[kubernetes]'" in said


@pytest.mark.parametrize(
    ("program", "extra"),
    [
        ("from devbox_mcp import Devbox; Devbox('https://files.example.com/v1/devboxes/shop').fs.list_dir()", "http"),
        ("from devbox_mcp import Devbox; Devbox('k8s://shop/web').fs.list_dir()", "kubernetes"),
        ("import devbox_mcp.filesystem", "fsspec"),
    ],
)
def test_a_missing_extra_in_a_program(installed: Path, tmp_path: Path, program: str, extra: str) -> None:
    done = subprocess.run(
        [installed / "python", "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False
    )
    assert done.returncode == 1
    last = done.stderr.rstrip().splitlines()[-1]
    assert "missing" in last
    assert f"pip install 'devbox-mcp[{extra}]'" in last


def test_doctor_tells_how_to_get_an_extra(installed: Path, tmp_path: Path) -> None:
    command = [installed / "devbox-mcp", "doctor", "k8s://shop/web"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert done.returncode != 0
    assert "pip install 'devbox-mcp[kubernetes]'" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_directory_that_is_not_there(installed: Path, tmp_path: Path) -> None:
    said = one_sentence([installed / "devbox-mcp", "serve", "projects/shop"], {}, tmp_path)
    assert f"there is no directory {tmp_path}/projects/shop; write the full path of one that is there" in said


def test_a_bare_environment(installed: Path, tmp_path: Path) -> None:
    """As clients start servers: no PATH, no HOME, whatever working directory."""
    (tmp_path / "a.txt").write_text("here\n")
    client = RawClient([str(installed / "devbox-mcp"), "serve", str(tmp_path)], env={}, cwd="/")
    try:
        client.initialize()
        read = client.request("tools/call", {"name": "read_file", "arguments": {"path": "a.txt"}})
        assert "here" in read["content"][0]["text"]
    finally:
        client.close()


def test_a_bare_environment_in_the_root_directory(installed: Path) -> None:
    said = one_sentence([installed / "devbox-mcp", "serve"], {}, Path("/"))
    assert "/ is the whole file system; name a project directory in it" in said


# -- with the extras


def bare(tmp_path: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(PROJECT)}


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        (tmp_path / "shop").mkdir()
        command = [sys.executable, "-m", "devbox_mcp", "serve", "shop", "--http", address]
        said = one_sentence([*command], bare(tmp_path), tmp_path)
    assert f"cannot listen on {address}: Address already in use; choose another HOST:PORT" in said


def test_no_kubeconfig(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "devbox_mcp", "serve", "k8s://shop/web"]
    said = one_sentence([*command], bare(tmp_path), tmp_path)
    assert "there is no ~/.kube/config; write ?kubeconfig=/path/to/file in the URL, or set KUBECONFIG" in said


def old_pythons() -> list[Path]:
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return sorted(found for minor in (8, 9, 10) for found in versions.glob(f"3.{minor}.*/bin/python"))


def test_an_old_python(tmp_path: Path) -> None:
    """Run from a checkout: where it is installed, the installer has refused before."""
    pythons = old_pythons()
    if not pythons:
        pytest.skip("no Python before 3.11 is here")
    for python in pythons:
        said = one_sentence([python, "-m", "devbox_mcp", "serve", "."], {"PYTHONPATH": str(PROJECT)}, tmp_path)
        assert "needs 3.11 or newer" in said
