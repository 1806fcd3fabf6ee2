"""A WebSocket that is not opened is answered as any request: with a status, and a problem that says why."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from devbox_mcp.keys import new_key
from tests.access.matrix import Ground
from tests.rest.served import PATIENCE, serving

WS = "/v1/devboxes/bank/ws"


def refused(url: str, path: str, headers: dict[str, str], **options: Any) -> tuple[Response, dict[str, Any]]:
    """Try to open a WebSocket; return the answer, and the problem that it is."""
    options.setdefault("subprotocols", [Subprotocol("devbox.v1")])
    address = f"ws{url.removeprefix('http').removesuffix('/mcp')}{path}"
    with pytest.raises(InvalidStatus) as caught:
        connect(address, additional_headers=headers, open_timeout=PATIENCE, **options)
    answer = caught.value.response
    assert answer.headers["Content-Type"] == "application/problem+json"
    told: dict[str, Any] = json.loads(answer.body)
    assert (told["status"], told["request_id"]) == (answer.status_code, answer.headers["X-Request-Id"])
    assert told["detail"]
    return answer, told


@pytest.mark.parametrize(
    "path",
    [
        "/nothing", "/", "/v1/devboxes", "/v1/devboxes/bank/files/a.txt", "/v1/devboxes/bank/events", "/docs", "/mcp",
        "/metrics", "/api/v1/files/list", "/api/v1/nothing", "/v1/devboxes/bank/ws/",
    ],
)  # fmt: skip
def test_where_no_websocket_is_it_is_not_found(ground: Ground, url: str, path: str) -> None:
    before = len(ground.audited())
    _, told = refused(url, path, {**ground.headers("token"), "X-Request-Id": "no-websocket"})
    assert (told["status"], told["code"]) == (404, "not_found")
    assert told["detail"] == "there is no WebSocket at this address"
    (line,) = ground.audited()[before:]
    assert (line["op"], line["path"], line["result"]) == ("request", path, "not_found")
    assert (line["caller"], line["request_id"]) == ("anonymous" if path == "/docs" else "token", "no-websocket")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/health", "/health/ready"])
def test_whoever_asks_whether_the_server_lives_does_so_over_http(ground: Ground, url: str, path: str) -> None:
    assert refused(url, path, {})[1]["code"] == "not_found"


@pytest.mark.parametrize("path", [WS, "/nothing", "/metrics", "/v1/devboxes/bank/files/a.txt"])
def test_who_is_nobody_is_told_so(ground: Ground, url: str, path: str) -> None:
    answer, told = refused(url, path, {"Authorization": f"Bearer {new_key()}"})
    assert (told["status"], told["code"]) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("path", "headers", "options", "status", "code"),
    [
        (WS, {"Host": "elsewhere.example"}, {}, 421, "invalid_argument"),
        ("/nothing", {"Host": "elsewhere.example"}, {}, 421, "invalid_argument"),
        (WS, {}, {"origin": Origin("https://elsewhere.example")}, 403, "invalid_argument"),
        (f"{WS}?token=x", {}, {}, 400, "invalid_argument"),
        (WS, {}, {"subprotocols": None}, 400, "invalid_argument"),
        ("/v1/devboxes/shop/ws", {}, {}, 404, "not_found"),
    ],
)
def test_a_handshake_that_is_refused_has_a_line_in_the_audit_log(
    ground: Ground, url: str, path: str, headers: dict[str, str], options: dict[str, Any], status: int, code: str
) -> None:
    before = len(ground.audited())
    _, told = refused(url, path, {**ground.headers("editor"), **headers}, **options)
    assert (told["status"], told["code"]) == (status, code)
    (line,) = ground.audited()[before:]
    assert line["result"] == code


def test_who_has_as_many_open_as_may_be_waits(tmp_path: Any) -> None:
    (tmp_path / "box").mkdir()
    log, audit = tmp_path / "log", tmp_path / "audit"
    with serving(log, f"bank={tmp_path / 'box'}", "--max-transfers", "1", "--audit-log", str(audit)) as port:
        url = f"http://127.0.0.1:{port}"
        with connect(f"ws://127.0.0.1:{port}{WS}", subprotocols=[Subprotocol("devbox.v1")]):
            answer, told = refused(url, WS, {})
    assert (told["status"], told["code"]) == (429, "rate_limited")
    assert int(answer.headers["Retry-After"]) >= 1
    (line,) = [json.loads(line) for line in audit.read_text().splitlines()]
    assert (line["op"], line["path"], line["result"]) == ("request", WS, "rate_limited")
