"""Terminal sessions of the documentation, recorded from real runs: ``python -m tools.recordings``.

Writes ``docs/assets/*.svg``. Times and sizes differ from run to run, so the pictures are committed and looked at by a
person, not compared in CI.
"""

from __future__ import annotations

import io
import os
import pty
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parent.parent
ASSETS = ROOT / "docs" / "assets"
_COLUMNS = 88
#: What the pages call the directory in which a session was recorded.
_SHOWN = "/home/you/projects"
#: The reader's own font: rich's format would have browsers fetch one.
_FORMAT = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "Fira Code, monospace", "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
)

#: By the name of the picture.
SESSIONS = {
    "doctor": ("devbox-mcp doctor shop",),
    "files": (
        "devbox-mcp ls -l shop",
        "devbox-mcp grep -C1 findall shop",
        "devbox-mcp edit shop:wordcount/__init__.py \\\n    --replace 'findall(text)' 'findall(text.lower())'",
        "devbox-mcp rm shop:data",
    ),
}


def main() -> None:
    """Run everything and write the pictures."""
    for name, lines in SESSIONS.items():
        with tempfile.TemporaryDirectory() as directory:
            shutil.copytree(ROOT / "examples" / "wordcount", Path(directory) / "shop")
            said = "".join(f"\x1b[1m$ {line}\x1b[0m\n{on_terminal(line, directory)}" for line in lines)
        save(name, "~/projects", said.replace(directory, _SHOWN))
    errand = on_terminal(f"{sys.executable} -m tools.demo", str(ROOT))
    whole, _, _ = errand.partition("\x1b[1mNote the change")
    save("demo", "make demo", whole.rstrip() + "\n")


def on_terminal(line: str, directory: str) -> str:
    """Run a line of shell on a terminal, and return what it showed. Raises RuntimeError for a traceback."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": directory,
        "TERM": "xterm-256color",
        "COLUMNS": str(_COLUMNS),
        "LC_ALL": "C.UTF-8",
    }
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(directory)
        os.execve("/bin/sh", ["sh", "-c", line], environment)  # noqa: S606  it is a shell
    shown = b"".join(_read(terminal)).decode().replace("\r\n", "\n")
    os.close(terminal)
    os.waitpid(child, 0)
    if "Traceback" in shown:
        raise RuntimeError(shown)
    return shown


def _read(terminal: int) -> Sequence[bytes]:
    pieces: list[bytes] = []
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            return pieces
        if not piece:
            return pieces
        pieces.append(piece)


def save(name: str, title: str, said: str) -> None:
    """Write a picture of what a terminal showed."""
    console = Console(record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(said), end="")
    picture = console.export_svg(title=title, code_format=_FORMAT, unique_id=name)
    (ASSETS / f"{name}.svg").write_text(picture.rstrip() + "\n")
    print(f"wrote docs/assets/{name}.svg")


if __name__ == "__main__":
    main()
