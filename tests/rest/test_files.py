"""Reading, writing, appending to and deleting files."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import socket
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.rest.served import Answer, Client, answer

LARGE = os.urandom(3 << 20)
"""more than is gathered"""


def tag(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()}"'


def digest(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


# -- reading


@pytest.mark.parametrize("data", [b"", b"hello\n", LARGE], ids=["empty", "small", "large"])
def test_a_file_comes_as_it_is_with_what_is_known_of_it(ask: Client, data: bytes) -> None:
    (ask.box / "a.txt").write_bytes(data)
    found = ask("GET", "files/a.txt")
    assert (found.status, found.body) == (200, data)
    assert found.headers["etag"] == tag(data)
    assert found.headers["accept-ranges"] == "bytes"
    assert found.headers["content-type"] == "text/plain"
    info = json.loads(found.headers["x-devbox-info"])
    assert (info["path"], info["size"], info["mode"]) == ("a.txt", len(data), "0644")
    assert f'"{info["sha256"]}"' == tag(data)


@pytest.mark.parametrize("data", [b"", b"hello\n", LARGE], ids=["empty", "small", "large"])
def test_head_says_what_get_does_without_the_body(ask: Client, data: bytes) -> None:
    (ask.box / "a.txt").write_bytes(data)
    get, head = ask("GET", "files/a.txt"), ask("HEAD", "files/a.txt")
    assert head.body == b""
    passing = {"date", "x-request-id"}
    assert {k: v for k, v in head.headers.items() if k not in passing} == {
        k: v for k, v in get.headers.items() if k not in passing
    }


def test_download_has_a_browser_save_it_under_its_name(ask: Client) -> None:
    (ask.box / "Überblick.html").write_text("x")
    found = ask("GET", "files/%C3%9Cberblick.html?download=1")
    assert found.headers["content-disposition"] == "attachment; filename*=UTF-8''%C3%9Cberblick.html"
    assert found.headers["content-security-policy"] == "sandbox"


@pytest.mark.parametrize("data", [bytes(range(100)), LARGE], ids=["small", "large"])
@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("0-9", 0, 10), ("90-", 90, None), ("-7", -7, None), ("5-5", 5, 6), ("1-999999999", 1, None)],
)
def test_one_range_is_answered_with_its_bytes(
    ask: Client, data: bytes, asked: str, first: int, last: int | None
) -> None:
    (ask.box / "a").write_bytes(data)
    found = ask("GET", "files/a", Range=f"bytes={asked}")
    assert (found.status, found.body) == (206, data[first:last])
    start = range(len(data))[first]
    assert found.headers["content-range"] == f"bytes {start}-{start + len(found.body) - 1}/{len(data)}"
    assert found.headers["etag"] == tag(data)


@pytest.mark.parametrize(
    "asked", ["lines=1-2", "bytes=a-b", "bytes=5", "bytes=9-2", "bytes=0-1,3-4", "bytes=-", "", "x"]
)
def test_other_ranges_are_answered_with_the_whole(ask: Client, asked: str) -> None:
    (ask.box / "a").write_bytes(b"0123456789")
    found = ask("GET", "files/a", Range=asked)
    assert (found.status, found.body) == (200, b"0123456789")


@pytest.mark.parametrize(
    ("data", "asked"), [(b"0123456789", "10-"), (b"0123", "-0"), (b"", "0-"), (LARGE, "999999999-")]
)
def test_a_range_behind_the_end_is_416_and_says_the_size(ask: Client, data: bytes, asked: str) -> None:
    (ask.box / "a").write_bytes(data)
    found = ask("GET", "files/a", Range=f"bytes={asked}")
    assert (found.status, found.code) == (416, "range_not_satisfiable")
    assert found.headers["content-range"] == f"bytes */{len(data)}"


@pytest.mark.parametrize("data", [b"hello", LARGE], ids=["small", "large"])
def test_conditions_of_a_reader(ask: Client, data: bytes) -> None:
    (ask.box / "a").write_bytes(data)
    os.utime(ask.box / "a", (1_700_000_000, 1_700_000_000))
    date = ask("HEAD", "files/a").headers["last-modified"]
    assert date == "Tue, 14 Nov 2023 22:13:20 GMT"
    other = '"' + "0" * 64 + '"'

    def status(method: str = "GET", **headers: str) -> int:
        return ask(method, "files/a", **headers).status

    assert status(If_None_Match=tag(data)) == status(If_None_Match=f"{other}, W/{tag(data)}") == 304
    assert status(If_None_Match="*") == status("HEAD", If_None_Match=tag(data)) == 304
    assert status(If_None_Match=other) == 200
    assert status(If_Modified_Since=date) == 304
    assert status(If_Modified_Since="Tue, 14 Nov 2023 22:13:19 GMT") == 200
    assert status(If_Modified_Since="yesterday") == 200
    assert status(If_None_Match=other, If_Modified_Since=date) == 200
    assert status(If_Match=tag(data)) == status(If_Match=tag(data)[:13] + '"') == status(If_Match="*") == 200
    assert status(If_Match=other) == status(If_Match=f"W/{tag(data)}") == 412
    assert status(If_Match="no quotes") == status(If_None_Match='"unclosed') == 400
    assert status(If_Unmodified_Since="Tue, 14 Nov 2023 22:13:19 GMT") == 412
    assert status(Range="bytes=0-1", If_Range=tag(data)) == status(Range="bytes=0-1", If_Range=date) == 206
    assert status(Range="bytes=0-1", If_Range=other) == 200
    assert status(Range="bytes=0-1", If_Range="Tue, 14 Nov 2023 22:13:19 GMT") == 200


def test_304_carries_the_version_and_no_body(ask: Client) -> None:
    (ask.box / "a").write_bytes(b"hello")
    found = ask("GET", "files/a", If_None_Match=tag(b"hello"))
    assert (found.headers["etag"], found.body) == (tag(b"hello"), b"")
    assert "last-modified" in found.headers


def test_a_file_over_the_transfer_limit_has_a_weak_tag_of_its_revision(ask: Client) -> None:
    (ask.box / "a").write_bytes(b"x" * (7 << 20))
    found = ask("GET", "files/a", Range="bytes=0-9")
    assert found.headers["etag"].startswith('W/"')
    assert ask("GET", "files/a", If_None_Match=found.headers["etag"]).status == 304
    assert ask("GET", "files/a", Range="bytes=0-9", If_Range=found.headers["etag"]).status == 200


def test_a_tag_is_of_the_bytes_that_are_there_now(ask: Client) -> None:
    for data in (LARGE, LARGE[::-1], LARGE):
        ask("PUT", "files/a", data)
        for _ in range(2):
            found = ask("GET", "files/a")
            assert (found.body == data, found.headers["etag"]) == (True, tag(data))


def test_a_tag_is_right_after_a_rewrite_in_place_that_keeps_size_and_time(ask: Client) -> None:
    """The revision is all that a remembered hash is known by; the time of the inode's change is in it."""
    file = ask.box / "a"
    for data in (LARGE, LARGE[::-1]):
        with file.open("r+b" if file.exists() else "wb") as opened:
            opened.write(data)
        os.utime(file, (1_700_000_000, 1_700_000_000))
        assert ask("GET", "files/a", Range="bytes=0-0").headers["etag"] == tag(data)


