"""Nobody's secret is in a line of the audit log or of the server's own, however it came; and no line is long."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from websockets.sync.client import connect

from devbox_mcp.keys import new_key
from tests.access.asking import ask, rpc
from tests.access.matrix import HOLDERS, TOKEN, Ground, token_of

JWT = token_of(next(holder for holder in HOLDERS if holder.name == "jwt-editor"))
KEY = new_key()
SECRETS = {"key": KEY, "almost a key": KEY[:-1], "jwt": JWT, "token": TOKEN}
FILE = "/v1/devboxes/bank/files/a.txt"


def _said(log: Path, since: int) -> str:
    return log.read_text()[since:]


def _show(secret: str, said: str) -> bool:
    """Whether a text tells a secret, in clear or as an address writes it."""
    return any(form in said for form in (secret, quote(secret, safe=""), quote(quote(secret, safe=""), safe="")))


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize(
    "path",
    ["/{}", "/v1/devboxes/bank/files/d/{}", "/v1/devboxes/{}/files/a.txt", "/v1/devboxes/bank/{}/a", "/api/v1/files/{}",
     "/x%3Fsigned%3D{}"],
)  # fmt: skip
def test_a_secret_in_a_path_is_in_no_log(ground: Ground, url: str, log: Path, path: str, secret: str) -> None:
    before, since = len(ground.audited()), len(log.read_text())
    once = quote(secret, safe="")
    for encoded in (once, quote(once, safe=""), "".join(f"%{ord(letter):02X}" for letter in secret)):
        for holder in ("editor", "anonymous", "token"):
            ask(url, path.format(encoded), ground.headers(holder))
    lines = ground.audited()[before:]
    assert len(lines) == 9
    assert not _show(secret, json.dumps(lines))
    assert not _show(secret, _said(log, since))
    assert any("(a " in json.dumps(line) for line in lines)


@pytest.mark.parametrize("secret", [KEY, JWT], ids=["key", "jwt"])
@pytest.mark.parametrize("holder", ["editor", "anonymous"])
def test_a_secret_is_no_request_id(ground: Ground, url: str, log: Path, holder: str, secret: str) -> None:
    before, since = len(ground.audited()), len(log.read_text())
    for path in (FILE, "/nothing"):
        reply = ask(url, path, {**ground.headers(holder), "X-Request-Id": secret})
        assert secret not in reply.headers["X-Request-Id"]
    assert len(ground.audited()) == before + 2
    assert secret not in json.dumps(ground.audited()[before:])
    assert secret not in _said(log, since)


def test_a_secret_in_a_message_of_a_websocket_is_in_no_log(ground: Ground, url: str, log: Path) -> None:
    before, since = len(ground.audited()), len(log.read_text())
    address = url.replace("http", "ws", 1).removesuffix("/mcp") + "/v1/devboxes/bank/ws"
    with connect(address, subprotocols=["devbox.v1"], additional_headers=ground.headers("editor")) as socket:  # type: ignore[list-item]  # a plain text is one
        for number, path in enumerate((f"files/{quote(TOKEN)}", f"{JWT}", "files/a.txt")):
            head = {"id": number, "path": path, "headers": {"x-request-id": KEY}}
            socket.send(json.dumps(head).encode() + b"\n")
            answer = socket.recv()
            assert isinstance(answer, bytes)
            assert KEY.encode() not in answer
    said = json.dumps(ground.audited()[before:]) + _said(log, since)
    assert len(ground.audited()) == before + 3
    assert not any(_show(secret, said) for secret in SECRETS.values())


def test_a_secret_that_a_tool_is_given_for_a_name_is_in_no_log(ground: Ground, url: str, log: Path) -> None:
    before, since = len(ground.audited()), len(log.read_text())
    for devbox, path in ((KEY, "a.txt"), ("bank", JWT), ("bank", TOKEN)):
        answer = rpc(
            url, ground.headers("editor"), "tools/call", name="stat", arguments={"devbox": devbox, "path": path}
        )
        assert answer.status == 200
    assert [line["op"] for line in ground.audited()[before:]] == ["stat"] * 3
    said = json.dumps(ground.audited()[before:]) + _said(log, since)
    assert not any(_show(secret, said) for secret in SECRETS.values())


LONG: dict[str, dict[str, Any]] = {
    "path": {"path": "/" + "x" * 30_000},
    "path that JSON escapes": {"path": "/" + quote("\N{PILE OF POO}" * 2500)},
    "path that is not printable": {"path": "/" + "%01" * 9000},
    "path that is not UTF-8": {"path": "/" + "%FF" * 9000},
    "path of quotes": {"path": "/" + "%22%5C" * 4500},
    "devbox": {"path": f"/v1/devboxes/{'%F0%9F%92%A9' * 2000}/files/a.txt"},
    "request id": {"path": "/x", "headers": {"X-Request-Id": "x" * 20_000}},
    "user agent": {"path": "/x", "headers": {"User-Agent": "x" * 20_000}},
    "host": {"path": "/x", "host": "x" * 20_000},
    "method": {"path": "/x", "method": "X" * 20_000},
}


@pytest.mark.parametrize("holder", ["anonymous", "editor"])
@pytest.mark.parametrize("how", LONG.values(), ids=LONG)
def test_no_request_leaves_a_long_line(ground: Ground, url: str, log: Path, how: dict[str, Any], holder: str) -> None:
    before, since = ground.audit_log.stat().st_size, log.stat().st_size
    given = dict(how)
    ask(url, headers={**ground.headers(holder), **given.pop("headers", {})}, **given)
    assert ground.audit_log.stat().st_size - before <= 2000
    assert log.stat().st_size - since <= 2000


def test_what_is_cut_is_cut_at_a_whole_character_and_says_so(ground: Ground, url: str) -> None:
    before = len(ground.audited())
    for letter in ("\N{PILE OF POO}", "\x01", "\N{SNOWMAN}", '"'):
        ask(url, "/" + quote(letter * 2000), ground.headers("editor"))
    ask(url, "/" + quote("\N{PILE OF POO}" * 2000) + "1", ground.headers("editor"))
    paths = [line["path"] for line in ground.audited()[before:]]
    kept = [path.partition("… (cut: 2001 characters, sha256 ")[0] for path in paths[:4]]
    assert [set(text[1:]) for text in kept] == [{"\N{PILE OF POO}"}, set("\\x01"), {"\N{SNOWMAN}"}, {'"'}]
    assert kept[1].endswith("\\x01")
    assert all(900 < len(json.dumps(path)) <= 1002 for path in paths)
    # two that begin alike are not taken for one
    assert len(set(paths)) == 5


def test_a_path_of_an_operation_is_whole_as_long_as_paths_are(ground: Ground, url: str) -> None:
    before = len(ground.audited())
    path = "/".join(["d" * 200] * 19)
    ask(url, f"/v1/devboxes/bank/files/{path}", ground.headers("editor"))
    ask(url, f"/v1/devboxes/bank/files/{quote(chr(0x4E2D) * 600)}", ground.headers("editor"))
    assert [line["path"] for line in ground.audited()[before:]] == [path, chr(0x4E2D) * 600]
