"""The process behind the pipes: what it makes of bad lines, of the end, of signals, and of having no pipes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.mcp.door import PROJECT, SERVE, environment
from tests.raw import RawClient


@pytest.fixture
def box(tmp_path: Path) -> Path:
    box = tmp_path / "box"
    box.mkdir()
    return box


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """Where the server's stderr goes; nothing that went wrong inside it stands there afterwards."""
    log = tmp_path / "log"
    log.touch()
    yield log
    assert "Traceback" not in log.read_text()


class Wire(RawClient):
    """A raw client that can write what is no message, and leave without waiting."""

    def write(self, line: bytes) -> None:
        self._stdin.write(line)
        self._stdin.flush()

    def ask(self, tool: str, **arguments: Any) -> None:
        """Send a call and do not wait for its answer."""
        self._last_id += 1
        self.write(self._line("tools/call", {"name": tool, "arguments": arguments}, self._last_id))

    def leave(self) -> tuple[int, bytes]:
        """Close stdin; return the exit status, and what comes on stdout until then."""
        self._stdin.close()
        return self.ended()

    def signal(self, number: int) -> tuple[int, bytes]:
        """Send a signal; return as ``leave`` does."""
        self._process.send_signal(number)
        status = self.ended()
        self._stdin.close()
        return status

    def ended(self) -> tuple[int, bytes]:
        """Wait for the end and return as ``leave`` does."""
        with self._stdout:
            rest = self._stdout.read()
        return self._process.wait(timeout=20), rest


def wire(box: Path, log: Path, *options: str, env: dict[str, str] | None = None) -> Wire:
    with log.open("ab") as stderr:
        return Wire([*SERVE, str(box), *options], env=environment(env), stderr=stderr)


BAD_LINES = [
    b"{not json\n",
    b"\xff\xfe\n",
    b"\n",
    b"   \n",
    b"\r\n",
    b"[]\n",
    b"[1,2]\n",
    b"null\n",
    b"123\n",
    b'"text"\n',
    b"{}\n",
    b'{"jsonrpc":"2.0"}\n',
    b'{"jsonrpc":"1.0","id":70,"method":"ping"}\n',
    b'{"jsonrpc":"2.0","id":{},"method":"ping"}\n',
    b'{"jsonrpc":"2.0","id":null,"method":"ping"}\n',
    b'{"jsonrpc":"2.0","method":5}\n',
    b'{"jsonrpc":"2.0","id":77,"result":{}}\n',
    b'{"jsonrpc":"2.0","id":78,"error":{"code":1,"message":"x"}}\n',
    b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9999}}\n',
    b'{"jsonrpc":"2.0","method":"notifications/unknown"}\n',
    b"[" * 100_000 + b"\n",
    b'{"a":' * 10_000 + b"\n",
]


def test_a_line_that_is_no_request_does_not_end_the_server(box: Path, log: Path) -> None:
    with wire(box, log) as client:
        client.initialize()
        for line in BAD_LINES:
            client.write(line)
            assert client.request("ping") == {}, line


def test_what_is_no_message_is_answered_so_that_nobody_waits(box: Path, log: Path) -> None:
    with wire(box, log) as client:
        client.initialize()
        for line, request_id, code in [
            (b"{not json\n", None, -32700),
            (b"[]\n", None, -32600),
            (b'{"jsonrpc":"2.0","id":70,"method":5}\n', 70, -32600),
            *(
                (b'{"jsonrpc":"2.0","id":%s,"method":"ping"}\n' % bad, None, -32600)
                for bad in (b"null", b"1.5", b"true", b"[1]")
            ),
            (b'{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"\\ud800"}}\n', "a", -32600),
        ]:
            client.write(line)
            answer = client._receive()
            assert (answer["id"], answer["error"]["code"]) == (request_id, code)


def test_bad_lines_before_the_handshake_do_not_end_the_server(box: Path, log: Path) -> None:
    with wire(box, log) as client:
        for line in BAD_LINES:
            client.write(line)
        assert client.initialize()["serverInfo"]["name"] == "devbox-mcp"


def test_a_huge_line_is_a_message_like_any_other(box: Path, log: Path) -> None:
    with wire(box, log) as client:
        client.initialize()
        content = "x" * (24 * 1024 * 1024)
        refused = client.call("write_file", path="a.txt", content=content)
        assert refused["isError"]
        assert "[too_large]" in refused["content"][0]["text"]
        files = [{"path": f"{number}.txt", "content": content[: 8 * 1024 * 1024]} for number in range(3)]
        assert client.call("upload_batch", files=files)["structuredContent"]["written"] == 3
        assert (box / "2.txt").stat().st_size == 8 * 1024 * 1024


