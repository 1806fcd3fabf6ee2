"""A server process with one devbox, and a client that calls it as Sealos' TypeScript SDK does."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest


@contextmanager
def served(*arguments: str, env: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run ``devbox-mcp serve``; yield the address that it says it serves at, without a path."""
    command = [sys.executable, "-m", "devbox_mcp", "serve", *arguments, "--http", "127.0.0.1:0"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stderr is not None
        try:
            said = ""
            while "http://" not in said:
                said = process.stderr.readline()
                assert said, "the server has ended"
            # or the server would wait, once the pipe is full of its access log
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield f"http://{said.partition('http://')[2].partition('/')[0]}"
        finally:
            process.terminate()
            process.wait(timeout=30)


@dataclass(frozen=True)
class Sealos:
    """Calls by the names of the routes. ``root`` is the devbox's directory."""

    client: httpx2.Client
    root: Path

    def get(self, route: str, **params: Any) -> httpx2.Response:
        return self.client.get(f"/api/v1/files/{route}", params=params)

    def post(self, route: str, **body: Any) -> httpx2.Response:
        return self.client.post(f"/api/v1/files/{route}", json=body)

    def ok(self, answer: httpx2.Response) -> dict[str, Any]:
        """Return what a success tells beside saying so."""
        told: dict[str, Any] = answer.json()
        assert (answer.status_code, told.pop("status"), told.pop("message")) == (200, 0, "success"), answer.text
        return told

    def refused(self, answer: httpx2.Response, status: int) -> str:
        """The answer is an error, which HTTP says 200 to; return its message."""
        told: dict[str, Any] = answer.json()
        assert (answer.status_code, told["status"]) == (200, status), answer.text
        assert told["message"]
        assert str(self.root.parent) not in told["message"].replace(str(self.root), "")
        return str(told["message"])


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    root = tmp_path_factory.mktemp("outside") / "project"
    root.mkdir()
    with served(f"box={root}", "--max-file-size", "20M") as url:
        yield url, root


@pytest.fixture
def sealos(address: tuple[str, Path]) -> Iterator[Sealos]:
    url, root = address
    # the SDK sends this with everything, and JSON as the type where it has nothing better
    with httpx2.Client(base_url=url, headers={"Authorization": "Bearer 1234"}, timeout=60) as client:
        yield Sealos(client, root)
    assert not list(root.rglob(".devbox-mcp-*"))
    for path in sorted(root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
