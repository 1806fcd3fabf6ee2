"""A server process, as ``devbox-mcp serve`` runs it, and a client that speaks tus by hand."""

from __future__ import annotations

import base64
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

VERSION = "1.0.0"
CONTENT = "application/offset+octet-stream"


@contextmanager
def served(root: str, *options: str) -> Iterator[str]:
    """Serve a devbox as ``box`` by a process of its own; yield where uploads are."""
    command = [sys.executable, "-m", "devbox_mcp", "serve", f"box={root}", "--http", "127.0.0.1:0", *options]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            said = ""
            while "http://" not in said:
                said = process.stderr.readline()
                assert said, "the server has ended"
            # or the server would wait, once the pipe is full of its access log
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield f"http://{said.partition('http://')[2].partition('/')[0]}/v1/devboxes/box/uploads"
        finally:
            process.terminate()
            process.wait(timeout=30)


def metadata(**values: str | bytes) -> str:
    """Return Upload-Metadata."""
    return ",".join(
        f"{name} {base64.b64encode(value.encode() if isinstance(value, str) else value).decode()}"
        for name, value in values.items()
    )


@dataclass(frozen=True)
class Raw:
    """Sends what it is told to. A header that is None is left out."""

    client: httpx2.Client
    uploads: str
    root: Path

    def send(self, method: str, url: str, content: Any = None, **headers: str | None) -> httpx2.Response:
        """Send a request; ``upload_offset`` is the header Upload-Offset."""
        every: dict[str, str | None] = {"tus_resumable": VERSION, **headers}
        named = {name.replace("_", "-"): value for name, value in every.items() if value is not None}
        return self.client.request(method, url, content=content, headers=named)

    def create(self, path: str | bytes, length: int, **more: str) -> httpx2.Response:
        """Begin an upload."""
        told = metadata(path=path, **more)
        return self.send("POST", self.uploads, upload_length=str(length), upload_metadata=told)

    def begin(self, path: str | bytes, length: int, **more: str) -> str:
        """Begin an upload and return its address."""
        answer = self.create(path, length, **more)
        assert answer.status_code == 201, answer.text
        return str(httpx2.URL(self.uploads).join(answer.headers["location"]))

    def add(self, url: str, offset: int, data: Any, **headers: str | None) -> httpx2.Response:
        """Add a part."""
        return self.send("PATCH", url, data, **{"upload_offset": str(offset), "content_type": CONTENT, **headers})

    def offset(self, url: str) -> int:
        """Ask how much has arrived."""
        answer = self.send("HEAD", url)
        assert answer.status_code == 200, answer.headers
        return int(answer.headers["upload-offset"])

    def hidden(self) -> list[str]:
        """Return what lies there hidden."""
        return [path.name for path in self.root.rglob(".devbox-mcp-*")]
