"""A header that is sent twice is the list that HTTP has it for, or refused: never half of it is believed."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.access.asking import Reply, ask
from tests.access.matrix import TREE, Ground

FILE = "/v1/devboxes/bank/files/a.txt"
TUS = "/v1/devboxes/bank/uploads"
PART = "application/offset+octet-stream"
HELD = TREE["a.txt"]
NEW = b"new"


def tag(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()}"'


def digest(data: bytes, algorithm: str = "sha256") -> str:
    return base64.b64encode(hashlib.new(algorithm, data).digest()).decode()


def named(path: str) -> str:
    return f"path {base64.b64encode(path.encode()).decode()}"


def put(ground: Ground, url: str, *headers: tuple[str, str]) -> Reply:
    return ask(url, FILE, [*ground.headers("editor").items(), *headers], method="PUT", body=NEW)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("If-Match", tag(b"other")), ("If-Match", tag(b"another"))], 412),
        ([("If-Match", tag(b"other")), ("if-match", tag(HELD))], 200),
        ([("If-Match", tag(HELD)), ("If-Match", tag(b"other"))], 200),
        ([("If-Match", tag(HELD)), ("If-Match", "other")], 400),
        ([("If-Match", tag(HELD)), ("If-Match", "*")], 400),
        ([("If-None-Match", tag(b"other")), ("If-None-Match", "*")], 400),
        ([("If-None-Match", "*"), ("If-None-Match", tag(b"other"))], 400),
        ([("If-None-Match", tag(b"other")), ("If-None-Match", tag(HELD))], 412),
        ([("If-None-Match", tag(b"other")), ("If-None-Match", tag(b"another"))], 200),
        ([("Content-Digest", "sha-512=:AAAA:"), ("Content-Digest", f"sha-256=:{digest(NEW)}:")], 200),
        ([("Content-Digest", "sha-512=:AAAA:"), ("Content-Digest", f"sha-256=:{digest(b'')}:")], 422),
        ([("Content-Digest", f"sha-256=:{digest(NEW)}:"), ("Content-Digest", f"sha-256=:{digest(b'other')}:")], 400),
        ([("Repr-Digest", f"sha-256=:{digest(NEW)}:"), ("Repr-Digest", f"sha-256=:{digest(b'other')}:")], 400),
        ([("Repr-Digest", f"sha-256=:{digest(NEW)}:, sha-256=:{digest(b'other')}:")], 400),
    ],
)  # fmt: skip
def test_what_http_has_as_a_list_is_the_list(
    ground: Ground, url: str, headers: list[tuple[str, str]], status: int
) -> None:
    assert put(ground, url, *headers).status == status
    assert ground.untouched("bank") == (status != 200)


def test_a_reader_has_a_list_of_versions(ground: Ground, url: str) -> None:
    who = list(ground.headers("editor").items())
    held = [("If-None-Match", tag(b"other")), ("If-None-Match", tag(HELD))]
    assert ask(url, FILE, [*who, *held]).status == 304
    assert ask(url, FILE, [*who, ("If-Match", tag(b"other")), ("If-Match", tag(HELD))]).status == 200


BYTES = [("Content-Type", "application/octet-stream")]
CREATION = [("Tus-Resumable", "1.0.0"), ("Upload-Length", "3"), ("Upload-Metadata", named("u"))]


@pytest.mark.parametrize(
    ("method", "path", "headers", "name", "values"),
    [
        ("GET", FILE, [], "Range", ("bytes=0-0", "bytes=1-1")),
        ("GET", FILE, [("Range", "bytes=0-0")], "If-Range", (tag(HELD), tag(b"other"))),
        ("GET", FILE, [], "If-Modified-Since", ("Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT")),
        ("GET", FILE, [], "If-Unmodified-Since", ("Fri, 01 Jan 2100 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT")),
        ("PUT", FILE, [], "Content-Type", ("text/plain", "text/html")),
        ("PUT", FILE, [], "X-Devbox-Trailer", ("sha-256", "sha-256")),
        ("PATCH", FILE, [], "Content-Type", ("application/octet-stream", "text/plain")),
        ("POST", "/v1/devboxes/bank/files", [], "Content-Type", ("application/x-tar", "application/json")),
        ("POST", TUS, CREATION, "Tus-Resumable", ("0.2.2",)),
        ("POST", TUS, CREATION, "Upload-Length", ("4",)),
        ("POST", TUS, CREATION, "Upload-Metadata", (named("a.txt"),)),
        ("POST", TUS, CREATION, "Upload-Checksum", (f"sha1 {digest(NEW, 'sha1')}", f"sha1 {digest(b'', 'sha1')}")),
        ("POST", TUS, CREATION, "Content-Type", (PART, "text/plain")),
        ("PATCH", f"{TUS}/x", [("Tus-Resumable", "1.0.0"), ("Content-Type", PART)], "Upload-Offset", ("0", "1")),
        ("POST", f"{TUS}/x", [("Tus-Resumable", "1.0.0")], "X-Http-Method-Override", ("PATCH", "DELETE")),
        ("GET", "/v1/devboxes/bank/events", [], "Last-Event-Id", ("1", "2")),
        ("POST", "/api/v1/files/write?path=a.txt", [], "Content-Type", ("text/plain", "application/json")),
        ("POST", "/mcp", [], "Mcp-Session-Id", ("1", "2")),
    ],
)  # fmt: skip
def test_what_can_be_said_once_is_refused_where_it_is_said_twice(
    ground: Ground, url: str, method: str, path: str, headers: list[tuple[str, str]], name: str, values: tuple[str, ...]
) -> None:
    before = len(ground.audited())
    who = {**ground.headers("editor"), "X-Request-Id": "twice"}
    every = [*who.items(), *headers, *((name.lower(), value) for value in values)]
    reply = ask(url, path, every, method=method, body=None if method == "GET" else NEW)
    assert (reply.status, reply.code) == (400, "invalid_argument")
    assert reply.json["detail"] == f"the header {name} is sent twice"
    assert ground.untouched("bank")
    (line,) = ground.audited()[before:]
    assert (line["op"], line["path"], line["result"]) == ("request", path.partition("?")[0], "invalid_argument")
    assert (line["caller"], line["request_id"]) == ("editor", "twice")


CHUNKED = b"3\r\nnew\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "code"),
    [
        (FILE, [("Content-Encoding", "gzip")], NEW, 415, "invalid_argument"),
        (FILE, [("Content-Encoding", "identity"), ("content-encoding", "BR")], NEW, 415, "invalid_argument"),
        ("/api/v1/files/write?path=a.txt", [("Content-Encoding", "gzip")], NEW, 415, "invalid_argument"),
        (FILE, [("Transfer-Encoding", "gzip, chunked")], CHUNKED, 501, "unsupported"),
    ],
)
def test_packed_bytes_do_not_become_the_file(
    ground: Ground, url: str, path: str, headers: list[tuple[str, str]], body: bytes, status: int, code: str
) -> None:
    before = len(ground.audited())
    told = [*ground.headers("editor").items(), ("Connection", "close"), *headers]
    if body is NEW:
        told.append(("Content-Length", str(len(NEW))))
    reply = sent(url, path, told, body, method="POST" if path.startswith("/api") else "PUT")
    assert (reply.status, reply.code) == (status, code)
    assert ground.untouched("bank")
    (line,) = ground.audited()[before:]
    assert (line["op"], line["path"], line["result"]) == ("request", path.partition("?")[0], code)


@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
def test_no_coding_is_no_reason_to_refuse(ground: Ground, url: str, coding: str) -> None:
    assert put(ground, url, ("Content-Encoding", coding)).status == 200
    chunked = [*ground.headers("editor").items(), ("Connection", "close"), ("Transfer-Encoding", "Chunked")]
    assert sent(url, FILE, chunked, CHUNKED, method="PUT").status == 200


def sent(url: str, path: str, headers: list[tuple[str, str]], body: bytes, *, method: str) -> Reply:
    """Send a body as it stands, without a Content-Length of its own."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.putrequest(method, path)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders(body)
        return Reply(connection.getresponse())
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/v1/devboxes/shop/files", "/api/v1/files/batch-upload", "/api/v1/files/write"])
def test_a_part_of_a_form_says_once_what_it_is(ground: Ground, url: str, path: str) -> None:
    told = b'Content-Disposition: form-data; name="file"; filename="%s"\r\n'
    body = b"--b\r\n" + told % b"new" + told % b"a.txt" + b"\r\nnew\r\n--b--\r\n"
    who = {"Content-Type": "multipart/form-data; boundary=b", **ground.headers("jwt-editor")}
    reply = ask(url, path, who, method="POST", body=body)
    assert "Content-Disposition twice" in reply.body.decode()
    assert reply.json["code"] == "invalid_argument"
    assert ground.untouched("shop")


