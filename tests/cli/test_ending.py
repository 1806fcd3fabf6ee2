"""However a command ends: signals, readers that go away, faults."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from devbox_mcp.cli.failing import EXIT_CODES
from devbox_mcp.errors import BY_CODE

from .command import Command
from .conftest import names


def waiting(pipe: int) -> int:
    """How many bytes lie in a pipe."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_every_error_has_an_exit_code_or_is_the_general_one() -> None:
    assert set(BY_CODE) - set(EXIT_CODES) == {"io_error"}
    assert set(EXIT_CODES) <= set(BY_CODE)


def test_a_reader_that_goes_away_is_no_reason_to_complain(command: Command, home: Path) -> None:
    (home / "b" / "big").write_bytes(bytes(20_000_000))
    for number in range(3000):
        (home / "b" / f"{number:0100}").touch()
    for arguments in (["cat", "b:big"], ["ls", "b"], ["ls", "--json", "b"], ["find", "b"], ["zip", "b:big", "-"]):
        running = command.start(*arguments)
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.read(1)
        running.stdout.close()
        assert (running.wait(60), running.stderr.read()) == (141, b""), arguments
        running.stderr.close()


@pytest.mark.parametrize(
    ("arguments", "closed", "code", "said"),
    [
        ("ls b", ">&-", 0, ""),
        ("cat b:f", ">&-", 0, ""),
        ("--help", ">&-", 0, ""),
        ("mkdir b:new", "<&- >&- 2>&-", 0, ""),
        ("rm b:missing", "2>&-", 3, ""),
        ("put - b:f", "<&-", 1, "b:f: the file system reported EBADF"),
        ("ls b", ">/dev/full", 7, "No space left on device"),
        ("cat b:f", ">/dev/full", 7, "No space left on device"),
    ],
)
def test_streams_that_are_closed_or_full(
    command: Command, home: Path, arguments: str, closed: str, code: int, said: str
) -> None:
    (home / "b" / "f").write_text("old")
    line = f"exec {sys.executable} -m devbox_mcp {arguments} {closed}"
    done = subprocess.run(["sh", "-c", line], cwd=home, env=command.env, capture_output=True, check=False)
    told = f"devbox-mcp: {said}\n" if said else ""
    assert (done.returncode, done.stdout.decode(), done.stderr.decode()) == (code, "", told)
    assert (home / "b" / "f").read_text() == "old"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_a_signal_ends_leaves_nothing_half_done(
    command: Command, home: Path, box: str, number: signal.Signals
) -> None:
    (home / "a" / "target").write_text("old")
    running = command.start("put", "-", f"{box}:target", stdin=subprocess.PIPE)
    assert running.stdin is not None
    running.stdin.write(bytes(3_000_000))  # more than a pipe holds: it has begun
    running.stdin.flush()
    while waiting(running.stdin.fileno()):
        os.sched_yield()
    running.send_signal(number)
    assert running.wait(60) == 128 + number, "while its stdin is open, as a terminal's is"
    assert running.communicate() == (b"", b"")
    assert (home / "a" / "target").read_text() == "old"
    assert names(home / "a") == {"README.md", "data.bin", "run.sh", "src", "src/app.py", "target"}


def test_a_source_that_breaks_in_the_middle_leaves_the_old_file(command: Command, home: Path, box: str) -> None:
    (home / "a" / "target").write_text("old")
    program = "sh -c 'head -c 1 >/dev/null; exit 1'"  # speaks nothing that a guest would
    done = command.run("cp", f"exec:{program}:x", f"{box}:target")
    assert done.returncode == 6, done
    assert (home / "a" / "target").read_text() == "old"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("DEVBOX_MCP_READONLY", "true", "did you mean DEVBOX_MCP_READ_ONLY?"),
        ("DEVBOX_MCP_CONFIG", "missing.toml", "there is no configuration file missing.toml"),
    ],
)
def test_a_bad_variable_is_said(command: Command, variable: str, value: str, said: str) -> None:
    assert said in command.fails(2, "ls", "a", env={variable: value})


def test_the_environment_may_forbid_and_name_devboxes(command: Command, home: Path) -> None:
    env = {"DEVBOX_MCP_READ_ONLY": "true", "DEVBOX_MCP_DENY": "*.bin", "DEVBOX_MCP_DEVBOXES": f"shop={home}/a"}
    assert command.ok("ls", "shop:", env=env).splitlines() == ["README.md", "run.sh", "src/"]
    assert "shop:x" in command.fails(5, "put", "a/README.md", "shop:x", env=env)
    assert "DEVBOX_MCP_DENY" in command.fails(5, "cat", "shop:data.bin", env=env)
    command.ok("get", "shop:README.md", "out", env=env)  # this machine is not what is read-only
    (home / "shop").mkdir()
    assert command.ok("ls", "./shop", env=env) == ""


def test_the_root_and_the_home_directory_are_devboxes_for_whoever_types_a_command(command: Command, home: Path) -> None:
    assert command.ok("cat", f"/:{home}/a/README.md") == "Read me\n"
    assert "a/" in command.ok("ls", "~")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ls"], "missing argument 'DEVBOX[:PATH]'; devbox-mcp ls -h shows"),
        (["ls", "--no-such"], "no such option: --no-such; devbox-mcp ls -h shows"),
        (["serve", "--read-onyl"], "(Possible options: --read-only"),
        (["cat", "--offset", "-1", "a:x"], "invalid value for '--offset'"),
        (["keys", "new"], "devbox-mcp keys new -h shows"),
        (["nonsense"], "no such command 'nonsense'; devbox-mcp -h shows"),
    ],
)
def test_wrong_usage_is_2_and_one_sentence_that_says_where_help_is(
    command: Command, arguments: list[str], said: str
) -> None:
    done = command.run(*arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"devbox-mcp: ")
    assert said in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_nothing_at_all_shows_what_there_is(command: Command) -> None:
    done = command.run()
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"Usage: devbox-mcp")


def test_a_working_directory_that_is_gone_is_said(command: Command, home: Path) -> None:
    gone = home / "gone"
    gone.mkdir()
    code = f"import os; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r}); os.execv({sys.executable!r}, [{sys.executable!r}, '-m', 'devbox_mcp', 'get', '{home}/a:README.md'])"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=command.env, timeout=60, check=False)
    assert done.returncode == 2
    assert b"the working directory is gone" in done.stderr


def test_help_imports_none_of_the_work(command: Command) -> None:
    code = (
        "import sys\nfrom devbox_mcp import cli\n"
        "heavy = ('asyncio', 'pydantic', 'rich', 'mcp', 'aiohttp', 'devbox_mcp.kinds', 'devbox_mcp.sandbox')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=command.env, check=True, timeout=60)
    assert done.stdout == b"[]\n"
