"""docs/command-line.md: every example is run, and every help text is the program's."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from devbox_mcp.cli.failing import EXIT_CODES
from tests.docs.blocks import blocks

from .command import PROJECT, Command

_PAGE = (PROJECT / "docs" / "command-line.md").read_text()
_HELP = re.compile(r"### devbox-mcp (\w+)\n\n```text\n(.*?)```", re.DOTALL)


def examples() -> list[tuple[str, str]]:
    """Every command of the page with what it is said to print, in order."""
    found = []
    for block in blocks(PROJECT / "docs" / "command-line.md", "console"):
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            line, _, printed = part.partition("\n")
            found.append((line, printed))
    return found


def test_every_example_does_what_the_page_says(home: Path) -> None:
    """In order, as a reader would type them; … stands for what differs from place to place."""
    web = home / "web"
    (home / "a").rename(web)
    (web / "data.bin").unlink()
    (home / "db").mkdir()
    (home / "data.csv").write_text("1,2\n")
    (home / "README.md").write_text("Read me\n")
    (home / "src").mkdir()
    (home / "src" / "app.py").write_bytes((web / "src" / "app.py").read_bytes())
    for path in (web / "README.md", web / "run.sh", web / "src"):
        os.utime(path, (1_767_323_045, 1_767_323_045))
    (home / "bin").mkdir()
    program = home / "bin" / "devbox-mcp"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m devbox_mcp "$@"\n')
    program.chmod(0o755)
    command = Command(home)
    env = {**command.env, "PATH": f"{home}/bin:{command.env['PATH']}", "DEVBOX_MCP_DEVBOXES": "web=web,db=db"}
    status = "0"
    for line, printed in examples():
        done = subprocess.run(
            ["sh", "-c", line.replace("$?", status)], cwd=home, env=env, capture_output=True, timeout=60, check=False
        )  # fmt: skip
        status = str(done.returncode)
        shown = (done.stdout + done.stderr).decode().replace("devbox-mcp: watching web:\n", "")
        if "…" in printed:
            wanted = ".*".join(re.escape(part) for part in printed.split("…"))
            assert re.fullmatch(wanted, shown), (line, shown)
        else:
            assert shown == printed, line


def test_the_page_has_examples_of_every_command() -> None:
    shown = {line.partition("devbox-mcp ")[2].split()[0] for line, _ in examples() if "devbox-mcp " in line}
    assert shown == set(dict(_HELP.findall(_PAGE)))


def test_the_page_names_every_code() -> None:
    for code, number in EXIT_CODES.items():
        row = next(line for line in _PAGE.splitlines() if line.startswith(f"| {number} |"))
        assert f"`{code}`" in row


@pytest.mark.parametrize(("name", "text"), _HELP.findall(_PAGE))
def test_help_on_the_page_is_the_programs(command: Command, name: str, text: str) -> None:
    assert command.ok(name, "--help", env={"COLUMNS": "80"}) == text
