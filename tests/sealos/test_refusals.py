"""What is refused with HTTP status 200 is on record too, once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from .conftest import served

FORM = {"Content-Type": "multipart/form-data; boundary=b"}
TEXT = {"Content-Type": "text/plain"}
JSON = {"Content-Type": "application/json"}


class Recorded:
    """Calls of a route, and the lines that the audit log has of them."""

    def __init__(self, client: httpx2.Client, log: Path, root: Path) -> None:
        self.client = client
        self.log = log
        self.root = root

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def told(self, route: str, body: bytes | Mapping[str, Any] | None, **headers: str) -> list[tuple[str, str, str]]:
        """Call, and return operation, path and result of each line that it left."""
        before = len(self.lines())
        content = json.dumps(body).encode() if isinstance(body, Mapping) else body
        every = {**(JSON if isinstance(body, Mapping) else {}), **headers, "X-Request-Id": f"call-{before}"}
        method = "GET" if content is None else "POST"
        self.answer = self.client.request(method, f"/api/v1/{route}", content=content, headers=every)
        lines = self.lines()[before:]
        assert {(line["caller"], line["request_id"]) for line in lines} <= {("operator", f"call-{before}")}
        return [(line["op"], line["path"], line["result"]) for line in lines]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, Path]]:
    directory = tmp_path_factory.mktemp("refusals")
    root, log = directory / "root", directory / "audit"
    root.mkdir()
    (root / "f").write_bytes(b"content")
    (root / "d").mkdir()
    options = ("--audit-log", str(log), "--max-file-size", "1K", "--max-body", "4K")
    with served(f"box={root}", *options) as url:
        yield url, log, root


@pytest.fixture
def recorded(address: tuple[str, Path, Path]) -> Iterator[Recorded]:
    url, log, root = address
    with httpx2.Client(base_url=url, timeout=60) as client:
        yield Recorded(client, log, root)
    assert sorted(path.name for path in root.iterdir()) == ["d", "f"]
    assert (root / "f").read_bytes() == b"content"


def part(name: str, data: bytes = b"x", filename: str | None = None) -> bytes:
    told = f'; filename="{filename}"' if filename is not None else ""
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"{told}\r\n\r\n'
    return head.encode() + data + b"\r\n"


@pytest.mark.parametrize(
    ("route", "body", "headers", "status", "code"),
    [
        ("files/read", None, {}, 1400, "invalid_argument"),
        ("files/list?limit=x", None, {}, 1400, "invalid_argument"),
        ("files/list?showHidden=x", None, {}, 1400, "invalid_argument"),
        ("files/list?path=d&path=.", None, {}, 1400, "invalid_argument"),
        ("files/read?path=f&path=f", None, {}, 1400, "invalid_argument"),
        ("files/write?path=d/x&path=f", b"x", TEXT, 1400, "invalid_argument"),
        ("files/write", b"x", TEXT, 1400, "invalid_argument"),
        ("files/write", b"{", JSON, 1400, "invalid_argument"),
        ("files/write", {"path": "f"}, {}, 1400, "invalid_argument"),
        ("files/write", {"path": "f", "content": "!", "encoding": "base64"}, {}, 1400, "invalid_argument"),
        ("files/write", {"path": "f", "content": "x", "encoding": "x"}, {}, 1400, "invalid_argument"),
        ("files/write", {"path": "f", "content": "x" * 5000}, {}, 1422, "too_large"),
        ("files/write", part("path", b"f") + b"--b--\r\n", FORM, 1400, "invalid_argument"),
        ("files/write", b"no form", FORM, 1400, "invalid_argument"),
        ("files/chmod", {"path": "f", "mode": "644", "owner": "root"}, {}, 1422, "unsupported"),
        ("files/chmod", {"path": "f", "mode": "x"}, {}, 1400, "invalid_argument"),
        ("files/search", {"dir": ".", "pattern": ""}, {}, 1400, "invalid_argument"),
        ("files/find", {"dir": ".", "keyword": ""}, {}, 1400, "invalid_argument"),
        ("files/replace", {"files": ["f"], "from": "", "to": "x"}, {}, 1400, "invalid_argument"),
        ("files/batch-download", {"paths": []}, {}, 1400, "invalid_argument"),
        ("files/batch-upload", b"no form", FORM, 1400, "invalid_argument"),
        ("process/exec-sync", {"command": "id"}, {}, 1403, "forbidden"),
        ("process/status/1", None, {}, 1403, "forbidden"),
    ],
)  # fmt: skip
def test_a_call_that_makes_no_sense_leaves_one_line(
    recorded: Recorded,
    route: str,
    body: bytes | Mapping[str, Any] | None,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    told = recorded.told(route, body, **headers)
    assert (recorded.answer.status_code, recorded.answer.json()["status"]) == (200, status)
    assert told == [("request", f"/api/v1/{route.partition('?')[0]}", code)]


@pytest.mark.parametrize(
    ("route", "body", "op", "path"),
    [
        ("files/read?path=/etc/passwd", None, "read", "/etc/passwd"),
        ("files/read?path=d/../../x", None, "read", "d/../../x"),
        ("files/list?path=..", None, "list", ".."),
        ("files/write?path=../x", b"x", "write", "../x"),
        ("files/write", {"path": "/x", "content": ""}, "write", "/x"),
        ("files/delete", {"path": "../x"}, "delete", "../x"),
        ("files/move", {"source": "f", "destination": "../x"}, "move", "../x"),
        ("files/rename", {"oldPath": "/x", "newPath": "f"}, "move", "/x"),
        ("files/chmod", {"path": "../x", "mode": "777"}, "chmod", "../x"),
        ("files/search", {"dir": "/", "pattern": "x"}, "search", "/"),
        ("files/find", {"dir": "/", "keyword": "x"}, "search", "/"),
        ("files/replace", {"files": ["f", "../x"], "from": "content", "to": "x"}, "edit", "../x"),
        ("files/batch-download", {"paths": ["f", "../x"]}, "archive", "../x"),
    ],
)
def test_a_path_that_leads_out_leaves_one_line_that_tells_it(
    recorded: Recorded, route: str, body: bytes | Mapping[str, Any] | None, op: str, path: str
) -> None:
    told = recorded.told(route, body, **(TEXT if isinstance(body, bytes) else {}))
    assert recorded.answer.json()["status"] == 1403
    assert told == [(op, path, "escapes_root")]


@pytest.mark.parametrize(
    ("route", "body", "told"),
    [
        ("files/read?path=gone", None, [("read", "gone", "not_found")]),
        ("files/read?path=d", None, [("read", "d", "is_directory")]),
        ("files/delete", {"path": "gone"}, [("delete", "gone", "not_found")]),
        ("files/move", {"source": "f", "destination": "d"}, [("move", "f", "exists")]),
        ("files/write?path=f", bytes(2000), [("write", "f", "too_large")]),
        ("files/batch-download", {"paths": ["gone"]}, [("stat", "gone", "not_found")]),
        ("files/find", {"dir": "gone", "keyword": "x"}, [("stat", "gone", "not_found")]),
    ],
)
def test_what_an_operation_recorded_is_not_told_again(
    recorded: Recorded, route: str, body: bytes | Mapping[str, Any] | None, told: list[tuple[str, str, str]]
) -> None:
    assert recorded.told(route, body, **(TEXT if isinstance(body, bytes) else {})) == told
    assert recorded.answer.json()["code"] == told[0][2]


def test_what_is_refused_behind_an_operation_that_went_well_is_told_too(recorded: Recorded) -> None:
    told = recorded.told("files/search", {"dir": "f", "pattern": "x"})
    assert told == [("stat", "f", "ok"), ("request", "/api/v1/files/search", "not_directory")]


def test_each_file_of_a_form_has_its_line(recorded: Recorded) -> None:
    form = (
        part("files", filename="../x") + part("files", filename="f/x") + part("files", b"content", "f") + b"--b--\r\n"
    )
    told = recorded.told("files/batch-upload", form, **FORM)
    assert recorded.answer.json()["successCount"] == 1
    assert told == [("write", "../x", "escapes_root"), ("write", "f/x", "not_directory"), ("write", "f", "ok")]


def test_a_success_leaves_no_refusal(recorded: Recorded) -> None:
    assert recorded.told("files/list", None) == [("list", ".", "ok")]
    assert recorded.client.get("/health").json()["status"] == 0