def test_a_line_beyond_the_longest_ends_with_a_word_and_not_with_the_memory(box: Path, log: Path) -> None:
    client = wire(box, log)
    client.initialize()
    block = b"x" * (8 * 1024 * 1024)
    with pytest.raises(BrokenPipeError):
        client.write(block * 32)
    with suppress(BrokenPipeError):
        client._stdin.close()
    assert client.ended() == (0, b"")
    assert "longer than" in log.read_text()


def test_stdout_carries_messages_and_nothing_else(box: Path, log: Path) -> None:
    noisy = """
import os, subprocess, sys
from devbox_mcp.sandbox import Sandbox
quiet = Sandbox.make_dir
async def make_dir(self, path):
    print("printed")
    sys.stdout.flush()
    os.write(1, b"written")
    subprocess.run(["echo", "from a child"])
    return await quiet(self, path)
Sandbox.make_dir = make_dir
from devbox_mcp.cli import main
main()
"""
    with log.open("wb") as stderr:
        client = Wire([sys.executable, "-c", noisy, "serve", str(box)], env=environment(), stderr=stderr)
    client.initialize()
    assert client.call("make_dir", path="d")["structuredContent"] == {"path": "d", "created": True}
    assert client.call("read_file", path="missing")["isError"]
    assert client.leave() == (0, b"")
    for word in ("printed", "written", "from a child"):
        assert word in log.read_text()


def test_a_child_does_not_read_the_clients_messages(box: Path, log: Path) -> None:
    greedy = """
import subprocess, sys
from devbox_mcp.sandbox import Sandbox
quiet = Sandbox.make_dir
async def make_dir(self, path):
    subprocess.run([sys.executable, "-c", "import sys; sys.stdin.read()"], timeout=10)
    return await quiet(self, path)
Sandbox.make_dir = make_dir
from devbox_mcp.cli import main
main()
"""
    with log.open("wb") as stderr:
        client = Wire([sys.executable, "-c", greedy, "serve", str(box)], env=environment(), stderr=stderr)
    client.initialize()
    assert client.call("make_dir", path="d")["structuredContent"]["created"]
    assert client.leave()[0] == 0


# -- the end


def test_the_end_of_stdin_is_the_end(box: Path, log: Path) -> None:
    client = wire(box, log)
    client.initialize()
    assert client.leave() == (0, b"")
    assert log.read_text() == ""


def test_it_ends_before_any_message_too(box: Path, log: Path) -> None:
    assert wire(box, log).leave() == (0, b"")


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("watch", {"timeout": 60}),
        ("search_text", {"pattern": "(a+)+$"}),
        ("download_zip", {"paths": ["big.bin"]}),
    ],
)
def test_it_ends_in_the_middle_of_a_call(box: Path, log: Path, tool: str, arguments: dict[str, Any]) -> None:
    (box / "a.txt").write_text("a" * 5000 + "!\n")
    (box / "big.bin").write_bytes(os.urandom(50_000_000))
    client = wire(box, log)
    client.initialize()
    client.ask(tool, **arguments)
    time.sleep(0.5)
    started = time.monotonic()
    assert client.leave()[0] == 0
    # clients send SIGTERM two seconds after closing stdin
    assert time.monotonic() - started < 10
    assert sorted(os.listdir(box)) == ["a.txt", "big.bin"]


def test_an_end_in_the_middle_of_a_write_leaves_the_old_or_the_new(box: Path, log: Path) -> None:
    old, new = "old" * 1000, "new" * 3_000_000
    for _ in range(2):
        (box / "a.txt").write_text(old)
        client = wire(box, log)
        client.initialize()
        client.ask("write_file", path="a.txt", content=new)
        assert client.leave()[0] == 0
        assert (box / "a.txt").read_text() in (old, new)
        assert os.listdir(box) == ["a.txt"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_and_leaves_nothing_behind(box: Path, log: Path, tmp_path: Path, number: int) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    (box / "big.bin").write_bytes(os.urandom(1_000_000))
    # a shell's background jobs ignore SIGINT, and so would the server; a signal that is handled is not inherited
    before = signal.signal(number, signal.default_int_handler)
    try:
        client = wire(box, log, env={"TMPDIR": str(temporary)})
    finally:
        signal.signal(number, before)
    client.initialize()
    assert client.call("download_zip", paths=["."])["content"][0]["type"] == "resource_link"
    assert os.listdir(temporary) != []
    client.ask("watch", timeout=60)
    time.sleep(0.3)
    assert client.signal(number)[0] in (0, -number, 128 + number)
    assert os.listdir(temporary) == []
    assert os.listdir(box) == ["big.bin"]


def test_kept_zips_go_with_the_server(box: Path, log: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    (box / "big.bin").write_bytes(os.urandom(1_000_000))
    client = wire(box, log, env={"TMPDIR": str(temporary)})
    client.initialize()
    assert client.call("download_zip", paths=["."])["content"][0]["type"] == "resource_link"
    assert client.leave()[0] == 0
    assert os.listdir(temporary) == []


# -- other things than pipes


INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "0"},
    },
}


