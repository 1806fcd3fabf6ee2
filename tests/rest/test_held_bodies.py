"""Large bodies that are needed whole, many at once and by every door: each is answered, and memory has an end."""

from __future__ import annotations

import gzip
import http.client
import io
import json
import re
import socket
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.sync.client import connect

from tests.access.asking import JSON, Reply, ask, request
from tests.mcp.door import http_process

LARGE = "x" * (8 << 20)
AT_ONCE = 16
#: MiB that the process may grow by; all bodies at once are 128.
GROWTH = 80


class Server:
    """A server of its own for each test, since memory once taken stays."""

    def __init__(self, url: str, pid: int, box: Path) -> None:
        self.url = url
        self.box = box
        self._status = Path(f"/proc/{pid}/status")

    def peak(self) -> float:
        """Return the most memory that it ever had, in MiB."""
        found = re.search(r"VmHWM:\s+([0-9]+) kB", self._status.read_text())
        assert found is not None
        return int(found[1]) / 1024


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    box = tmp_path / "box"
    box.mkdir()
    (box / "a.txt").write_text("old\n")
    with http_process(tmp_path / "log", f"app={box}", "--audit-log", str(tmp_path / "audit")) as (process, url):
        yield Server(url, process.pid, box)


def _edit() -> dict[str, Any]:
    edits = [{"old_text": "nothing like it", "new_text": LARGE}]
    body = json.dumps({"path": "a.txt", "edits": edits}).encode()
    return {"path": "/v1/devboxes/app/edit", "headers": JSON, "body": body}


def _batch() -> dict[str, Any]:
    body = json.dumps({"files": [{"path": "new.txt", "content": LARGE}]}).encode()
    return {"path": "/v1/devboxes/app/files", "headers": JSON, "body": body}


def _form() -> dict[str, Any]:
    head = b'--xx\r\nContent-Disposition: form-data; name="f"; filename="new.txt"\r\n\r\n'
    body = head + LARGE.encode() + b"\r\n--xx--\r\n"
    return _packed("multipart/form-data; boundary=xx", body)


def _packed(kind: str, body: bytes) -> dict[str, Any]:
    return {"path": "/v1/devboxes/app/files", "headers": {"Content-Type": kind}, "body": body}


def _tar() -> dict[str, Any]:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("new.txt")
        member.size = len(LARGE)
        archive.addfile(member, io.BytesIO(LARGE.encode()))
    return _packed("application/x-tar", file.getvalue())


def _tar_gz() -> dict[str, Any]:
    """A few kilobytes that are large when they are unpacked."""
    return _packed("application/gzip", gzip.compress(_tar()["body"]))


def _zip() -> dict[str, Any]:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("new.txt", LARGE)
    return _packed("application/zip", file.getvalue())


def _sealos() -> dict[str, Any]:
    body = json.dumps({"path": "new.txt", "content": LARGE}).encode()
    return {"path": "/api/v1/files/write", "headers": JSON, "body": body}


