"""What is refused before any operation begins is on record too."""

from __future__ import annotations

import json
from typing import Any

import pytest

from devbox_mcp.keys import new_key
from tests.access.asking import JSON, ask
from tests.access.matrix import Ground

FILE = "/v1/devboxes/bank/files/a.txt"


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
