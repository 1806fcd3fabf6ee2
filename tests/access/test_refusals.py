"""What is refused before any operation begins is on record too."""

from __future__ import annotations

import io
import json
import socket
import tarfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from devbox_mcp.keys import new_key
from tests.access.asking import JSON, ask, rpc
from tests.access.matrix import Ground
from tests.rest.served import Client, serving

FILE = "/v1/devboxes/bank/files/a.txt"
TEXT = {"Content-Type": "text/plain"}


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ({"path": "/v1/devboxes/bank/nothing"}, 404, "not_found"),
        ({"path": "/nothing"}, 404, "not_found"),
        ({"path": "/api/v1/files/nothing"}, 404, "not_found"),
        ({"path": FILE, "method": "POST"}, 405, "method_not_allowed"),
        ({"path": "/v1/devboxes/bank/list/?limit=x"}, 400, "invalid_argument"),
        ({"path": "/v1/devboxes/bank/copy", "method": "POST", "body": b"{", "headers": JSON}, 400, "invalid_argument"),
        ({"path": FILE, "host": "elsewhere.example"}, 421, None),
        ({"path": "/mcp", "method": "POST", "body": b"{", "headers": JSON}, 400, None),
        ({"path": "/v1/devboxes/bank/copy", "method": "POST", "body": b"{}", "headers": TEXT}, 415, "invalid_argument"),
        ({"path": "/v1/devboxes/bank/files", "method": "POST", "body": b"x", "headers": TEXT}, 415, "invalid_argument"),
        ({"path": FILE, "method": "PATCH", "body": b"x", "headers": TEXT}, 415, "invalid_argument"),
    ],
    ids=lambda value: value.get("path") if isinstance(value, dict) else None,
)
def test_a_refusal_leaves_one_line(
    ground: Ground, url: str, how: dict[str, Any], status: int, code: str | None
) -> None:
    before = len(ground.audited())
    headers = {**how.pop("headers", {}), **ground.headers("editor"), "X-Request-Id": "refused-1"}
    reply = ask(url, headers=headers, **how)
    assert reply.status == status
    (line,) = ground.audited()[before:]
    assert (line["op"], line["path"], line["request_id"]) == ("request", how["path"].partition("?")[0], "refused-1")
    assert line["result"] == (code or reply.code or "bad_request")
    assert line["caller"] == ("anonymous" if status == 421 else "editor")


def test_what_an_operation_recorded_is_not_told_again(ground: Ground, url: str) -> None:
    before = len(ground.audited())
    assert ask(url, "/v1/devboxes/bank/files/gone.txt", ground.headers("editor")).status == 404
    assert ask(url, "/v1/devboxes/gone/files/a.txt", ground.headers("editor")).status == 404
    assert ask(url, FILE).status == 401
    assert [line["op"] for line in ground.audited()[before:]] == ["read", "read", "authenticate"]


def test_a_success_and_a_probe_leave_none(ground: Ground, url: str) -> None:
    before = len(ground.audited())
    assert ask(url, "/healthz").status == 200
    assert ask(url, "/v1/devboxes", ground.headers("editor")).status == 200
    assert ground.audited()[before:] == []


def test_a_key_that_is_taken_for_a_path_is_in_no_line(ground: Ground, url: str) -> None:
    before = len(ground.audited())
    key = new_key()
    assert ask(url, f"/v1/devboxes/bank/files/{key}", ground.headers("editor")).status == 404
    body = json.dumps({"source": "a.txt", "destination": f"d/{key}"}).encode()
    assert (
        ask(url, "/v1/devboxes/bank/move", {**JSON, **ground.headers("editor")}, method="POST", body=body).status < 300
    )
    read, move = ground.audited()[before:]
    assert (read["op"], read["path"]) == ("read", "(a key)")
    assert (move["op"], move["destination"]) == ("move", "d/(a key)")


def test_a_line_is_bounded_and_holds_no_key(ground: Ground, url: str) -> None:
    before = len(ground.audited())
    key = new_key()
    assert ask(url, f"/{key}/" + "x" * 5000, ground.headers("editor")).status == 404
    (line,) = ground.audited()[before:]
    assert key not in line["path"]
    assert len(line["path"]) <= 1000


def test_what_never_becomes_a_request_leaves_a_line(ground: Ground, url: str) -> None:
    before = len(ground.audited())
    assert ask(url, FILE, {"X-Long": "x" * 40_000}).status == 431
    (line,) = ground.audited()[before:]
    assert (line["caller"], line["op"], line["result"]) == ("anonymous", "request", "too_large")


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"If-Match": '"other"'}, 412), ({"Range": "bytes=5000-"}, 416), ({"If-None-Match": "nonsense"}, 400)],
    ids=["if-match", "range", "if-none-match"],
)
def test_a_read_whose_content_is_not_sent_is_on_record_as_refused(
    ground: Ground, url: str, headers: dict[str, str], status: int
) -> None:
    before = len(ground.audited())
    reply = ask(url, FILE, {**headers, **ground.headers("editor")})
    assert reply.status == status
    refused = [line for line in ground.audited()[before:] if line["result"] != "ok"]
    assert [(line["op"], line["path"], line["result"]) for line in refused] == [("request", FILE, reply.code)]


