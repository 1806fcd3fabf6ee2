"""Every scenario that a revision requires of a server, by the official suite; and the Inspector's look at the tools."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tools import node

pytestmark = pytest.mark.conformance

SUITE = "conformance/dist/index.js"
INSPECTOR = "inspector/clients/launcher/build/index.js"

REQUIRED = {"2025-11-25": 30, "2026-07-28": 37}
"""how many scenarios a revision requires; fewer results would mean that the suite did not run"""


@pytest.fixture(scope="module")
def modules() -> Path:
    manifest = node.PROJECT / "tools" / "conformance" / "package.json"
    return node.install(manifest, node.PROJECT / ".cache" / "conformance")


@pytest.fixture
def box(tmp_path: Path) -> Path:
    directory = tmp_path / "box"
    directory.mkdir()
    (directory / "readme.md").write_text("# A devbox\n")
    return directory


@pytest.mark.parametrize("revision", REQUIRED)
def test_every_required_scenario_passes(modules: Path, box: Path, tmp_path: Path, revision: str) -> None:
    argv = [sys.executable, "-m", "tests.mcp_conformance.serve", str(box)]
    with _running(argv) as said:
        url = f"http://127.0.0.1:{int(said)}/mcp"
        done = _run(modules, SUITE, "server", "--url", url, "--requirements", revision, home=tmp_path)
    summary = done.stdout.partition("=== SUMMARY ===")[2]
    sys.stdout.write(f"\nconformance, {revision}{summary}")
    assert done.returncode == 0, done.stdout + done.stderr
    every, _, unscored = summary.partition("Not scored for")
    optional = set(re.findall(r"^ +[✓✗] (\S+) \(", unscored, re.MULTILINE))
    marks = {name: mark for mark, name in re.findall(r"^([✓✗]) (\S+): ", every, re.MULTILINE) if name not in optional}
    assert len(marks) == REQUIRED[revision]
    assert set(marks.values()) == {"✓"}


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_inspector_finds_every_schema_portable_over_stdio(modules: Path, box: Path, tmp_path: Path, era: str) -> None:
    _inspect(modules, era, "-e", f"PYTHONPATH={node.PROJECT}", *_serve(box), home=tmp_path)


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_inspector_finds_every_schema_portable_over_http(modules: Path, box: Path, tmp_path: Path, era: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    with _running([*_serve(box), "--http", address]) as said:
        assert address in said
        _inspect(modules, era, f"http://{address}/mcp", home=tmp_path)


def _serve(box: Path) -> list[str]:
    return [sys.executable, "-m", "devbox_mcp", "serve", str(box), "--toolsets", "all"]


def _inspect(modules: Path, era: str, *target: str, home: Path) -> None:
    options = ("--cli", *target, "--method", "tools/list", "--strict", "--protocol-era", era)
    done = _run(modules, INSPECTOR, *options, home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"read_file"' in done.stdout
    assert not done.stderr, "the Inspector has something to say about a schema"


@contextmanager
def _running(argv: list[str]) -> Iterator[str]:
    """Run a server, from its first line, which is handed over, to its end."""
    with subprocess.Popen(
        argv, cwd=node.PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline()
        finally:
            server.terminate()


def _run(modules: Path, program: str, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    argv = [str(node.node()), str(modules / "@modelcontextprotocol" / program), *arguments]
    environment = {**node.environment(), "HOME": str(home), "NO_COLOR": "1"}
    return subprocess.run(argv, capture_output=True, text=True, env=environment, cwd=home, timeout=300, check=False)
