"""What people see: wide and narrow terminals, colours, names that would command the terminal."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from .command import Command

_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def bare(text: str) -> str:
    return _SEQUENCE.sub("", text)


def test_a_long_listing_fits_a_narrow_terminal(command: Command, home: Path) -> None:
    os.utime(home / "a" / "run.sh", (1_700_000_000, 1_700_000_000))
    wide = bare(command.on_terminal(120, ["ls", "-l", "a"], {"TZ": "UTC"}))
    assert "-rwxr-xr-x    10B 2023-11-14 22:13 run.sh\n" in wide
    narrow = bare(command.on_terminal(40, ["ls", "-l", "a"], {"TZ": "UTC"}))
    assert "-   10B 11-14 22:13 run.sh\n" in narrow
    assert all(len(line) <= 40 for line in narrow.splitlines())


def test_colours_are_for_terminals_that_want_them(command: Command) -> None:
    assert "\x1b[34msrc\x1b[0m/" in command.on_terminal(80, ["ls", "a"])
    assert "\x1b" not in command.on_terminal(80, ["ls", "a"], {"NO_COLOR": "1"})
    assert "\x1b" not in command.on_terminal(80, ["ls", "a"], {"TERM": "dumb"})
    assert "\x1b" in command.on_terminal(80, ["grep", "os", "a"])
    assert "\x1b" not in command.ok("grep", "os", "a")


def test_names_cannot_command_the_terminal(command: Command, home: Path) -> None:
    (home / "b" / "a\x1b[2Jb\nc").write_text("x\x1b]0;title\x07\n")
    (home / "b" / os.fsdecode(b"\xff")).touch()
    shown = command.on_terminal(80, ["ls", "b"])
    assert "a\\x1b[2Jb\\nc\n" in shown
    assert "\\udcff\n" in shown
    assert "\x1b]" not in command.on_terminal(80, ["grep", "title", "b"])
    assert "\x1b" not in command.on_terminal(80, ["cat", "b:missing\x1b[2J"])


@pytest.mark.parametrize("columns", [40, 120])
def test_help_can_be_read(command: Command, columns: int) -> None:
    for arguments in (["--help"], ["edit", "--help"], ["grep", "-h"]):
        shown = bare(command.on_terminal(columns, arguments))
        assert "Usage: devbox-mcp" in shown
        assert all(len(line) <= columns for line in shown.splitlines())
        assert ("…" in shown.replace("k8s://…", "").replace("//HOST/…", "").replace(" …", "")) is False
    assert "interrupted" in bare(command.on_terminal(columns, ["--help"]))


def test_what_was_copied_is_told_on_a_terminal_only(command: Command) -> None:
    assert command.on_terminal(80, ["put", "a", "b:"]) == "4 files, 1.1K\n"
    command.ok("put", "a", "b:")


@pytest.mark.parametrize("columns", [40, 120])
def test_a_bar_shows_what_takes_longer(command: Command, home: Path, columns: int) -> None:
    os.mkfifo(home / "slow")
    child = os.fork()
    if child == 0:
        with open("/dev/null") as nothing, open(home / "slow", "wb") as slow:
            os.dup2(nothing.fileno(), 1)
            slow.write(b"x" * 1000)
            slow.flush()
            # the bar is what ends this: it takes a second to appear
            import time

            time.sleep(2)
            os._exit(0)
    shown = command.on_terminal(columns, ["put", "slow", "b:out"])
    os.waitpid(child, 0)
    assert "1.0/1.0 kB" in bare(shown) or "bytes" in bare(shown) or "KiB" in bare(shown), shown
    assert bare(shown).endswith("1 file, 1.0K\n")
    assert (home / "b" / "out").read_bytes() == b"x" * 1000
    plain = command.run("put", "a/README.md", "b:plain")
    assert (plain.stdout, plain.stderr) == (b"", b"")