def _mcp() -> dict[str, Any]:
    edits = [{"old_text": "nothing like it", "new_text": LARGE}]
    body = request("tools/call", name="edit_file", arguments={"path": "a.txt", "edits": edits})
    routing = {"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "edit_file"}
    return {"path": "/mcp", "headers": {**JSON, **routing}, "body": body}


@pytest.mark.parametrize(
    ("make", "status"),
    [(_edit, 409), (_batch, 200), (_form, 200), (_tar, 200), (_tar_gz, 200), (_zip, 200), (_sealos, 200), (_mcp, 200)],
    ids=["edit", "batch", "form", "tar", "tar.gz", "zip", "sealos", "mcp"],
)
def test_many_large_bodies_at_once_are_answered_within_bounded_memory(
    server: Server, make: Callable[[], dict[str, Any]], status: int
) -> None:
    before = server.peak()
    asked = make()

    def send(_number: int) -> Reply:
        return ask(server.url, method="POST", **asked)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        replies = list(pool.map(send, range(AT_ONCE)))
    assert [reply.status for reply in replies] == [status] * AT_ONCE, replies[0].body[:300]
    assert server.peak() - before < GROWTH
    if status == 200 and make is not _mcp:
        assert (server.box / "new.txt").read_text() == LARGE


def test_large_messages_of_many_websockets_are_answered_within_bounded_memory(server: Server) -> None:
    before = server.peak()
    # edits of one file wait for each other, and so do their bodies
    body = json.dumps(
        {"path": "a.txt", "edits": [{"old_text": "nothing like it", "new_text": "x" * 1_000_000}]}
    ).encode()
    gate = threading.Barrier(6)
    address = server.url.replace("http", "ws", 1).removesuffix("/mcp") + "/v1/devboxes/app/ws"

    def send(_number: int) -> list[int]:
        with connect(address, subprotocols=["devbox.v1"], open_timeout=60) as socket:  # type: ignore[list-item]  # a plain text is one
            gate.wait(60)
            for call in range(10):
                head = {"id": call, "method": "POST", "path": "edit", "headers": {"content-type": "application/json"}}
                socket.send(json.dumps(head).encode() + b"\n" + body)
            told = []
            for _ in range(10):
                message = socket.recv()
                assert isinstance(message, bytes)
                told.append(json.loads(message.partition(b"\n")[0])["status"])
            return told

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(send, range(6)))
    assert answers == [[409] * 10] * 6
    assert server.peak() - before < GROWTH


def test_small_files_that_come_slowly_are_passed_on_where_memory_to_gather_them_is_short(tmp_path: Path) -> None:
    box = tmp_path / "box"
    box.mkdir()
    body = b"x" * 900_000
    with http_process(tmp_path / "log", f"app={box}", "--max-body", "1M") as (_, url):
        port = urlsplit(url).port
        opened = [socket.create_connection(("127.0.0.1", port), 60) for _ in range(2)]
        for number, connection in enumerate(opened):
            head = f"PUT /v1/devboxes/app/files/{number} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-1])
        give_up = time.monotonic() + 60
        # the first is gathered, and the other one has a draft of its own
        while not list(box.iterdir()):
            assert time.monotonic() < give_up
            time.sleep(0.01)
        for connection in opened:
            connection.sendall(body[-1:])
            assert connection.recv(1000).startswith(b"HTTP/1.1 201 ")
            connection.close()
    assert {file.name: file.read_bytes() for file in box.iterdir()} == {"0": body, "1": body}


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_a_message_to_mcp_that_is_too_long_is_refused_however_it_is_sent(server: Server, declared: bool) -> None:
    framing = {"Content-Length": str(49 << 20)} if declared else {"Transfer-Encoding": "chunked"}
    chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    reply = _raw(server, {**_mcp()["headers"], **framing}, b"" if declared else chunk * 49)
    assert (reply.status, reply.code) == (413, "too_large")


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_a_request_to_listen_is_small_for_it_lasts_as_long_as_its_stream(server: Server, declared: bool) -> None:
    uris = ["devbox://app/a.txt"]
    asked = request("subscriptions/listen", notifications={"resourceSubscriptions": uris})
    body = asked + b" " * 200_000
    routing = {"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "subscriptions/listen"}
    framing = {"Content-Length": str(len(body))} if declared else {"Transfer-Encoding": "chunked"}
    sent = body if declared else b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    try:
        connection.putrequest("POST", "/mcp")
        for name, value in {**JSON, **routing, **framing}.items():
            connection.putheader(name, value)
        connection.endheaders(sent)
        # of a stream only its head comes
        assert connection.getresponse().status == 413
    finally:
        connection.close()


def _raw(server: Server, headers: dict[str, str], body: bytes) -> Reply:
    """Send a head and what follows, and read the answer whatever becomes of the rest."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    try:
        connection.putrequest("POST", "/mcp")
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        with suppress(ConnectionError):
            connection.send(body)
        return Reply(connection.getresponse())
    finally:
        connection.close()
