"""The protocol's own cases, by hand."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from .serving import CONTENT, VERSION, Raw, metadata, served


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def checksum(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, data).digest()).decode()}"


def refused(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The answer is this error, told as a problem, and still speaks tus."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["tus-resumable"] == VERSION
    told: dict[str, Any] = answer.json()
    assert (told["code"], told["status"]) == (code, status)
    assert told["detail"]
    return told


# -- what is spoken


def test_options_tell_what_is_spoken(raw: Raw) -> None:
    answer = raw.send("OPTIONS", raw.uploads, tus_resumable=None)
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == VERSION
    assert answer.headers["tus-extension"] == "creation,creation-with-upload,termination,checksum,expiration"
    assert answer.headers["tus-max-size"] == str(200 << 20)
    assert answer.headers["tus-checksum-algorithm"] == "sha1,sha256"


@pytest.mark.parametrize("version", [None, "", "0.2.2", "1.0", "2.0.0"])
@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
def test_another_version_is_refused(raw: Raw, method: str, version: str | None) -> None:
    url = raw.uploads if method == "POST" else raw.begin("version", 3)
    answer = raw.send(method, url, tus_resumable=version, upload_length="3", upload_metadata=metadata(path="version"))
    assert answer.status_code == 412
    assert answer.headers["tus-version"] == VERSION
    if method != "POST":
        assert raw.offset(url) == 0


# -- creation


def test_an_upload_is_created_and_nothing_is_seen(raw: Raw) -> None:
    answer = raw.create("d/created", 10)
    assert answer.status_code == 201
    assert answer.content == b""
    assert answer.headers["tus-resumable"] == VERSION
    assert answer.headers["upload-offset"] == "0"
    expires = parsedate_to_datetime(answer.headers["upload-expires"])
    assert timedelta(hours=23) < expires - datetime.now(UTC) < timedelta(hours=25)
    assert list((raw.root / "d").iterdir()) == [raw.root / "d" / raw.hidden()[0]]
    url = str(httpx2.URL(raw.uploads).join(answer.headers["location"]))
    looked = raw.send("HEAD", url)
    assert (looked.status_code, looked.headers["upload-offset"], looked.headers["upload-length"]) == (200, "0", "10")
    assert looked.headers["cache-control"] == "no-store"


def test_an_empty_file_is_complete_at_once(raw: Raw) -> None:
    answer = raw.create("empty", 0)
    assert answer.status_code == 201
    assert answer.headers["etag"] == f'"{sha256(b"")}"'
    assert (raw.root / "empty").read_bytes() == b""
    assert raw.hidden() == []


def test_creation_may_bring_bytes(raw: Raw) -> None:
    headers = {"upload_length": "8", "upload_metadata": metadata(path="brought"), "content_type": CONTENT}
    answer = raw.send("POST", raw.uploads, b"four", **headers)
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, "4")
    raw.add(str(httpx2.URL(raw.uploads).join(answer.headers["location"])), 4, b"more")
    assert (raw.root / "brought").read_bytes() == b"fourmore"
    headers["upload_metadata"] = metadata(path="at-once")
    answer = raw.send("POST", raw.uploads, b"all of 8", **headers)
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, "8")
    assert answer.headers["etag"] == f'"{sha256(b"all of 8")}"'
    assert (raw.root / "at-once").read_bytes() == b"all of 8"


def test_creation_with_bytes_that_are_refused_leaves_nothing(raw: Raw) -> None:
    headers = {"upload_length": "8", "upload_metadata": metadata(path="nothing"), "content_type": CONTENT}
    refused(raw.send("POST", raw.uploads, b"four", **headers, upload_checksum=checksum(b"five")), 460, "integrity")
    refused(raw.send("POST", raw.uploads, b"more than eight", **headers), 413, "too_large")
    refused(
        raw.send("POST", raw.uploads, b"four", **{**headers, "content_type": "text/plain"}), 415, "invalid_argument"
    )
    assert (raw.hidden(), (raw.root / "nothing").exists()) == ([], False)


@pytest.mark.parametrize(
    "headers",
    [
        {"upload_metadata": metadata(path="x")},
        {"upload_metadata": metadata(path="x"), "upload_length": ""},
        {"upload_metadata": metadata(path="x"), "upload_length": "-1"},
        {"upload_metadata": metadata(path="x"), "upload_length": "1.5"},
        {"upload_metadata": metadata(path="x"), "upload_length": "9" * 40},
        {"upload_metadata": metadata(path="x"), "upload_defer_length": "1"},
        {"upload_metadata": metadata(path="x"), "upload_length": "1", "upload_concat": "partial"},
        {"upload_length": "1"},
        {"upload_length": "1", "upload_metadata": ""},
        {"upload_length": "1", "upload_metadata": "path"},
        {"upload_length": "1", "upload_metadata": "path !!!"},
        {"upload_length": "1", "upload_metadata": "path eA==,path eA=="},
        {"upload_length": "1", "upload_metadata": metadata(path="x") + ","},
        {"upload_length": "1", "upload_metadata": metadata(filetype="text/plain")},
        {"upload_length": "1", "upload_metadata": metadata(path="x", mode="append")},
        {"upload_length": "1", "upload_metadata": metadata(path="x", executable="yes")},
        {"upload_length": "1", "upload_metadata": metadata(path="x", if_match="abc")},
        {"upload_length": "1", "upload_metadata": metadata(path="x", sha256="abc")},
        {"upload_length": "1", "upload_metadata": metadata(path="nul\0")},
        {"upload_length": "1", "upload_metadata": metadata(path="devbox://other/x")},
        {"upload_length": "1", "upload_metadata": metadata(path=".devbox-mcp-mine")},
    ],
)
def test_a_creation_that_makes_no_sense_is_refused(raw: Raw, headers: dict[str, str]) -> None:
    refused(raw.send("POST", raw.uploads, **headers), 400, "invalid_argument")
    assert raw.hidden() == []


@pytest.mark.parametrize("path", ["../x", "/etc/x", "d/../../x"])
def test_nothing_is_uploaded_to_the_outside(raw: Raw, path: str) -> None:
    refused(raw.create(path, 1), 403, "escapes_root")


def test_a_file_over_the_limit_is_refused_at_once(raw: Raw) -> None:
    refused(raw.create("huge", (200 << 20) + 1), 413, "too_large")
    assert raw.hidden() == []


def test_what_can_be_refused_is_refused_at_once(raw: Raw) -> None:
    (raw.root / "there").write_bytes(b"old")
    refused(raw.create("there", 1, mode="create"), 409, "exists")
    told = refused(raw.create("there", 1, if_match="0" * 12), 412, "conflict")
    assert told["data"]["sha256"] == sha256(b"old")
    assert raw.hidden() == []


@pytest.mark.parametrize("name", ["plain", "ümlaut ☃", "a,b;c d", "%2e%2e", "line\nbreak", "deep/er/name", b"\xff\xfe"])
def test_any_name_is_a_name(raw: Raw, name: str | bytes) -> None:
    url = raw.begin(name, 4)
    assert raw.add(url, 0, b"data").status_code == 204
    assert Path(os.path.join(os.fsencode(raw.root), os.fsencode(name)).decode("utf-8", "surrogateescape")).is_file()


def test_a_name_may_be_absolute_or_a_uri(raw: Raw) -> None:
    for path in (f"{raw.root}/absolute", "devbox://box/by%20uri"):
        assert raw.add(raw.begin(path, 1), 0, b"x").status_code == 204
    assert (raw.root / "absolute").exists()
    assert (raw.root / "by uri").exists()


def test_what_clients_tell_beside_is_passed_over(raw: Raw) -> None:
    told = metadata(filename="beside", filetype="image/png", name="beside") + ",relativePath bnVsbA==,empty"
    answer = raw.send("POST", raw.uploads, upload_length="0", upload_metadata=told)
    assert answer.status_code == 201
    assert (raw.root / "beside").exists()


def test_the_options_of_a_write(raw: Raw) -> None:
    (raw.root / "old").write_bytes(b"old")
    url = raw.begin("old", 3, if_match=f'"{sha256(b"old")[:12]}"', executable="true", sha256=sha256(b"new").upper())
    assert raw.add(url, 0, b"new").headers["etag"] == f'"{sha256(b"new")}"'
    assert (raw.root / "old").read_bytes() == b"new"
    assert (raw.root / "old").stat().st_mode & 0o111


# -- adding


def test_parts_make_a_file(raw: Raw) -> None:
    url = raw.begin("parts", 9)
    answer = raw.add(url, 0, b"one ")
    assert (answer.status_code, answer.headers["upload-offset"]) == (204, "4")
    assert "etag" not in answer.headers
    assert "upload-expires" in answer.headers
    assert raw.add(url, 4, iter([b"t", b"wo"])).headers["upload-offset"] == "7"
    assert raw.add(url, 7, b"").headers["upload-offset"] == "7"
    answer = raw.add(url, 7, b" 3")
    assert (answer.status_code, answer.headers["upload-offset"]) == (204, "9")
    assert answer.headers["etag"] == f'"{sha256(b"one two 3")}"'
    assert "upload-expires" not in answer.headers
    assert (raw.root / "parts").read_bytes() == b"one two 3"
    assert raw.hidden() == []


@pytest.mark.parametrize("offset", [0, 2, 4, 100])
def test_a_wrong_offset_is_told_where_it_stands(raw: Raw, offset: int) -> None:
    url = raw.begin("offset", 100)
    raw.add(url, 0, b"one")
    told = refused(raw.add(url, offset, b"" if offset == 100 else b"x"), 409, "conflict")
    assert told["data"]["size"] == 3
    assert raw.offset(url) == 3


@pytest.mark.parametrize("offset", [None, "", "-1", "x", "1e3"])
def test_an_offset_that_is_none_is_refused(raw: Raw, offset: str | None) -> None:
    url = raw.begin("odd", 100)
    refused(raw.add(url, 0, b"x", upload_offset=offset), 400, "invalid_argument")


@pytest.mark.parametrize("kind", [None, "application/octet-stream", "text/plain"])
def test_another_content_type_is_refused(raw: Raw, kind: str | None) -> None:
    url = raw.begin("kind", 100)
    refused(raw.add(url, 0, b"x", content_type=kind), 415, "invalid_argument")
    assert raw.offset(url) == 0


@pytest.mark.parametrize("streamed", [False, True])
def test_more_than_the_length_is_refused(raw: Raw, streamed: bool) -> None:
    name = f"more-{streamed}"
    url = raw.begin(name, 4)
    refused(raw.add(url, 0, iter([b"one", b"two"]) if streamed else b"onetwo"), 413, "too_large")
    assert not (raw.root / name).exists()
    assert raw.add(url, raw.offset(url), b"one!"[raw.offset(url) :]).status_code == 204


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_part_that_has_not_its_checksum_is_dropped(raw: Raw, algorithm: str) -> None:
    url = raw.begin("sums", 6)
    assert raw.add(url, 0, b"one", upload_checksum=checksum(b"one", algorithm)).headers["upload-offset"] == "3"
    refused(raw.add(url, 3, b"two", upload_checksum=checksum(b"one", algorithm)), 460, "integrity")
    assert raw.offset(url) == 3
    assert raw.add(url, 3, b"two", upload_checksum=checksum(b"two", algorithm)).status_code == 204
    assert (raw.root / "sums").read_bytes() == b"onetwo"


@pytest.mark.parametrize("text", ["", "md5 AAAA", "sha256", "sha256 !!", "sha256 AAAA", "SHA256 " + "A" * 44])
def test_a_checksum_that_is_none_is_refused(raw: Raw, text: str) -> None:
    url = raw.begin("nosums", 6)
    refused(raw.add(url, 0, b"one", upload_checksum=text), 400, "invalid_argument")
    assert raw.offset(url) == 0


def test_an_upload_that_is_added_to_is_busy(raw: Raw) -> None:
    url = raw.begin("busy", 6)
    parts = httpx2.URL(url)
    head = (
        f"PATCH {parts.path} HTTP/1.1\r\nHost: {parts.host}:{parts.port}\r\nTus-Resumable: {VERSION}\r\n"
        f"Content-Type: {CONTENT}\r\nUpload-Offset: 0\r\nContent-Length: 3\r\n"
        f"Upload-Checksum: {checksum(b'one')}\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection((parts.host, parts.port)) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100")  # somebody waits for the body
        while (answer := raw.add(url, 0, b"")).status_code != 423:
            assert answer.status_code == 204
        refused(raw.add(url, 0, b"two"), 423, "busy")
        connection.sendall(b"one")
        assert connection.recv(1000).startswith(b"HTTP/1.1 204")
    assert raw.add(url, 3, b"two").status_code == 204
    assert (raw.root / "busy").read_bytes() == b"onetwo"


# -- the end


def test_another_file_than_was_meant_is_no_success(raw: Raw) -> None:
    (raw.root / "meant").write_bytes(b"old")
    url = raw.begin("meant", 3, sha256=sha256(b"new"))
    refused(raw.add(url, 0, b"odd"), 422, "integrity")
    assert (raw.root / "meant").read_bytes() == b"old"
    assert raw.send("HEAD", url).status_code == 404


def test_a_file_that_came_first_stays(raw: Raw) -> None:
    url = raw.begin("first", 3, mode="create")
    (raw.root / "first").write_bytes(b"old")
    refused(raw.add(url, 0, b"new"), 409, "exists")
    assert (raw.root / "first").read_bytes() == b"old"
    assert raw.hidden() == []


def test_the_last_answer_may_get_lost(raw: Raw) -> None:
    url = raw.begin("lost", 3, sha256=sha256(b"new"))
    raw.add(url, 0, b"new")
    looked = raw.send("HEAD", url)
    assert (looked.status_code, looked.headers["upload-offset"]) == (200, "3")
    assert looked.headers["etag"] == f'"{sha256(b"new")}"'
    assert raw.add(url, 3, b"").status_code == 204
    (raw.root / "lost").write_bytes(b"other")
    assert raw.send("HEAD", url).status_code == 404
    # who did not say what the file is to be cannot be told
    url = raw.begin("lost", 3)
    raw.add(url, 0, b"new")
    assert raw.send("HEAD", url).status_code == 404


def test_who_looks_at_an_upload_that_has_arrived_finishes_it(raw: Raw) -> None:
    url = raw.begin("arrived", 3)
    [hidden] = raw.root.glob(".devbox-mcp-upload-*")
    hidden.write_bytes(b"new")  # as when the server died between the last byte and the end
    assert raw.offset(url) == 3
    assert (raw.root / "arrived").read_bytes() == b"new"


def test_an_upload_that_is_given_up_is_gone(raw: Raw) -> None:
    url = raw.begin("given/up", 3)
    assert raw.send("DELETE", url).status_code == 204
    assert raw.hidden() == []
    for method in ("HEAD", "DELETE"):
        assert raw.send(method, url).status_code == 404
    refused(raw.add(url, 0, b"x"), 404, "not_found")


def test_methods_may_be_named_in_a_header(raw: Raw) -> None:
    url = raw.begin("instead", 3)
    headers = {"upload_offset": "0", "content_type": CONTENT}
    answer = raw.send("POST", url, b"on", x_http_method_override="PATCH", **headers)
    assert (answer.status_code, answer.headers["upload-offset"]) == (204, "2")
    assert raw.send("POST", url, x_http_method_override="HEAD").headers["upload-offset"] == "2"
    assert raw.send("POST", url, x_http_method_override="DELETE").status_code == 204
    assert raw.send("POST", url, x_http_method_override="GET").status_code == 400
    assert raw.hidden() == []


# -- addresses


def ticket(**fields: Any) -> str:
    known = {"path": "forged", "token": "0" * 16, "length": 1, "mode": "overwrite"}
    found = {name: value for name, value in {**known, **fields}.items() if value is not None}
    return base64.urlsafe_b64encode(json.dumps(found).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "address",
    [
        "x",
        "!!!!",
        "e30",
        "W10",
        "A" * 13_000,
        base64.urlsafe_b64encode(b"[" * 9000).decode(),
        base64.urlsafe_b64encode(b"\xff\xfe").decode().rstrip("="),
        ticket(),
        ticket(path="../x"),
        ticket(path="/etc/passwd"),
        ticket(path="a//b"),
        ticket(path=""),
        ticket(path="a\0b"),
        ticket(path=5),
        ticket(path=".devbox-mcp-x"),
        ticket(token="../../../../etc/pw"),
        ticket(token=None),
        ticket(length=-1),
        ticket(length=True),
        ticket(length=1.5),
        ticket(length=10**30),
        ticket(mode="append"),
        ticket(if_match="x"),
        ticket(sha256="x"),
        ticket(executable="x"),
        ticket(more="x"),
    ],
)
def test_an_address_that_was_never_given_is_not_there(raw: Raw, address: str) -> None:
    for method in ("HEAD", "PATCH", "DELETE"):
        headers = {"upload_offset": "0", "content_type": CONTENT}
        answer = raw.send(method, f"{raw.uploads}/{address}", **headers)
        assert answer.status_code in (400, 404), method
        assert answer.headers["tus-resumable"] == VERSION
    assert raw.hidden() == []


def test_an_address_with_a_longer_file_than_there_may_be_takes_no_bytes(raw: Raw) -> None:
    url = raw.begin("long", 3)
    told = json.loads(base64.urlsafe_b64decode(url.rpartition("/")[2] + "=="))
    longer = base64.urlsafe_b64encode(json.dumps({**told, "length": 10**15}).encode()).decode().rstrip("=")
    answer = raw.send("PATCH", f"{raw.uploads}/{longer}", b"more than three", upload_offset="0", content_type=CONTENT)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert raw.send("HEAD", url).headers["upload-offset"] == "0"
    assert raw.send("DELETE", f"{raw.uploads}/{longer}").status_code == 204


def test_tokens_are_not_told_twice(raw: Raw) -> None:
    assert len({raw.begin("same", 5) for _ in range(20)}) == 20


# -- other devboxes


def test_a_devbox_that_is_served_read_only_takes_none(tmp_path: Path, raw: Raw) -> None:
    with served(str(tmp_path), "--read-only") as uploads:
        refused(Raw(raw.client, uploads, tmp_path).create("x", 1), 403, "read_only")
    assert list(tmp_path.iterdir()) == []


def test_a_devbox_that_is_worked_on_by_a_guest_takes_them(tmp_path: Path, raw: Raw) -> None:
    with served(f"exec:env?root={tmp_path}") as uploads:
        guest = Raw(raw.client, uploads, tmp_path)
        data = os.urandom(3 << 20)
        url = guest.begin("d/f", len(data))
        guest.add(url, 0, data[: 1 << 20])
        assert guest.offset(url) == 1 << 20
        assert guest.add(url, 1 << 20, data[1 << 20 :]).headers["etag"] == f'"{sha256(data)}"'
        assert (tmp_path / "d/f").read_bytes() == data


def test_a_devbox_without_python_says_why_not(tmp_path: Path, raw: Raw) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    for tool in os.listdir("/usr/bin"):
        if not tool.startswith(("python", "py")):
            (bare / tool).symlink_to(f"/usr/bin/{tool}")
    root = tmp_path / "root"
    root.mkdir()
    with served(f"exec:env PATH={bare}?root={root}") as uploads:
        there = Raw(raw.client, uploads, root)
        told = refused(there.create("x", 1), 501, "unsupported")
        assert "Python" in told["detail"]
        assert there.send("OPTIONS", uploads).status_code == 501


@pytest.fixture(autouse=True)
def _clear(root: Path) -> Iterator[None]:
    yield
    for path in root.rglob(".devbox-mcp-*"):
        path.unlink()