def test_messages_from_a_file_are_answered(box: Path, tmp_path: Path) -> None:
    messages = tmp_path / "messages"
    messages.write_text(json.dumps(INITIALIZE) + "\n")
    with messages.open() as stdin:
        done = _run(box, stdin=stdin)
    assert done.returncode == 0, done.stderr
    (answer,) = done.stdout.splitlines()
    assert json.loads(answer)["result"]["serverInfo"]["name"] == "devbox-mcp"
    assert done.stderr == ""


def test_messages_from_a_pipe_that_ends_at_once_are_answered(box: Path) -> None:
    done = _run(box, input=json.dumps(INITIALIZE) + "\n")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["id"] == 1


def test_nothing_on_stdin_is_an_end(box: Path) -> None:
    done = _run(box, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_closed_stdin_is_an_end_without_a_traceback(box: Path) -> None:
    shell = ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *SERVE, str(box)]
    done = subprocess.run(
        shell, capture_output=True, text=True, env=environment(), cwd=PROJECT, timeout=30, check=False
    )
    assert "Traceback" not in done.stderr
    assert "stdin is closed" in done.stderr
    assert (done.returncode, done.stdout) == (0, "")


def test_answers_may_go_to_a_file(box: Path, tmp_path: Path) -> None:
    answers = tmp_path / "answers"
    with answers.open("w") as stdout:
        done = subprocess.run(
            [*SERVE, str(box)], input=json.dumps(INITIALIZE) + "\n", stdout=stdout, stderr=subprocess.PIPE, text=True,
            env=environment(), cwd=PROJECT, timeout=30, check=False,
        )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr == ""
    assert json.loads(answers.read_text())["id"] == 1


def test_a_socket_is_as_good_as_two_pipes(box: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen([*SERVE, str(box)], stdin=theirs, stdout=theirs, env=environment(), cwd=PROJECT)
        theirs.close()
        ours.settimeout(20)
        ours.sendall(json.dumps(INITIALIZE).encode() + b"\n")
        with ours.makefile("rb") as answers:
            assert json.loads(answers.readline())["id"] == 1
            ours.shutdown(socket.SHUT_WR)
            assert answers.read() == b""
    assert process.wait(timeout=20) == 0


def test_a_bare_environment_is_enough(box: Path) -> None:
    (box / "ü.txt").write_text("here\n")
    client = Wire([sys.executable, "-m", "devbox_mcp", "serve", str(box)], env={"PYTHONPATH": str(PROJECT)})
    client.initialize()
    assert client.call("list_dir")["structuredContent"]["entries"] == ["ü.txt"]
    assert client.call("search_text", pattern="here")["content"][0]["text"] == "ü.txt\n  1: here"
    assert client.leave()[0] == 0


def test_a_client_that_is_gone_ends_it(box: Path, log: Path) -> None:
    (box / "a.txt").write_text("x" * 60_000)
    client = wire(box, log)
    client.initialize()
    client._stdout.close()
    for _ in range(50):
        try:
            client.ask("read_file", path="a.txt")
        except BrokenPipeError:
            break
    with suppress(BrokenPipeError):
        client._stdin.close()
    client._process.wait(timeout=20)


def _run(box: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SERVE, str(box)], capture_output=True, text=True, env=environment(), cwd=PROJECT, timeout=30, check=False,
        **options,
    )  # fmt: skip


def test_a_notification_with_an_empty_id_is_one_all_the_same(box: Path, log: Path) -> None:
    with wire(box, log) as client:
        client.initialize()
        client.write(b'{"jsonrpc":"2.0","id":null,"method":"notifications/roots/list_changed"}\n')
        assert client.request("ping") == {}
