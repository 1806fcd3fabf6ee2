"""Every route, for every kind of caller, on every devbox: the rights are those of the description."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from devbox_mcp.servers.rest.app import operations
from devbox_mcp.servers.rest.operations import Operation
from tests.access.matrix import DEVBOXES, HOLDERS, Ground, Holder, expected
from tests.rest.served import Answer, Client, serving

OPERATIONS = {operation.name: operation for _, operation in operations()}
JSON = {"Content-Type": "application/json"}
BINARY = {"Content-Type": "application/octet-stream"}
TUS = {"Tus-Resumable": "1.0.0"}
OFFSET = {**TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
PART = f"parts/{'0' * 16}/new"


def _json(**value: Any) -> tuple[bytes, dict[str, str]]:
    return json.dumps(value).encode(), JSON


#: For each operation a request that makes sense: the target, the body and headers.
REQUESTS: dict[str, tuple[str, bytes, dict[str, str]]] = {
    "devboxes": ("/v1/devboxes", b"", {}),
    "devbox": ("", b"", {}),
    "read": ("files/a.txt", b"", {}),
    "write": ("files/a.txt", b"x", {}),
    "append": ("files/a.txt", b"x", BINARY),
    "delete": ("files/a.txt", b"", {}),
    "write_files": ("files", *_json(files=[{"path": "a.txt", "content": "x"}])),
    "stat": ("stat/a.txt", b"", {}),
    "list": ("list/", b"", {}),
    "names": ("names/", b"", {}),
    "lines": ("lines/a.txt", b"", {}),
    "find": ("find?pattern=*", b"", {}),
    "search": ("search?pattern=x", b"", {}),
    "root": ("root?absolute=/etc", b"", {}),
    "make_directory": ("directories/new", b"", {}),
    "move": ("move", *_json(source="a.txt", destination="b.txt")),
    "copy": ("copy", *_json(source="a.txt", destination="b.txt")),
    "chmod": ("chmod", *_json(path="a.txt", mode="0600")),
    "edit": ("edit", *_json(path="a.txt", edits=[{"old_text": "one", "new_text": "1"}])),
    "archive": ("archive?path=a.txt&format=tar.gz", b"", {}),
    "archive_many": ("archive", *_json(paths=["a.txt"])),
    "changes": ("changes?timeout=0", b"", {}),
    "events": ("events?cursor=wrong", b"", {}),
    "sign_url": ("signed-urls", *_json(path="a.txt")),
    "discover_uploads": ("uploads", b"", TUS),
    "create_upload": (
        "uploads",
        b"",
        {**TUS, "Upload-Length": "1", "Upload-Metadata": f"path {base64.b64encode(b'new').decode()}"},
    ),
    "begin_parts": (PART, b"", {}),
    "look_at_parts": (PART, b"", {}),
    "add_part": (f"{PART}?offset=0", b"x", BINARY),
    "finish_parts": (f"{PART}?size=0", b"", {}),
    "abandon_parts": (PART, b"", {}),
}
#: Their address is what ``create_upload`` answers; they are asked with the one of the caller's own making.
_OF_AN_UPLOAD = {name for name in OPERATIONS if "{upload}" in OPERATIONS[name].path}


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground.make(tmp_path_factory.mktemp("scopes"))


@pytest.fixture(scope="module")
def port(laid_out: Ground) -> Iterator[int]:
    with serving(laid_out.directory / "log", *laid_out.options) as port:
        yield port


def client(port: int, ground: Ground, holder: Holder, devbox: str) -> Client:
    return Client(port, Path(), ground.credentials.get(holder.name), devbox)


def outcome(answer: Answer, devbox: str) -> str:
    """Return what became of a request, as ``expected`` names it."""
    if answer.status < 400:
        return "ok"
    problem = answer.json()
    if answer.status == 401:
        return "unauthenticated"
    if problem["code"] == "forbidden":
        return "forbidden"
    return "not_found" if problem["code"] == "not_found" and problem["path"] == devbox else "ok"


def test_every_operation_is_asked_for() -> None:
    assert set(REQUESTS) == set(OPERATIONS) - _OF_AN_UPLOAD


@pytest.mark.parametrize("name", REQUESTS)
def test_a_caller_has_its_rights_and_no_others(laid_out: Ground, port: int, name: str) -> None:
    operation: Operation = OPERATIONS[name]
    target, body, headers = REQUESTS[name]
    wrong = []
    laid_out.reset()
    for holder in HOLDERS:
        for devbox in DEVBOXES:
            for method in operation.methods:
                path = target or f"/v1/devboxes/{devbox}"
                answer = client(port, laid_out, holder, devbox)(method, path, body, headers)
                if method == "HEAD":
                    found = {401: "unauthenticated", 403: "forbidden", 404: "not_found"}.get(answer.status, "ok")
                else:
                    found = outcome(answer, devbox)
                needed = expected(holder, devbox, operation.scope) if operation.scope else _reach(holder, devbox)
                if name == "devboxes":
                    needed = "ok" if holder.known else "unauthenticated"
                if found != needed:
                    wrong.append((holder.name, devbox, method, found, needed, answer))
                if needed != "ok" and not laid_out.untouched(devbox):
                    wrong.append((holder.name, devbox, method, "changed", needed, answer))
                laid_out.reset()
    assert wrong == []


def _reach(holder: Holder, devbox: str) -> str:
    """Return what comes of a request that needs no right but to reach the devbox."""
    reached = [expected(holder, devbox, scope) for scope in holder.scopes] or ["unauthenticated"]
    return "ok" if "ok" in reached else reached[0]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: holder.name)
def test_the_list_of_devboxes_is_the_callers(laid_out: Ground, port: int, holder: Holder) -> None:
    answer = client(port, laid_out, holder, "shop")("GET", "/v1/devboxes")
    if not holder.known:
        assert answer.code == "unauthenticated"
        assert answer.headers["www-authenticate"].startswith("Bearer")
        return
    reached = [name for name in DEVBOXES if _reach(holder, name) == "ok"]
    listed = answer.json()["devboxes"]
    assert [one["name"] for one in listed] == reached
    assert [one["default"] for one in listed] == [index == 0 for index in range(len(reached))]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: holder.name)
def test_the_tunnel_has_the_rights_of_whoever_opened_it(laid_out: Ground, port: int, holder: Holder) -> None:
    laid_out.reset()
    for devbox in DEVBOXES:
        address = f"ws://127.0.0.1:{port}/v1/devboxes/{devbox}/ws"
        options: dict[str, Any] = {
            "subprotocols": [Subprotocol("devbox.v1")],
            "additional_headers": laid_out.headers(holder),
        }
        reach = _reach(holder, devbox)
        if reach != "ok":
            with pytest.raises(InvalidStatus) as refused:
                connect(address, **options)
            assert refused.value.response.status_code == {"unauthenticated": 401, "not_found": 404}[reach]
            continue
        with connect(address, **options) as socket:
            for name in ("read", "write"):
                target, body, _ = REQUESTS[name]
                operation = OPERATIONS[name]
                line = {"id": 1, "method": operation.methods[0], "path": target}
                socket.send(json.dumps(line).encode() + b"\n" + body)
                message = socket.recv(60)
                assert isinstance(message, bytes)
                status = json.loads(message.partition(b"\n")[0])["status"]
                assert operation.scope is not None
                assert status == {"ok": 200, "forbidden": 403}[expected(holder, devbox, operation.scope)]
    laid_out.reset()


def test_the_description_is_for_everybody(port: int) -> None:
    assert Client(port, Path())("GET", "/docs").status == 200
    assert Client(port, Path())("GET", "/openapi.json").status == 200
    assert Client(port, Path())("GET", "/metrics").status == 401