def test_a_file_changed_in_place_while_it_is_read_breaks_the_connection(ask: Client) -> None:
    data = b"x" * (64 << 20)  # more than the kernel takes from the server before anybody reads
    (ask.box / "a").write_bytes(data)
    with ask.connect() as connection:
        connection.sendall(ask.head("GET", "files/a", {}))
        response = http.client.HTTPResponse(connection)
        response.begin()
        begun = response.read(1)
        with (ask.box / "a").open("r+b") as file:
            file.write(b"y" * len(data))
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            begun += response.read()


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("files/nothing", 404, "not_found"),
        ("files/directory", 409, "is_directory"),
        ("files/", 409, "is_directory"),
        ("files/fifo", 501, "unsupported"),
        ("files/out", 403, "escapes_root"),
        ("files/loop", 409, "too_many_links"),
        ("files/secrets/key", 403, "denied"),
        ("files/a.txt/b", 409, "not_directory"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_cannot_be_read_says_why(ask: Client, method: str, target: str, status: int, code: str) -> None:
    (ask.box / "directory").mkdir()
    (ask.box / "a.txt").write_text("")
    (ask.box / "secrets").mkdir()
    (ask.box / "secrets" / "key").write_text("k")
    os.mkfifo(ask.box / "fifo")
    (ask.box / "out").symlink_to("../secret.txt")
    (ask.box / "loop").symlink_to("loop")
    found = ask(method, target)
    assert found.status == status
    if method == "GET":
        assert found.code == code


# -- writing


@pytest.mark.parametrize("data", [b"", b"hello\n", LARGE], ids=["empty", "small", "large"])
def test_a_body_becomes_the_file(ask: Client, data: bytes) -> None:
    new = ask("PUT", "files/deep/er/a.txt", data)
    assert (new.status, new.headers["etag"], new.json()["created"]) == (201, tag(data), True)
    assert (ask.box / "deep/er/a.txt").read_bytes() == data
    again = ask("PUT", "files/deep/er/a.txt", b"other")
    assert (again.status, again.json()["created"]) == (200, False)
    assert (ask.box / "deep/er/a.txt").read_bytes() == b"other"


def test_a_chunked_body_of_unknown_length_becomes_the_file(ask: Client) -> None:
    chunks = [LARGE[:1000], LARGE[1000:]]
    with ask.connect() as connection:
        connection.sendall(ask.head("PUT", "files/a", {"Transfer-Encoding": "chunked"}))
        for chunk in chunks:
            connection.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        connection.sendall(b"0\r\n\r\n")
        assert answer(connection).status == 201
    assert (ask.box / "a").read_bytes() == LARGE


def test_executable_and_in_place_are_asked_for_in_the_query(ask: Client) -> None:
    ask("PUT", "files/run?executable=true", b"#!/bin/sh\n")
    assert os.stat(ask.box / "run").st_mode & 0o111
    before = os.stat(ask.box / "run").st_ino
    ask("PUT", "files/run?in_place=true&executable=false", b"x")
    after = os.stat(ask.box / "run")
    assert (after.st_ino, after.st_mode & 0o111) == (before, 0)


def test_if_match_is_compare_and_set(ask: Client) -> None:
    ask("PUT", "files/a", b"one")
    stale = ask("PUT", "files/a", b"two", If_Match='"' + "0" * 64 + '"')
    assert (stale.status, stale.code) == (412, "conflict")
    assert f'"{stale.json()["data"]["sha256"]}"' == tag(b"one")
    assert (ask.box / "a").read_bytes() == b"one"
    assert ask("PUT", "files/a", b"two", If_Match=tag(b"one")[:13] + '"').status == 200
    assert ask("PUT", "files/a", b"three", If_Match=f'"{"0" * 64}", {tag(b"two")}').status == 200
    assert ask("PUT", "files/a", b"four", If_Match="*").status == 200
    assert ask("PUT", "files/new", b"x", If_Match="*").status == 412
    assert ask("PUT", "files/new", b"x", If_Match=tag(b"x")).status == 412
    assert ask("PUT", "files/a", b"five", If_Match=f"W/{tag(b'four')}").status == 412
    assert ask("PUT", "files/a", b"five", If_Match='"short"').status == 400
    assert ask("PUT", "files/a", b"five", If_Match="nonsense").status == 400
    assert ask("PUT", "files/a", b"five", If_None_Match=tag(b"four")).status == 412
    assert (ask.box / "a").read_bytes() == b"four"
    assert not (ask.box / "new").exists()


def test_if_none_match_star_writes_only_where_nothing_is(ask: Client) -> None:
    assert ask("PUT", "files/a", b"one", If_None_Match="*").status == 201
    found = ask("PUT", "files/a", b"two", If_None_Match="*")
    assert (found.status, found.code) == (412, "exists")
    assert (ask.box / "a").read_bytes() == b"one"


@pytest.mark.parametrize("data", [b"hello", LARGE], ids=["small", "large"])
@pytest.mark.parametrize("name", ["Content-Digest", "Repr-Digest"])
def test_a_body_with_another_digest_leaves_the_old_file(ask: Client, name: str, data: bytes) -> None:
    ask("PUT", "files/a", b"old")
    found = ask("PUT", "files/a", data, {name: digest(b"another")})
    assert (found.status, found.code) == (422, "integrity")
    assert list(os.listdir(ask.box)) == ["a"]
    assert (ask.box / "a").read_bytes() == b"old"
    assert ask("PUT", "files/a", data, {name: f"sha-512=:abc:, {digest(data)}"}).status == 200
    assert (ask.box / "a").read_bytes() == data


@pytest.mark.parametrize("value", ["sha-256=abc", "sha-256=:abc:", "sha-256=::", "sha-256="])
def test_a_digest_that_is_none_is_refused(ask: Client, value: str) -> None:
    assert ask("PUT", "files/a", b"x", Content_Digest=value).code == "invalid_argument"
    assert not (ask.box / "a").exists()


@pytest.mark.parametrize("sent", [0, 10, 2 << 20])
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_body_that_breaks_off_leaves_the_old_file(ask: Client, method: str, sent: int) -> None:
    ask("PUT", "files/a", b"old")
    name = f"broken-{method}-{sent}"
    headers = {"Content-Length": str(4 << 20), "Content-Type": "application/octet-stream", "X-Request-Id": name}
    with ask.connect() as connection:
        connection.sendall(ask.head(method, "files/a", headers) + bytes(sent))
    assert ask.logged(name)["status"] == 499
    assert os.listdir(ask.box) == ["a"]
    assert (ask.box / "a").read_bytes() == b"old"


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_the_limit_is_refused_and_names_it(ask: Client, declared: bool) -> None:
    ask("PUT", "files/a", b"old")
    size = (8 << 20) + 1
    with ask.connect() as connection:
        if declared:
            connection.sendall(ask.head("PUT", "files/a", {"Content-Length": str(size)}))
        else:
            connection.sendall(ask.head("PUT", "files/a", {"Transfer-Encoding": "chunked"}))
            connection.sendall(b"%x\r\n" % size + bytes(size))
        found = answer(connection)
    assert (found.status, found.code, found.json()["data"]["limit"]) == (413, "too_large", 8 << 20)
    assert (ask.box / "a").read_bytes() == b"old"


def test_the_sha256_behind_a_body_does_not_count(ask: Client) -> None:
    most = 8 << 20
    for size, status in ((most, 201), (most + 1, 413)):
        data = bytes(size)
        found = ask("PUT", "files/a", data + hashlib.sha256(data).digest(), X_Devbox_Trailer="sha-256")
        assert found.status == status
    assert found.json()["detail"].startswith(f"the body is larger than {most} bytes")
    assert found.json()["data"]["limit"] == most
    assert (ask.box / "a").stat().st_size == most


def test_patch_appends(ask: Client) -> None:
    binary = {"Content-Type": "application/octet-stream"}
    assert ask("PATCH", "files/a", b"one\n", binary).status == 201
    assert ask("PATCH", "files/a", b"two\n", binary).status == 200
    assert ask("PATCH", "files/a", b"three\n", {**binary, "If-Match": tag(b"nothing")}).status == 412
    assert ask("PATCH", "files/a", b"x", {**binary, "If-None-Match": "*"}).status == 412
    assert (ask.box / "a").read_bytes() == b"one\ntwo\n"
    found = ask("PATCH", "files/a", b"{}", {"Content-Type": "application/json"})
    assert (found.status, found.code) == (415, "invalid_argument")


_BINARY = {"Content-Type": "application/octet-stream"}


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_part_of_a_file_does_not_become_the_whole(ask: Client, method: str) -> None:
    ask("PUT", "files/a", b"0123456789")
    found = ask(method, "files/a", b"89", {**_BINARY, "Content-Range": "bytes 8-9/10"})
    assert (found.status, found.code) == (400, "invalid_argument")
    assert (ask.box / "a").read_bytes() == b"0123456789"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_what_was_changed_after_a_date_stays(ask: Client, method: str) -> None:
    (ask.box / "a").write_bytes(b"old")
    os.utime(ask.box / "a", (1_600_000_000.9, 1_600_000_000.9))
    body, headers = (b"", {}) if method == "DELETE" else (b"new", _BINARY)
    before, then = (formatdate(seconds, usegmt=True) for seconds in (1_599_999_999, 1_600_000_000))
    found = ask(method, "files/a", body, {**headers, "If-Unmodified-Since": before})
    assert (found.status, found.code, found.json()["data"]["sha256"]) == (
        412,
        "conflict",
        hashlib.sha256(b"old").hexdigest(),
    )
    assert (ask.box / "a").read_bytes() == b"old"
    # a date is nothing beside a version, and is not looked at where it is none
    if method == "PUT":
        both = {**headers, "If-Unmodified-Since": before, "If-Match": tag(b"old")}
        assert ask(method, "files/a", b"old", both).status == 200
        os.utime(ask.box / "a", (1_600_000_000.9, 1_600_000_000.9))
        assert ask(method, "files/a", b"old", {**headers, "If-Unmodified-Since": "yesterday"}).status == 200
        os.utime(ask.box / "a", (1_600_000_000.9, 1_600_000_000.9))
    assert ask(method, "files/a", body, {**headers, "If-Unmodified-Since": then}).status == 200


def test_what_is_not_there_has_no_date(ask: Client) -> None:
    old = formatdate(0, usegmt=True)
    assert ask("PUT", "files/new", b"x", If_Unmodified_Since=old).status == 201
    assert ask("DELETE", "files/none", If_Unmodified_Since=old).code == "not_found"


# -- deleting


def test_delete_counts_what_went(ask: Client) -> None:
    ask("PUT", "files/d/a", b"1")
    ask("PUT", "files/d/b", b"2")
    assert ask("DELETE", "files/d").code == "not_empty"
    assert ask("DELETE", "files/d/a", If_Match=tag(b"2")).status == 412
    assert ask("DELETE", "files/d/a", If_Match=tag(b"1")).json() == {"deleted": 1}
    assert ask("DELETE", "files/d?recursive=true").json() == {"deleted": 2}
    assert ask("DELETE", "files/d").code == "not_found"
    assert ask("DELETE", "files/", b"").code == "invalid_argument"
    assert ask("DELETE", "files/d", If_None_Match="*").code == "invalid_argument"


@pytest.mark.parametrize(("method", "target"), [("DELETE", "files/a"), ("PUT", "directories/new")])
def test_what_takes_no_body_changes_nothing_where_one_comes_or_breaks_off(
    ask: Client, method: str, target: str
) -> None:
    (ask.box / "a").write_bytes(b"kept")
    assert ask(method, target, b"{}").code == "invalid_argument"
    with ask.connect() as connection:
        connection.sendall(ask.head(method, target, {"Content-Length": "10"}))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    assert [entry.name for entry in ask.box.iterdir()] == ["a"]


def test_a_link_is_deleted_itself(ask: Client) -> None:
    ask("PUT", "files/a", b"1")
    (ask.box / "link").symlink_to("a")
    assert ask("DELETE", "files/link").json() == {"deleted": 1}
    assert (ask.box / "a").exists()


# -- addresses


ODD_NAMES = [
    b"a b",
    b"%41",
    b"a?b",
    b"a#b",
    b"a\nb",
    b"\xff\xfe",
    b"\xc0\xaf",
    b"a\\..\\b",
    "é".encode(),
    b"a;b=c",
    b"...",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_every_name_survives_byte_by_byte(ask: Client, name: bytes) -> None:
    encoded = "".join(f"%{byte:02X}" for byte in name)
    assert ask("PUT", f"files/{encoded}", b"content").status == 201
    assert os.listdir(os.fsencode(ask.box)) == [name]
    assert ask("GET", f"files/{encoded}").body == b"content"
    info = ask("GET", f"stat/{encoded}").json()
    text = name.decode("utf-8", "surrogateescape")
    assert info["path"] == (text if text.isprintable() else f"devbox://main/{info['path'].rpartition('/')[2]}")
    moved = ask.post("move", {"source": info["path"], "destination": "plain"})
    assert moved.status == 200
    assert os.listdir(ask.box) == ["plain"]


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt", "%2e%2e/secret.txt", "..%2fsecret.txt", "d/%2E%2E/%2e%2e/secret.txt", "a%2fb", "a%2Fb", "a//b",
        "/a", "a/", "./a", "a/./b", "a/%2e/b", "a%00b", "%", "a%", "a%4", "a%zz", "a" * 5000, "a/" * 2500 + "a",
        "a\\b", 'a"b', "a<b", "%2e%2e%2f%2e%2e%2fsecret.txt", "d/../../secret.txt", ".devbox-mcp-x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_address_that_could_be_taken_for_another_is_refused(ask: Client, method: str, path: str) -> None:
    (ask.box / "d").mkdir()
    found = ask(method, f"files/{path}", b"x" if method == "PUT" else b"")
    assert 400 <= found.status < 500, found
    assert found.code in ("invalid_argument", "escapes_root", "not_found", "denied")
    assert os.listdir(ask.box) == ["d"]
    assert (ask.box.parent / "secret.txt").read_text() == "not yours"


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("GET", "/v1/devboxes/nowhere/files/a", 404, "not_found"),
        ("GET", "/v1/devboxes/main%2ffiles/a", 404, "not_found"),
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "nothing/a", 404, "not_found"),
        ("POST", "files/a", 405, "method_not_allowed"),
        ("TRACE", "files/a", 405, "method_not_allowed"),
        ("GET", "files/a?unknown=1", 400, "invalid_argument"),
        ("GET", "files/a?download=perhaps", 400, "invalid_argument"),
        ("GET", "files/a?download=1&download=0", 400, "invalid_argument"),
    ],
)  # fmt: skip
def test_what_is_no_address_of_ours_is_told(ask: Client, method: str, target: str, status: int, code: str) -> None:
    found = ask(method, target)
    assert (found.status, found.code) == (status, code)


def test_a_request_keeps_the_id_that_it_came_with(ask: Client) -> None:
    assert ask("GET", "stat/", X_Request_Id="abc-1.2_3").headers["x-request-id"] == "abc-1.2_3"
    assert ask("GET", "stat/", X_Request_Id="no spaces").headers["x-request-id"] != "no spaces"


def test_a_devbox_has_only_its_own_files(ask: Client, ground: Path) -> None:
    other: Answer = Client(ask.port, ground / "other", devbox="other")("PUT", "files/x", b"other")
    assert other.status == 201
    assert ask("GET", "files/x").status == 404
    ask("DELETE", "/v1/devboxes/other/files/x")