@pytest.mark.parametrize("path", ["/mcp", "/v1/devboxes/bank/files"], ids=["mcp", "batch"])
@pytest.mark.parametrize("sent", [b"3\r\n{  \r\n", b"3\r\n{  \r\nnonsense\r\n"], ids=["ended", "nonsense"])
def test_a_body_that_breaks_off_leaves_one_line(ground: Ground, url: str, path: str, sent: bytes) -> None:
    before = len(ground.audited())
    address = urlsplit(url)
    headers = {**JSON, **ground.headers("editor"), "Host": address.netloc, "Transfer-Encoding": "chunked"}
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    with socket.create_connection((address.hostname, address.port), 30) as connection:
        connection.sendall(head.encode() + sent)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1000):
            pass
    give_up = time.monotonic() + 30
    while not (lines := ground.audited()[before:]):
        assert time.monotonic() < give_up
        time.sleep(0.01)
    assert ask(url, "/nothing", ground.headers("editor")).status == 404  # what was to be written before is
    lines = ground.audited()[before:]
    assert [(line["path"], line["result"]) for line in lines[:-1]] == [(path, "cancelled")]


def test_who_asks_too_much_leaves_a_line(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    log, audit = tmp_path / "log", tmp_path / "audit"
    with serving(log, f"main={tmp_path / 'box'}", "--rate-operations", "1", "--audit-log", str(audit)) as port:
        client = Client(port, tmp_path / "box")
        answers = [client("GET", f"/nothing/{number}", X_Request_Id=f"n-{number}") for number in range(20)]
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [line["request_id"] for line in lines] == [f"n-{number}" for number in range(20)]
    assert [line["path"] for line in lines] == [f"/nothing/{number}" for number in range(20)]
    assert [line["result"] for line in lines] == [answer.code for answer in answers]
    assert "rate_limited" in {answer.code for answer in answers}


def test_a_path_that_leads_out_is_on_record_as_it_was_asked_for(ground: Ground, url: str) -> None:
    before = len(ground.audited())
    who = {**JSON, **ground.headers("editor")}
    body = json.dumps({"source": "a.txt", "destination": "/etc/cron.d/x"}).encode()
    assert ask(url, "/v1/devboxes/bank/move", who, method="POST", body=body).code == "escapes_root"
    files = [{"path": "../x", "content": ""}, {"path": "dir/new", "content": ""}]
    body = json.dumps({"files": files}).encode()
    assert ask(url, "/v1/devboxes/bank/files", who, method="POST", body=body).json["failed"] == 1
    rpc(url, ground.headers("editor"), "tools/call", name="read_file", arguments={"path": "/etc/x", "devbox": "bank"})
    rpc(url, ground.headers("token"), "tools/call", name="read_file", arguments={"path": "/etc/y"})
    told = [(line["op"], line["devbox"], line["path"], line["result"]) for line in ground.audited()[before:]]
    assert told == [
        ("move", "bank", "/etc/cron.d/x", "escapes_root"),
        ("upload_batch", "bank", "../x", "escapes_root"),
        ("write", "bank", "dir/new", "ok"),
        ("read", "bank", "/etc/x", "escapes_root"),
        ("read", "", "/etc/y", "escapes_root"),
    ]


@pytest.mark.parametrize("tool", ["read_file", "upload_batch"])
def test_a_call_of_a_tool_that_makes_no_sense_leaves_one_line(ground: Ground, url: str, tool: str) -> None:
    before = len(ground.audited())
    who = {**ground.headers("editor"), "X-Request-Id": "call-1"}
    reply = rpc(url, who, "tools/call", name=tool, arguments={"unknown": 1})
    (line,) = ground.audited()[before:]
    assert (line["op"], line["path"], line["result"]) == ("call", tool, "invalid_argument"), reply.body
    assert (line["caller"], line["request_id"]) == ("editor", "call-1")


def test_a_member_of_an_archive_that_leads_out_is_on_record(ground: Ground, url: str) -> None:
    before = len(ground.audited())
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("../out", "dir/in"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
        link = tarfile.TarInfo("dir/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(link)
    who = {"Content-Type": "application/x-tar", **ground.headers("editor")}
    reply = ask(url, "/v1/devboxes/bank/files", who, method="POST", body=packed.getvalue())
    assert (reply.status, reply.json["failed"]) == (200, 2)
    told = [(line["op"], line["path"], line["result"]) for line in ground.audited()[before:]]
    assert sorted(told) == [
        ("upload_batch", "../out", "escapes_root"),
        ("upload_batch", "dir/link", "unsupported"),
        ("write", "dir/in", "ok"),
    ]
