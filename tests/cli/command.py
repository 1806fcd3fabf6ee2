"""The command as a process, as users start it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "devbox_mcp"]


def _interruptible() -> None:
    """Take Ctrl-C even where the tests themselves were started in the background, deaf to it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Command:
    """Runs ``devbox-mcp`` in a home directory."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._started: list[subprocess.Popen[bytes]] = []
        self.env = {"PATH": os.environ.get("PATH", ""), "HOME": str(home), "PYTHONPATH": str(PROJECT),
                    "LC_ALL": "C.UTF-8"}  # fmt: skip

    def run(
        self, *arguments: str | bytes, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*PROGRAM, *arguments], capture_output=True, env={**self.env, **(env or {})}, cwd=self.home,
            input=stdin, timeout=120, check=False,
        )  # fmt: skip

    def ok(self, *arguments: str | bytes, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> str:
        """Run what must succeed and say nothing on stderr; return what it prints."""
        done = self.run(*arguments, stdin=stdin, env=env)
        assert (done.returncode, done.stderr) == (0, b""), done
        return done.stdout.decode("utf-8", "surrogateescape")

    def fails(self, code: int, *arguments: str | bytes, env: Mapping[str, str] | None = None) -> str:
        """Run what must end with a code and one sentence; return that."""
        done = self.run(*arguments, env=env)
        said = done.stderr.decode("utf-8", "surrogateescape")
        assert done.returncode == code, done
        assert said.startswith("devbox-mcp: "), said
        assert said.count("\n") == 1, said
        return said.removeprefix("devbox-mcp: ").removesuffix("\n")

    def start(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Start what is still running when the test goes on; it ends with the test."""
        started = subprocess.Popen(
            [*PROGRAM, *arguments], env=self.env, cwd=self.home, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            stdin=stdin, preexec_fn=_interruptible,  # noqa: PLW1509  it only resets a signal
        )  # fmt: skip
        self._started.append(started)
        return started

    def end_all(self) -> None:
        for started in self._started:
            started.kill()
            started.wait()
            for pipe in (started.stdin, started.stdout, started.stderr):
                if pipe is not None:
                    pipe.close()

    def on_terminal(self, columns: int, arguments: Sequence[str], env: Mapping[str, str] | None = None) -> str:
        """Run on a terminal of so many columns; return all that it showed."""
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(self.home)
            extra = {"TERM": "xterm", "COLUMNS": str(columns), **(env or {})}
            os.execve(sys.executable, [*PROGRAM, *arguments], {**self.env, **extra})
        shown = bytearray()
        while True:
            try:
                data = os.read(terminal, 65536)
            except OSError:
                break
            if not data:
                break
            shown += data
        os.close(terminal)
        os.waitpid(child, 0)
        return shown.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