def test_what_decides_nothing_may_come_twice(ground: Ground, url: str) -> None:
    assert put(ground, url, ("X-Forwarded-For", "1"), ("X-Forwarded-For", "2")).status == 200


def test_of_two_names_of_a_request_neither_counts(ground: Ground, url: str) -> None:
    reply = put(ground, url, ("X-Request-Id", "one"), ("X-Request-Id", "two"))
    assert reply.status == 200
    assert reply.headers["X-Request-Id"] not in ("one", "two")
    assert ground.audited()[-1]["request_id"] == reply.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": tag(b"other"), "if-match": tag(HELD)}, 200),
        ({"If-None-Match": tag(b"other"), "IF-NONE-MATCH": "*"}, 400),
        ({"X-Devbox-Trailer": "sha-256", "x-devbox-trailer": "sha-256"}, 400),
    ],
)
def test_a_request_over_the_websocket_is_no_other(
    ground: Ground, url: str, headers: dict[str, str], status: int
) -> None:
    line = json.dumps({"id": 1, "method": "PUT", "path": "files/a.txt", "headers": headers}).encode()
    assert over_websocket(ground, url, line + b"\n" + NEW)["status"] == status
    assert ground.untouched("bank") == (status != 200)


@pytest.mark.parametrize(
    "line",
    [
        b'{"id": 1, "method": "GET", "method": "DELETE", "path": "files/a.txt"}',
        b'{"id": 1, "method": "DELETE", "path": "files/b.txt", "path": "files/a.txt"}',
        b'{"id": 1, "method": "PUT", "path": "files/a.txt", "headers": {"If-Match": "\\"1\\"", "If-Match": "*"}}',
        b'{"id": 1, "method": "DELETE", "path": "files/a.txt", "query": {"recursive": false, "recursive": true}}',
    ],
)
def test_a_key_that_a_message_has_twice_is_refused(ground: Ground, url: str, line: bytes) -> None:
    assert over_websocket(ground, url, line + b"\n" + (NEW if b"PUT" in line else b""))["status"] == 400
    assert ground.untouched("bank")


def over_websocket(ground: Ground, url: str, message: bytes) -> Any:
    """Send one message, and return the line of the answer."""
    address = f"ws{url.removeprefix('http').removesuffix('/mcp')}/v1/devboxes/bank/ws"
    with connect(
        address, subprotocols=[Subprotocol("devbox.v1")], additional_headers=ground.headers("editor")
    ) as socket:
        socket.send(message)
        answer = socket.recv(60)
        assert isinstance(answer, bytes)
        return json.loads(answer.partition(b"\n")[0])
