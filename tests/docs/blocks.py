"""The code blocks of the documentation, and the place where they are run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mcp.door import PROJECT, environment

_BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\S*)\n(?P<text>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE)
_SHOWN = re.compile(r"\A---\n(?:.*\n)*?source: (.+)\n")
_SERVED = Path(__file__).parent / "served.py"


def pages() -> list[Path]:
    """Every page there is: the README, the site's own, and what the site shows of other directories."""
    found = [PROJECT / "README.md"]
    for page in sorted((PROJECT / "docs").rglob("*.md")):
        shown = _SHOWN.match(page.read_text())
        found.append(page if shown is None else PROJECT / shown[1])
    return found


@dataclass(frozen=True)
class Block:
    """A code block: its page, the line it begins at, its language and its text."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(PROJECT)}:{self.line}"


def blocks(page: Path, *languages: str) -> Iterator[Block]:
    """Return the blocks of a page, of some languages or of all."""
    text = page.read_text()
    for found in _BLOCK.finditer(text):
        if not languages or found["language"] in languages:
            line = text.count("\n", 0, found.start()) + 1
            yield Block(
                page, line, found["language"], re.sub(f"^{found['indent']}", "", found["text"], flags=re.MULTILINE)
            )


def all_blocks(*languages: str) -> list[Block]:
    """Return the blocks of all pages."""
    return [block for page in pages() for block in blocks(page, *languages)]


class Stage:
    """A directory with what the pages name in it. Their devboxes elsewhere are directories of it, and what they call a
    gateway is the one at ``gateway``."""

    def __init__(self, directory: Path, gateway: str = "http://127.0.0.1:9") -> None:
        self.directory = directory
        for name in ("shop/src", "box/src", "srv/shop", "srv/docs", "srv/exchange", "bin", "home"):
            (directory / name).mkdir(parents=True)
        (directory / "shop" / "src" / "app.py").write_text("# TODO: sell bread\n")
        (directory / "data.csv").write_text("name,price\nbread,3\n")
        (directory / "dataset.csv").write_text("x\n1\n")
        (directory / "token").write_text("t" * 43)
        program = directory / "bin" / "devbox-mcp"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(_SERVED))} "$@"\n')
        program.chmod(0o755)
        self._meant = (
            (r"/home/you/projects", str(directory)),
            (r"\$\{workspaceFolder\}", str(directory / "shop")),
            (r"/srv/", f"{directory}/srv/"),
            (r"/var/log", str(directory)),
            (r"k8s://[^\s\"']*", str(directory / "box")),
            (r"https://(?:gateway|files)\.example\.com(?=/(?:v1/devboxes/)?shop)", gateway),
            (r"(?:0\.0\.0\.0|127\.0\.0\.1):(?:8000|9757)", "127.0.0.1:0"),
            (r"dbx_…", "dbx_" + "a" * 43),
        )

    def meant(self, text: str) -> str:
        """Return a text with the names of this stage for those of the pages."""
        for pattern, here in self._meant:
            text = re.sub(pattern, here, text)
        return text

    def run(self, argv: Sequence[str]) -> str:
        """Run what has to succeed, with nothing on its stdin; return all that it said."""
        env = environment({"HOME": str(self.directory / "home")})
        env["PATH"] = f"{self.directory / 'bin'}:{env['PATH']}"
        done = subprocess.run(
            argv, cwd=self.directory, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        assert "Traceback" not in done.stdout, done.stdout
        return done.stdout
