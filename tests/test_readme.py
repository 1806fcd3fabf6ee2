"""What the README shows, done: its Python runs, its commands run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
#: What the examples call theirs.
THEIRS = "/home/you/projects/shop"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Path]:
    """A project to work on, seen from the directory above it."""
    (tmp_path / "shop/src").mkdir(parents=True)
    (tmp_path / "shop/src/app.py").write_text("# TODO: sell bread\n")
    (tmp_path / "data.csv").write_text("name,price\nbread,3\n")
    with chdir(tmp_path):
        yield tmp_path / "shop"


def test_the_python_runs(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = blocks("python")
    exec(compile(program.replace(THEIRS, str(shop)), "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert "print('hello')" in said
    assert "main.py" in said
    assert (shop / "data.csv").read_bytes() == b"name,price\nbread,3\n"
    assert not (shop / "copies").exists()


def command_lines() -> list[str]:
    text = "\n".join(blocks("sh")).replace("\\\n", " ")
    return [line for line in text.splitlines() if line.startswith("devbox-mcp") and " serve " not in line]


@pytest.mark.parametrize("line", command_lines())
def test_the_commands_run(shop: Path, line: str) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-c", line], cwd=shop.parent, capture_output=True, text=True, timeout=60, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_every_page_that_is_named_is_there() -> None:
    root = Path(__file__).parent.parent
    named = re.findall(r"\]\(([^)#:]+)\)", README)
    assert named
    assert [name for name in named if not (root / name).exists()] == []
