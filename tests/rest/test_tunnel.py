"""Many small calls over one WebSocket."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.rest.served import PATIENCE, Client

PROTOCOL = Subprotocol("devbox.v1")


class Tunnel:
    def __init__(self, socket: ClientConnection, name: str) -> None:
        self.socket = socket
        self.name = name

    def send(self, number: int, method: str = "GET", path: str = "", body: bytes = b"", **more: Any) -> None:
        line = {"id": number, "method": method, "path": path, **more}
        self.socket.send(json.dumps(line).encode() + b"\n" + body)

    def receive(self) -> tuple[dict[str, Any], bytes]:
        message = self.socket.recv(PATIENCE)
        assert isinstance(message, bytes)
        line, _, body = message.partition(b"\n")
        return json.loads(line), body

    def ask(self, method: str, path: str, body: bytes = b"", **more: Any) -> tuple[dict[str, Any], bytes]:
        self.send(7, method, path, body, **more)
        told, answered = self.receive()
        assert told["id"] == 7
        return told, answered


@contextmanager
def opened(ask: Client, devbox: str = "main", **options: Any) -> Iterator[Tunnel]:
    """Open a tunnel, and wait in the end until the server has ended all that it was doing for it."""
    options.setdefault("subprotocols", [PROTOCOL])
    name = f"tunnel-{secrets.token_hex(8)}"
    address = f"ws://127.0.0.1:{ask.port}/v1/devboxes/{devbox}/ws"
    with connect(address, max_size=None, additional_headers={"X-Request-Id": name}, **options) as socket:
        yield Tunnel(socket, name)
    ask.logged(name)


@pytest.fixture
def tunnel(ask: Client) -> Iterator[Tunnel]:
    with opened(ask) as tunnel:
        yield tunnel


def test_the_same_routes_answer_the_same(ask: Client, tunnel: Tunnel) -> None:
    told, body = tunnel.ask("PUT", "files/d/%C3%A9", b"content\n with \0", headers={"If-None-Match": "*"})
    assert (told["status"], json.loads(body)["created"]) == (201, True)
    told, body = tunnel.ask("GET", "files/d/%C3%A9")
    assert (told["status"], body) == (200, b"content\n with \0")
    assert told["headers"]["etag"] == ask("GET", "files/d/%C3%A9").headers["etag"]
    assert "x-request-id" in told["headers"]
    assert tunnel.ask("GET", "files/d/%C3%A9", headers={"If-None-Match": told["headers"]["etag"]})[0]["status"] == 304
    assert tunnel.ask("GET", "files/d/%C3%A9", headers={"Range": "bytes=1-2"})[1] == b"on"
    told, body = tunnel.ask("HEAD", "files/d/%C3%A9")
    assert (told["headers"]["content-length"], body) == ("15", b"")
    told, body = tunnel.ask("GET", "list/", query={"depth": 2, "details": True, "glob": "**"})
    assert [entry["path"] for entry in json.loads(body)["entries"]] == ["d", "d/é"]
    move = json.dumps({"source": "d", "destination": "e"}).encode()
    assert tunnel.ask("POST", "move", move, headers={"Content-Type": "application/json"})[0]["status"] == 200
    assert json.loads(tunnel.ask("GET", "")[1])["name"] == "main"


def test_a_request_keeps_the_name_that_it_is_given(ask: Client, tunnel: Tunnel) -> None:
    name = f"mine-{secrets.token_hex(8)}"
    told, _ = tunnel.ask("PUT", "files/a", b"1", headers={"X-Request-Id": name})
    assert told["headers"]["x-request-id"] == name
    lines = [json.loads(line) for line in (ask.box.parent / "audit").read_text().splitlines()]
    assert [line["op"] for line in lines if line.get("request_id") == name] == ["write"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("files/nothing", 404), ("files/%2e%2e/secret.txt", 403), ("../other/files/a", 404), ("files/../x", 403),
        ("files/a%2fb", 400), ("ws", 404), ("files/a?download=1", 400), ("nothing", 404), ("files/é", 400),
    ],
)  # fmt: skip
def test_errors_are_problems(tunnel: Tunnel, path: str, status: int) -> None:
    told, body = tunnel.ask("GET", path)
    assert (told["status"], json.loads(body)["status"]) == (status, status)


def test_many_are_under_way_and_answered_as_they_are_done(ask: Client, tunnel: Tunnel) -> None:
    ask("PUT", "files/a", b"1")
    tunnel.send(0, "GET", "changes", query={"timeout": 60})
    for number in range(1, 100):
        tunnel.send(number, "GET", "files/a")
    assert {tunnel.receive()[0]["id"] for _ in range(99)} == set(range(1, 100))
    ask("PUT", "files/b", b"2")
    told, body = tunnel.receive()
    assert (told["id"], json.loads(body)["events"][0]["path"]) == (0, "b")


def test_too_many_at_once_are_refused_one_by_one(tunnel: Tunnel) -> None:
    for number in range(130):
        tunnel.send(number, "GET", "changes", query={"timeout": 60})
    assert {(tunnel.receive()[0]["status"]) for _ in range(2)} == {429}
    for number in range(128):
        tunnel.socket.send(json.dumps({"id": number, "cancel": True}).encode())
    assert {tunnel.receive()[0]["status"] for _ in range(128)} == {499}


def test_a_cancelled_request_has_a_last_answer_too(tunnel: Tunnel) -> None:
    tunnel.send(1, "GET", "changes", query={"timeout": 60})
    tunnel.socket.send(b'{"id": 1, "cancel": true}')
    told, body = tunnel.receive()
    assert (told["id"], told["status"], json.loads(body)["code"]) == (1, 499, "cancelled")
    tunnel.socket.send(b'{"id": 1, "cancel": true}')
    assert tunnel.ask("GET", "stat/")[0]["status"] == 200


def test_events_come_one_by_one_until_they_are_cancelled(ask: Client, tunnel: Tunnel) -> None:
    tunnel.send(1, "GET", "events")
    told, body = tunnel.receive()
    assert (told["status"], told["more"], b"event: ready" in body) == (200, True, True)
    ask("PUT", "files/a", b"1")
    told, body = tunnel.receive()
    assert (told["id"], told["more"]) == (1, True)
    assert b'"path":"a"' in body
    tunnel.socket.send(b'{"id": 1, "cancel": true}')
    while told.get("more"):
        told, body = tunnel.receive()
    assert (told["id"], told["status"], body) == (1, 200, b"")


def test_a_body_is_at_most_a_mebibyte_either_way(ask: Client, tunnel: Tunnel) -> None:
    data = os.urandom(1 << 20)
    assert tunnel.ask("PUT", "files/a", data)[0]["status"] == 201
    assert tunnel.ask("GET", "files/a")[1] == data
    told, body = tunnel.ask("PUT", "files/a", data + b"x")
    assert (told["status"], json.loads(body)["code"]) == (413, "too_large")
    ask("PUT", "files/large", data + b"x")
    told, body = tunnel.ask("GET", "files/large")
    assert (told["status"], json.loads(body)["code"]) == (413, "too_large")
    assert tunnel.ask("GET", "files/large", headers={"Range": "bytes=1-1048576"})[1] == data[1:] + b"x"
    assert tunnel.ask("HEAD", "files/large")[0]["status"] == 200
    assert tunnel.ask("GET", "archive", query={"path": ["a", "large"]})[0]["status"] == 413


@pytest.mark.parametrize(
    "message",
    [
        '{"id": 1, "method": 5}', '{"id": 1, "path": ["x"]}', '{"id": 1, "unknown": 1}',
        '{"id": 1, "headers": {"a b": "c"}}', '{"id": 1, "headers": {"a": "b\\r\\nc: d"}}', '{"id": 1, "query": [1]}',
        '{"id": 1, "method": "get"}',
    ],
)  # fmt: skip
def test_a_message_whose_id_can_be_told_is_answered(tunnel: Tunnel, message: str) -> None:
    tunnel.socket.send(message.encode())
    told, body = tunnel.receive()
    assert (told["id"], told["status"], json.loads(body)["code"]) == (1, 400, "invalid_argument")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"", 1008), (b"nonsense", 1008), (b"[1]", 1008), (b"{}", 1008), (b'{"id": -1}', 1008), (b'{"id": "1"}', 1008),
        (b"[" * 60_000, 1008), (b" " * 70_000, 1008), ("text", 1003),
    ],
)  # fmt: skip
def test_a_message_that_makes_no_sense_ends_the_connection(tunnel: Tunnel, message: bytes | str, code: int) -> None:
    tunnel.socket.send(message)
    with pytest.raises(ConnectionClosed) as closed:
        tunnel.receive()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code
    assert closed.value.rcvd.reason


def refusals(ask: Client, *request_ids: str) -> list[tuple[str, str, str]]:
    """Return what the audit log has of requests that went no further: caller, path and result."""
    lines = [json.loads(line) for line in (ask.box.parent / "audit").read_text().splitlines()]
    told = [line for line in lines if line["op"] == "request" and line.get("request_id") in request_ids]
    return [(line["caller"], line["path"], line["result"]) for line in told]


WS = "/v1/devboxes/main/ws"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b'{"id": 1, "unknown": 1}', "invalid_argument"), (b'{"id": 1}\n' + bytes((1 << 20) + 1), "too_large"),
        (b"nonsense", "invalid_argument"), ("text", "invalid_argument"),
    ],
)  # fmt: skip
def test_a_message_that_is_refused_is_on_record_once(ask: Client, message: bytes | str, code: str) -> None:
    with opened(ask) as tunnel:
        tunnel.socket.send(message)
        with suppress(ConnectionClosed):
            assert json.loads(tunnel.receive()[1])["request_id"] == tunnel.name
    assert refusals(ask, tunnel.name) == [("operator", WS, code)]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x83\x80\0\0\0\0", "invalid_argument"),
        (b"\x82\x00", "invalid_argument"),
        (b"\x81\x81\0\0\0\0\xff", "invalid_argument"),
        (b"\x82\xff" + (3 << 20).to_bytes(8) + bytes(4), "too_large"),
    ],
    ids=["no opcode", "no mask", "no UTF-8", "too long"],
)
def test_a_frame_that_breaks_the_rules_ends_the_connection_and_is_on_record(
    ask: Client, frame: bytes, code: str
) -> None:
    with opened(ask) as tunnel:
        tunnel.socket.socket.sendall(frame)
        with pytest.raises(ConnectionClosed):
            tunnel.receive()
    assert refusals(ask, tunnel.name) == [("operator", WS, code)]


def test_requests_over_the_number_are_on_record_by_their_names(ask: Client, tunnel: Tunnel) -> None:
    name = secrets.token_hex(8)
    for number in range(130):
        tunnel.send(number, "GET", "changes", query={"timeout": 60}, headers={"X-Request-Id": f"{name}-{number}"})
    assert {tunnel.receive()[0]["status"] for _ in range(2)} == {429}
    for number in (128, 129):
        path = "/v1/devboxes/main/changes"
        assert refusals(ask, f"{name}-{number}") == [("operator", path, "rate_limited")]


def test_nonsense_without_end_is_on_record_a_hundred_times(ask: Client) -> None:
    with opened(ask) as tunnel:
        for taken, lines in ((0, 100), (1, 101)):
            for _ in range(taken):
                assert tunnel.ask("GET", "stat/")[0]["status"] == 200
            for _ in range(300):
                tunnel.socket.send(b'{"id": 1, "unknown": 1}')
                assert tunnel.receive()[0]["status"] == 400
            assert len(refusals(ask, tunnel.name)) == lines


def test_a_message_far_over_the_limit_ends_the_connection(tunnel: Tunnel) -> None:
    def ask() -> None:
        tunnel.socket.send(b"x" * (5 << 20))
        tunnel.receive()

    with pytest.raises(ConnectionClosed):
        ask()


def test_an_id_is_not_used_twice_at_the_same_time(tunnel: Tunnel) -> None:
    for _ in range(2):
        tunnel.send(1, "GET", "changes", query={"timeout": 60})
    with pytest.raises(ConnectionClosed):
        tunnel.receive()


def test_who_goes_away_leaves_nothing_under_way(ask: Client) -> None:
    with opened(ask) as tunnel:
        told, _ = tunnel.ask("GET", "stat/")
        for number in range(50):
            tunnel.send(number, "PUT", f"files/{number}", os.urandom(100_000))
        tunnel.receive()
    assert ask.logged(told["headers"]["x-request-id"])["status"] == 200
    assert all(name.isdecimal() for name in os.listdir(ask.box) if not name.startswith(".devbox-mcp-"))
    assert ask("GET", "stat/").status == 200


@pytest.mark.parametrize(("devbox", "options", "status"), [("nowhere", {}, 404), ("main", {"subprotocols": None}, 400)])
def test_a_tunnel_that_cannot_be_is_answered_as_http(ask: Client, devbox: str, options: Any, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused, opened(ask, devbox, **options):
        pass
    assert refused.value.response.status_code == status
    assert json.loads(refused.value.response.body)["status"] == status


def test_a_stream_that_is_given_up_and_then_cut_off_is_closed_once(ask: Client) -> None:
    """The answer is refused as too large, and while the archive is still being ended its client goes away."""
    for number in range(8):
        ask("PUT", f"files/{number}", os.urandom(200_000))
    for _ in range(5):
        with opened(ask) as tunnel:
            for number in range(8):
                tunnel.send(number, "GET", "archive", query={"path": "."})
            tunnel.receive()
    # a fault would be in the server's log, which is looked at in the end
    assert ask("GET", "stat/").status == 200


@pytest.mark.parametrize(("method", "path"), [("GET", "events"), ("GET", "files/a"), ("HEAD", "files/a")])
def test_a_body_that_nothing_reads_is_refused_and_not_held(tunnel: Tunnel, method: str, path: str) -> None:
    told, body = tunnel.ask(method, path, b"x" * 100_000)
    assert (told["status"], json.loads(body)["code"]) == (400, "invalid_argument")
