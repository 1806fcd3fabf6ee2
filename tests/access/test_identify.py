"""Who is let in: by which credentials, in which form; and what is left of who is not."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from devbox_mcp.keys import hashed, new_key
from tests.access.asking import JSON, ask, rpc
from tests.access.matrix import DEVBOXES, HOLDERS, TOKEN, Ground, Holder
from tests.mcp.door import http_server

STAT = "/v1/devboxes/shop/stat/a.txt"
OPEN = ("/healthz", "/readyz", "/health", "/health/ready", "/docs", "/openapi.json")
REFUSED = [holder.name for holder in HOLDERS if not holder.known]


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER {}", "Bearer   {} "])
@pytest.mark.parametrize("name", ["reader", "token", "jwt-editor"])
def test_a_key_a_token_and_a_jwt_open(ground: Ground, url: str, name: str, form: str) -> None:
    reply = ask(url, STAT, {"Authorization": form.format(ground.credentials[name])})
    assert reply.status == 200


@pytest.mark.parametrize("path", [STAT, "/v1/devboxes", "/mcp", "/api/v1/files/list", "/metrics", "/nothing"])
@pytest.mark.parametrize("name", REFUSED)
def test_who_is_nobody_gets_nowhere(ground: Ground, url: str, name: str, path: str) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        reply = ask(url, path, ground.headers(name), method=method)
        assert reply.status == 401
        if method != "HEAD":
            assert reply.code == "unauthenticated"
            assert reply.json["path"] == path
        challenge = reply.headers["WWW-Authenticate"]
        assert challenge.startswith("Bearer")
        assert ('error="invalid_token"' in challenge) is (name != "anonymous")
        assert ("resource_metadata=" in challenge) is (path == "/mcp")


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: holder.name)
def test_metrics_are_for_who_reaches_every_devbox(ground: Ground, url: str, holder: Holder) -> None:
    before = len(ground.audited())
    reply = ask(url, "/metrics", ground.headers(holder))
    if not holder.known:
        assert reply.status == 401
    elif "*" in holder.devboxes:
        assert (reply.status, b"devbox_mcp_devboxes_answering" in reply.body) == (200, True)
    else:
        assert (reply.status, reply.code) == (403, "forbidden")
        assert [line["result"] for line in ground.audited()[before:]] == ["forbidden"]


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Basic {}", "{}", "Bearer {}x", "Bearer x{}", "Token {}", "Bearer {},{}", "Bearer {} {}"],
)
def test_a_credential_in_another_form_is_none(ground: Ground, url: str, authorization: str) -> None:
    given = authorization.replace("{}", ground.credentials["reader"])
    assert ask(url, STAT, {"Authorization": given}).status == 401


def test_two_credentials_are_none(ground: Ground, url: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.putrequest("GET", STAT)
    for name in ("reader", "token"):
        connection.putheader("Authorization", f"Bearer {ground.credentials[name]}")
    connection.endheaders()
    assert connection.getresponse().status == 401
    connection.close()


def test_a_part_of_a_key_or_its_hash_is_no_key(ground: Ground, url: str) -> None:
    key = ground.credentials["reader"]
    for given in (key[:-1], key[4:], key.lower(), hashed(key), hashed(key).removeprefix("sha256:"), "reader"):
        assert ask(url, STAT, {"Authorization": f"Bearer {given}"}).status == 401


@pytest.mark.parametrize("path", OPEN)
def test_what_is_the_same_for_everybody_needs_no_credential(ground: Ground, url: str, path: str) -> None:
    reply = ask(url, path)
    assert reply.status == 200
    for name in (*DEVBOXES, str(ground.directory), "reader", "login.example.com"):
        assert f'"{name}"'.encode() not in reply.body
    assert ask(url, f"{path}/", None).status == 401


def test_the_audit_log_tells_of_every_refusal_and_never_the_key(ground: Ground, url: str) -> None:
    before = len(ground.audited())
    stranger = ground.credentials["stranger"]
    ask(url, STAT, {"Authorization": f"Bearer {stranger}", "X-Request-Id": "the-request"})
    ask(url, f"/v1/devboxes/shop/files/{stranger}")
    ask(url, f"/v1/devboxes?access_token={stranger}")
    lines = ground.audited()[before:]
    assert [(line["caller"], line["op"]) for line in lines] == [("anonymous", "authenticate")] * 3
    assert [line["result"] for line in lines] == ["unauthenticated", "unauthenticated", "invalid_argument"]
    assert lines[0]["path"] == STAT
    assert lines[0]["request_id"] == "the-request"
    assert lines[2]["path"] == "/v1/devboxes"
    assert stranger not in ground.audit_log.read_text()


@pytest.mark.parametrize("query", ["access_token={}", "a=b&Access_Token={}", "token=x", "api_key={}", "glob={}"])
@pytest.mark.parametrize("sent", [True, False])
def test_a_key_in_the_address_is_refused(ground: Ground, url: str, query: str, sent: bool) -> None:
    key = ground.credentials["reader"]
    reply = ask(url, f"/v1/devboxes/shop/list/?{query.replace('{}', key)}", ground.headers("reader") if sent else {})
    assert (reply.status, reply.code) == (400, "invalid_argument")
    assert key.encode() not in reply.body


def test_a_key_may_be_searched_for_in_part(ground: Ground, url: str) -> None:
    assert ask(url, "/v1/devboxes/shop/search?pattern=dbx_abc", ground.headers("reader")).status == 200


# -- WebSockets


async def _opened(url: str, headers: dict[str, str], protocols: list[str]) -> str | None:
    address = url.replace("http://", "ws://").replace("/mcp", "/v1/devboxes/shop/ws")
    async with connect(
        address, additional_headers=headers, subprotocols=[Subprotocol(name) for name in protocols]
    ) as socket:
        message = {"id": 1, "method": "GET", "path": "files/a.txt", "query": {}, "headers": {}}
        await socket.send(json.dumps(message).encode() + b"\n")
        answer = await socket.recv()
        assert isinstance(answer, bytes)
        head, _, body = answer.partition(b"\n")
        assert (json.loads(head)["status"], body) == (200, b"one\ntwo\n")
        return socket.subprotocol


async def test_a_websocket_opens_by_header_or_by_subprotocol(ground: Ground, url: str) -> None:
    key = ground.credentials["reader"]
    assert await _opened(url, ground.headers("reader"), ["devbox.v1"]) == "devbox.v1"
    assert await _opened(url, {}, ["devbox.v1", f"bearer.{key}"]) == "devbox.v1"
    assert await _opened(url, {}, [f"bearer.{key}", "devbox.v1"]) == "devbox.v1"
    assert await _opened(url, {}, ["devbox.v1", f"bearer.{ground.credentials['jwt-editor']}"]) == "devbox.v1"


@pytest.mark.parametrize("given", ["", "bearer.", "bearer.{}x", "BEARER.{}", "{}", "bearer.{} bearer.{}"])
async def test_a_websocket_without_a_credential_is_not_opened(ground: Ground, url: str, given: str) -> None:
    protocols = ["devbox.v1", *given.replace("{}", ground.credentials["reader"]).split()]
    with pytest.raises(InvalidStatus) as refused:
        await _opened(url, {}, protocols)
    assert refused.value.response.status_code == 401
    assert refused.value.response.headers["WWW-Authenticate"].startswith("Bearer")


# -- the file, as it changes


@pytest.fixture
def changing(tmp_path: Path) -> Iterator[tuple[str, Path, Path]]:
    """A server of its own, its access file and its log."""
    box, file, log = tmp_path / "box", tmp_path / "access.toml", tmp_path / "log"
    box.mkdir()
    file.write_text("")
    with http_server(log, str(box), "--access", str(file)) as url:
        yield url, file, log


def _key(file: Path, name: str, *more: str) -> str:
    """Write a file with one key."""
    key = new_key()
    temporary = file.with_suffix(".new")
    lines = ["[[keys]]", f'name = "{name}"', f'hash = "{hashed(key)}"', 'devboxes = ["*"]', 'scopes = ["read"]', *more]
    temporary.write_text("\n".join(lines))
    temporary.replace(file)
    return key


async def _until(url: str, key: str, status: int) -> None:
    """Ask until the answer is this: a server looks at the file once a second."""
    async with asyncio.timeout(30):
        while ask(url, "/v1/devboxes", {"Authorization": f"Bearer {key}"}).status != status:  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0.1)


async def test_a_key_counts_from_when_it_is_in_the_file_until_it_is_not(changing: tuple[str, Path, Path]) -> None:
    url, file, _ = changing
    first = _key(file, "first")
    await _until(url, first, 200)
    second = _key(file, "second")
    await _until(url, second, 200)
    await _until(url, first, 401)


async def test_a_broken_file_leaves_the_one_before_in_force_and_says_why(changing: tuple[str, Path, Path]) -> None:
    url, file, log = changing
    first = _key(file, "first")
    await _until(url, first, 200)
    _key(file, "second", "expires = 12")
    async with asyncio.timeout(30):
        while "stays in force" not in log.read_text():
            assert ask(url, "/v1/devboxes", {"Authorization": f"Bearer {first}"}).status == 200
            await asyncio.sleep(0.1)
    assert ask(url, "/v1/devboxes", {"Authorization": f"Bearer {first}"}).status == 200
    os.unlink(file)
    third = new_key()
    assert ask(url, "/v1/devboxes", {"Authorization": f"Bearer {third}"}).status == 401
    assert ask(url, "/v1/devboxes", {"Authorization": f"Bearer {first}"}).status == 200
    await _until(url, _key(file, "third"), 200)
    await _until(url, first, 401)


async def test_a_websocket_outlives_its_key_and_does_nothing_more(changing: tuple[str, Path, Path]) -> None:
    url, file, _ = changing
    key = _key(file, "first")
    await _until(url, key, 200)
    address = url.replace("http://", "ws://").replace("/mcp", "/v1/devboxes/box/ws")
    headers = {"Authorization": f"Bearer {key}"}
    async with connect(address, additional_headers=headers, subprotocols=[Subprotocol("devbox.v1")]) as opened:

        async def status(number: int) -> int:
            message = {"id": number, "method": "GET", "path": "list/", "query": {}, "headers": {}}
            await opened.send(json.dumps(message).encode() + b"\n")
            answer = await opened.recv()
            assert isinstance(answer, bytes)
            found: int = json.loads(answer.partition(b"\n")[0])["status"]
            return found

        assert await status(1) == 200
        await _until(url, _key(file, "second"), 200)
        assert await status(2) == 401


# -- one session, one caller


def test_a_session_is_not_there_for_another(ground: Ground, url: str) -> None:
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}}
    opening = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}).encode()
    opened = ask(url, "/mcp", {**JSON, **ground.headers("reader")}, method="POST", body=opening)
    assert "devbox bank" not in opened.message()["result"]["instructions"]
    session = {**JSON, "Mcp-Session-Id": opened.headers["Mcp-Session-Id"], "Mcp-Protocol-Version": "2025-11-25"}
    initialized = json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}).encode()
    assert ask(url, "/mcp", {**session, **ground.headers("reader")}, method="POST", body=initialized).status == 202
    call = json.dumps({"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}).encode()
    for other in ("token", "editor", "jwt-reader"):
        headers = {**session, **ground.headers(other)}
        assert ask(url, "/mcp", headers, method="POST", body=call).status == 404
        assert ask(url, "/mcp", headers, method="DELETE").status == 404
        assert ask(url, "/mcp", {**headers, "Accept": "text/event-stream"}).status == 404
    assert ask(url, "/mcp", {**session, **ground.headers("reader")}, method="POST", body=call).status == 200


# -- nothing is left of a secret


def test_no_secret_is_in_any_log_answer_or_error(ground: Ground, url: str, log: Path) -> None:
    secrets = [*ground.credentials.values(), TOKEN]
    answers = []
    for secret in secrets:
        for headers in (
            {"Authorization": f"Bearer {secret}"},
            {"Authorization": f"Basic {secret}"},
            {"Cookie": secret},
        ):
            for path in (STAT, f"{STAT}?access_token={secret.replace(' ', '+')}", "/mcp", "/v1/devboxes/none/stat/a"):
                answers.append(ask(url, path, headers).body)
            called = rpc(url, headers, "tools/call", name="read_file", arguments={"path": "absent", "devbox": "shop"})
            answers.append(called.body)
        answers.append(ask(url, "/mcp", {**JSON, "Authorization": f"Bearer {secret}"}, method="POST", body=b"{").body)
    written = b"\n".join([*answers, log.read_bytes(), ground.audit_log.read_bytes()])
    for secret in secrets:
        assert secret.encode() not in written
        assert not re.search(re.escape(secret.replace(" ", ".")).encode(), written)


def test_callers_at_once_are_each_recorded_by_their_own_name(ground: Ground, url: str) -> None:
    before = len(ground.audited())
    names = ["reader", "token", "jwt-editor", "keeper"] * 5

    def work(name: str) -> None:
        ask(url, "/v1/devboxes/shop/stat/a.txt", {**ground.headers(name), "X-Request-Id": f"of-{name}"})

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = ground.audited()[before:]
    assert len(lines) == len(names)
    for line in lines:
        assert line["request_id"] == f"of-{line['caller'].rpartition('#')[2]}"
