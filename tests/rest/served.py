"""The command as a server on a real socket, and a client that sends exactly the bytes it is told to."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ADDRESS = re.compile(r"at https?://127\.0\.0\.1:([0-9]+)/")
PATIENCE = 60


@dataclass(frozen=True)
class Answer:
    """What came back; headers by their names in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an answer that is a problem."""
        assert self.headers["content-type"] == "application/problem+json", self
        told = self.json()
        assert told["status"] == self.status
        assert told["request_id"] == self.headers["x-request-id"]
        return str(told["code"])


class Client:
    """Asks one server; ``token`` is sent with every request."""

    def __init__(self, port: int, box: Path, token: str | None = None, devbox: str = "main") -> None:
        self.port = port
        self.box = box
        self.token = token
        self.devbox = devbox

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def head(self, method: str, target: str, headers: Mapping[str, str]) -> bytes:
        """Return the head of a request. A target that does not begin with a slash is below the devbox."""
        if not target.startswith("/"):
            target = f"/v1/devboxes/{self.devbox}/{target}"
        given = {"Host": f"127.0.0.1:{self.port}", **headers}
        if self.token is not None:
            given.setdefault("Authorization", f"Bearer {self.token}")
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")

    def __call__(
        self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None, **more: str
    ) -> Answer:
        """Ask, on a connection of its own. ``more`` are headers with underscores for dashes."""
        given = {**(headers or {}), **{name.replace("_", "-"): value for name, value in more.items()}}
        if body or method in ("PUT", "POST", "PATCH"):
            given.setdefault("Content-Length", str(len(body)))
        with self.connect() as connection:
            connection.sendall(self.head(method, target, given) + body)
            return answer(connection, method)

    def logged(self, request_id: str) -> Any:
        """Return the line that the server's log has of a request, which may not be over yet."""
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            for line in (self.box.parent / "log").read_text().splitlines():
                if request_id in line and '"event": "request"' in line:
                    return json.loads(line)
            time.sleep(0.01)
        raise AssertionError(f"nothing is told of {request_id}")

    def post(self, target: str, value: Any) -> Answer:
        """Send JSON."""
        return self("POST", target, json.dumps(value).encode(), {"Content-Type": "application/json"})


def answer(connection: socket.socket, method: str = "GET") -> Answer:
    """Read one answer. Raises http.client.IncompleteRead for one that breaks off."""
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


@contextmanager
def serving(log: Path, *arguments: str) -> Iterator[int]:
    """Run the command until the block ends, and yield its port. It has to end by itself, and to report no fault."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DEVBOX_MCP_")}
    command = [sys.executable, "-m", "devbox_mcp", "serve", *arguments, "--http", "127.0.0.1:0"]
    with log.open("wb") as stderr, subprocess.Popen(command, stderr=stderr, env=environment) as process:
        try:
            yield _port(process, log)
        finally:
            process.terminate()
            process.wait(PATIENCE)
    assert process.returncode == 0
    faults = [line for line in log.read_text().splitlines() if '"event": "fault"' in line or "Traceback" in line]
    assert faults == [], faults[0][:3000]


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    give_up = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < give_up:
        found = _ADDRESS.search(log.read_text())
        if found is not None:
            return int(found[1])
        time.sleep(0.01)
    raise AssertionError(log.read_text())
