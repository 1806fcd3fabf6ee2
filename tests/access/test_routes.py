"""Every route of the HTTP API for every caller on every devbox; a route that is new has to say here how it is asked."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

from devbox_mcp.servers.rest.app import operations
from devbox_mcp.servers.rest.operations import Operation
from tests.access.asking import ask
from tests.access.matrix import DEVBOXES, HOLDERS, Ground, Holder, expected

JSON = {"Content-Type": "application/json"}
BYTES = {"Content-Type": "application/octet-stream"}
TUS = {"Tus-Resumable": "1.0.0"}
PART = "parts/0123456789abcdef/up.txt"
UPLOAD = {**TUS, "Upload-Length": "3", "Upload-Metadata": f"path {base64.b64encode(b'up.txt').decode()}"}

Prepare = Callable[[str, str, Ground], str]


@dataclass(frozen=True)
class Asked:
    """A request that does its work on a devbox as it is laid out: its target below the devbox."""

    target: str
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    #: What somebody with every right does before; it returns the target.
    prepare: Prepare | None = None
    #: Whether it needs no right but to reach the devbox.
    free: bool = False


def _json(target: str, **body: Any) -> Asked:
    return Asked(target, json.dumps(body).encode(), JSON)


def _created(url: str, devbox: str, ground: Ground) -> str:
    headers = {**UPLOAD, **ground.headers("token")}
    made = ask(url, f"/v1/devboxes/{devbox}/uploads", headers, method="POST", body=b"")
    assert made.status == 201, made.body
    address = urljoin(f"{url}/../v1/devboxes/{devbox}/uploads", made.headers["Location"])
    return urlsplit(address).path.partition(f"/v1/devboxes/{devbox}/")[2]


def _begun(url: str, devbox: str, ground: Ground) -> str:
    assert ask(url, f"/v1/devboxes/{devbox}/{PART}", ground.headers("token"), method="PUT", body=b"").status == 200
    return PART


def _sent(url: str, devbox: str, ground: Ground) -> str:
    _begun(url, devbox, ground)
    headers = {**BYTES, **ground.headers("token")}
    sent = ask(url, f"/v1/devboxes/{devbox}/{PART}?offset=0", headers, method="PATCH", body=b"up!")
    assert sent.status == 200, sent.body
    return f"{PART}?size=3"


_PATCH = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}

ASKED: dict[str, Asked] = {
    "devbox": Asked("", free=True),
    "read": Asked("files/a.txt"),
    "write": Asked("files/new.txt", b"new"),
    "append": Asked("files/a.txt", b"more", BYTES),
    "delete": Asked("files/a.txt"),
    "write_files": _json("files", files=[{"path": "new.txt", "content": "new"}]),
    "stat": Asked("stat/a.txt"),
    "list": Asked("list/"),
    "names": Asked("names/"),
    "lines": Asked("lines/a.txt"),
    "find": Asked("find?pattern=*"),
    "search": Asked("search?pattern=one"),
    "root": Asked("root?absolute=/x"),
    "make_directory": Asked("directories/made", b""),
    "move": _json("move", source="a.txt", destination="moved.txt"),
    "copy": _json("copy", source="a.txt", destination="copied.txt"),
    "chmod": _json("chmod", path="run.sh", mode="0755"),
    "edit": _json("edit", path="a.txt", edits=[{"old_text": "one", "new_text": "1"}]),
    "archive": Asked("archive?path=a.txt"),
    "archive_many": _json("archive", paths=["a.txt"]),
    "changes": Asked("changes?timeout=0"),
    "events": Asked("events"),
    "discover_uploads": Asked("uploads", None, TUS, free=True),
    "create_upload": Asked("uploads", b"", UPLOAD),
    "look_at_upload": Asked("", None, TUS, _created),
    "add_to_upload": Asked("", b"up!", _PATCH, _created),
    "end_upload": Asked("", None, TUS, _created),
    "upload_by_post": Asked("", b"up!", {**_PATCH, "X-HTTP-Method-Override": "PATCH"}, _created),
    "begin_parts": Asked(PART, b""),
    "look_at_parts": Asked("", None, {}, _begun),
    "add_part": Asked("", b"up!", BYTES, _begun),
    "finish_parts": Asked("", b"", {}, _sent),
    "abandon_parts": Asked("", None, {}, _begun),
    "sign_url": _json("signed-urls", path="a.txt"),
}
#: What shows when it is done: these leave a file that was not there, or take one away.
CHANGED = {"write", "append", "delete", "write_files", "make_directory", "move", "copy", "edit", "add_to_upload",
           "upload_by_post", "finish_parts"}  # fmt: skip

EVERYBODY = [pytest.param(holder, id=holder.name) for holder in HOLDERS]
OPERATIONS = [
    pytest.param(operation, method, id=f"{method}-{operation.name}")
    for _, operation in operations()
    if operation.path != "/v1/devboxes"
    for method in operation.methods
]


def _head(
    url: str, path: str, headers: dict[str, str], method: str, body: bytes | None
) -> tuple[int, str | None, bytes]:
    """Return status, code and for a problem the body; what has no end is not waited for."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        if response.headers.get_content_type() != "application/problem+json" or method == "HEAD":
            return response.status, None, b""
        told = response.read()
        return response.status, json.loads(told)["code"], told
    finally:
        connection.close()


@pytest.mark.parametrize("holder", EVERYBODY)
@pytest.mark.parametrize(("operation", "method"), OPERATIONS)
def test_a_route_does_what_the_caller_may_and_nothing_else(
    ground: Ground, url: str, operation: Operation, method: str, holder: Holder
) -> None:
    asked = ASKED[operation.name]
    for devbox in DEVBOXES:
        ground.reset()
        target = asked.target if asked.prepare is None else asked.prepare(url, devbox, ground)
        before = {name: ground.tree(name) for name in DEVBOXES}
        path = "/".join(filter(None, ("/v1/devboxes", devbox, target)))
        headers = {**asked.headers, **ground.headers(holder)}
        status, code, told = _head(url, path, headers, method, asked.body)
        wanted = expected(holder, devbox, operation.scope)
        if wanted == "forbidden" and asked.free:
            wanted = "ok"
        statuses = {"ok": operation.answers, "forbidden": {403}, "not_found": {404}, "unauthenticated": {401}}[wanted]
        assert status in statuses, told
        if method != "HEAD" and wanted != "ok":
            assert code == wanted
        for other in DEVBOXES:
            if other != devbox or wanted != "ok":
                assert ground.tree(other) == before[other]
        if wanted == "ok" and operation.name in CHANGED:
            assert ground.tree(devbox) != before[devbox]
        if wanted == "not_found" and method != "HEAD":
            # nothing tells it apart from one that is not there
            _, _, absent = _head(url, path.replace(f"/{devbox}", "/absent", 1), headers, method, asked.body)
            assert _told(absent, "absent", devbox) == _told(told, devbox, devbox)


def _told(problem: bytes, name: str, shown: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(problem.replace(name.encode(), shown.encode()))
    return {**found, "request_id": None}


@pytest.mark.parametrize("holder", EVERYBODY)
def test_the_list_of_devboxes_is_the_callers(ground: Ground, url: str, holder: Holder) -> None:
    reply = ask(url, "/v1/devboxes", ground.headers(holder))
    if not holder.known:
        assert reply.status == 401
        return
    reached = [devbox for devbox in DEVBOXES if expected(holder, devbox, next(iter(holder.scopes))) == "ok"]
    assert [devbox["name"] for devbox in reply.json["devboxes"]] == reached
