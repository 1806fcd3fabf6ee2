"""HTTP: who may ask at all, how much, and what happens to who may not."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from tests.mcp.door import PROJECT, SERVE, environment, http_door, http_process, http_server

TOKEN = "correct horse battery staple"
VERSIONS = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    box = tmp_path_factory.mktemp("http") / "box"
    box.mkdir()
    (box / "a.txt").write_text("here\n")
    return box


@pytest.fixture(scope="module")
def url(box: Path) -> Iterator[str]:
    options = ("--max-body", "10K", "--allow-host", "files.example.com", "--allow-origin", "https://app.example.com")
    with http_server(box.parent / "log", str(box), *options) as url:
        yield url


@pytest.fixture(scope="module")
def plain(box: Path) -> Iterator[str]:
    with http_server(box.parent / "plain.log", str(box)) as url:
        yield url


@pytest.fixture(scope="module")
def guarded(box: Path) -> Iterator[str]:
    """A server that other machines reach, with a token."""
    token_file = box.parent / "token"
    token_file.write_text(TOKEN + "\n")
    options = ("--http", "0.0.0.0:0", "--token-file", str(token_file))
    with http_server(box.parent / "guarded.log", str(box), *options) as url:
        yield url.replace("0.0.0.0", "127.0.0.1")


def initialize(version: str = "2025-11-25") -> bytes:
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}).encode()


JSON = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


class Reply:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def message(self) -> dict[str, Any]:
        """Return the JSON-RPC message, be it plain or an event."""
        text = self.body.decode()
        if self.headers.get_content_type() == "text/event-stream":
            (text,) = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
        message: dict[str, Any] = json.loads(text)
        return message


def ask(
    url: str,
    body: bytes | None = None,
    headers: Mapping[str, str | None] | None = None,
    *,
    method: str = "POST",
    path: str | None = None,
) -> Reply:
    """Send one request; a header of None is left out, Host too."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    wanted = {"Host": parts.netloc, **JSON, **(headers or {})}
    try:
        connection.putrequest(method, path or parts.path, skip_host=True, skip_accept_encoding=True)
        for name, value in wanted.items():
            if value is not None:
                connection.putheader(name, value)
        if body is not None and "Transfer-Encoding" not in wanted:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body, encode_chunked="Transfer-Encoding" in wanted)
        return Reply(connection.getresponse())
    finally:
        connection.close()


# -- Host and Origin


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("{netloc}", None, 200),
        ("localhost:{port}", None, 200),
        ("127.0.0.1", None, 200),
        ("localhost", None, 200),
        ("[::1]:{port}", None, 200),
        ("files.example.com", None, 200),
        ("{netloc}", "http://{netloc}", 200),
        ("{netloc}", "http://localhost:{port}", 200),
        ("{netloc}", "http://localhost:3000", 200),
        ("{netloc}", "http://localhost", 200),
        ("{netloc}", "https://app.example.com", 200),
        (None, None, 421),
        ("", None, 421),
        ("evil.example.com", None, 421),
        ("evil.example.com:{port}", None, 421),
        ("127.0.0.1.evil.example.com", None, 421),
        ("localhost.evil.example.com:{port}", None, 421),
        ("evil.files.example.com", None, 421),
        ("0.0.0.0:{port}", None, 421),
        ("{netloc}", "http://evil.example.com", 403),
        ("{netloc}", "http://evil.example.com:{port}", 403),
        ("{netloc}", "http://localhost.evil.example.com", 403),
        ("{netloc}", "https://localhost.evil.example.com:{port}", 403),
        ("{netloc}", "http://app.example.com", 403),
        ("{netloc}", "null", 403),
        ("{netloc}", "file://", 403),
        ("evil.example.com", "http://evil.example.com", 421),
    ],
)
def test_a_web_page_does_not_reach_the_server(url: str, host: str | None, origin: str | None, status: int) -> None:
    parts = urlsplit(url)
    fill = {"netloc": parts.netloc, "port": parts.port}
    headers = {
        "Host": None if host is None else host.format(**fill),
        "Origin": None if origin is None else origin.format(**fill),
    }
    # HTTP/1.1 itself asks for a Host: its absence is refused by the head alone, and a body that arrives after the
    # connection was closed would reset it, answer and all
    body, expected = (None, (400, 421)) if host is None else (initialize(), (status,))
    assert ask(url, body, headers).status in expected
    assert ask(url, None, {**headers, "Accept": "text/event-stream"}, method="GET").status != 200
    modern = {**headers, "Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "server/discover"}
    discovered = ask(url, _modern("server/discover"), modern)
    assert discovered.status in expected
    if status != 200:
        assert b"root" not in discovered.body


def _modern(method: str, **params: Any) -> bytes:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
    }
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}).encode()


def test_no_page_of_another_origin_is_invited_by_cors(url: str) -> None:
    asked = {"Origin": "http://evil.example.com", "Access-Control-Request-Method": "POST"}
    reply = ask(url, None, asked, method="OPTIONS")
    assert reply.status >= 400
    assert not [name for name in reply.headers if name.lower().startswith("access-control-")]


# -- tokens


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401),
        ("", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("Bearer wrong", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (f"Bearer  {TOKEN} ", 200),
    ],
)
def test_off_loopback_the_token_opens(guarded: str, authorization: str | None, status: int) -> None:
    reply = ask(guarded, initialize(), {"Authorization": authorization})
    assert reply.status == status
    if status == 401:
        carried = (authorization or "").lower().startswith("bearer ") and authorization != "Bearer "
        assert reply.headers["WWW-Authenticate"] == ('Bearer error="invalid_token"' if carried else "Bearer")
        assert reply.headers["Content-Type"] == "application/problem+json"
        problem = json.loads(reply.body)
        assert (problem["code"], problem["op"], problem["path"]) == ("unauthenticated", "authenticate", "/mcp")


def test_without_the_token_no_method_and_no_path_is_answered(guarded: str) -> None:
    for method in ("GET", "POST", "DELETE", "PUT", "OPTIONS", "HEAD"):
        for path in ("/mcp", "/", "/mcp/", "/docs/", "/metrics", "/.well-known/other", "/healthz/x"):
            assert ask(guarded, None, method=method, path=path).status == 401


def test_a_token_does_not_open_for_another_host(guarded: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "evil.example.com"}
    assert ask(guarded, initialize(), headers).status == 421


async def test_the_official_client_works_with_a_token(guarded: str) -> None:
    async with (
        create_mcp_http_client(headers={"Authorization": f"Bearer {TOKEN}"}) as carrier,
        Client(streamable_http_client(guarded, http_client=carrier), cache=None) as client,
    ):
        result = await client.call_tool("read_file", {"path": "a.txt"})
        assert result.content[0].text == "1\there\n"  # type: ignore[union-attr]


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.com:80"])
def test_off_loopback_it_does_not_start_without_a_token(box: Path, address: str) -> None:
    done = _start(box, "--http", address)
    assert done.returncode == 2
    assert "a token is required" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_empty_token_is_no_token(box: Path) -> None:
    done = _start(box, "--http", "0.0.0.0:0", env={"DEVBOX_MCP_TOKEN": ""})
    assert done.returncode == 2
    assert "token" in done.stderr


def test_on_loopback_a_token_counts_as_well(box: Path, tmp_path: Path) -> None:
    with http_server(tmp_path / "log", str(box), env={"DEVBOX_MCP_TOKEN": TOKEN}) as url:
        assert ask(url, initialize()).status == 401
        assert ask(url, initialize(), {"Authorization": f"Bearer {TOKEN}"}).status == 200


# -- bodies, methods, sessions


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused(url: str, chunked: bool) -> None:
    how = {"Transfer-Encoding": "chunked"} if chunked else {}
    padding = b" " * (10 * 1024 - len(initialize()))
    assert ask(url, initialize() + padding, how).status == 200
    assert ask(url, initialize() + padding + b" ", how).status == 413


def test_a_full_batch_fits_into_the_default_body(plain: str) -> None:
    content = "x" * (9 * 1024 * 1024)
    files = [{"path": f"big/{number}.txt", "content": content} for number in range(3)]
    call = _modern("tools/call", name="upload_batch", arguments={"files": files})
    headers = {"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "upload_batch"}
    answer = ask(plain, call, headers).message()
    assert answer["result"]["structuredContent"]["written"] == 3


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_of_every_revision_from_its_handshake_to_its_end(url: str, version: str) -> None:
    opened = ask(url, initialize(version))
    assert opened.message()["result"]["protocolVersion"] == version
    session = {"Mcp-Session-Id": opened.headers["Mcp-Session-Id"], "Mcp-Protocol-Version": version}
    initialized = json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}).encode()
    assert ask(url, initialized, session).status == 202
    call = {"name": "read_file", "arguments": {"path": "a.txt"}}
    request = json.dumps({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call}).encode()
    assert ask(url, request, session).message()["result"]["content"][0]["text"] == "1\there\n"
    assert ask(url, None, session, method="DELETE").status in (200, 204)
    assert ask(url, request, session).status == 404


@pytest.mark.parametrize(
    ("method", "path", "headers", "statuses"),
    [
        ("GET", "/mcp", {"Accept": "text/event-stream"}, (400, 404, 405)),
        ("GET", "/mcp", {"Accept": "text/html"}, (400, 404, 405, 406)),
        ("DELETE", "/mcp", {}, (400, 404, 405)),
        ("DELETE", "/mcp", {"Mcp-Session-Id": "guessed"}, (404,)),
        ("POST", "/mcp", {"Mcp-Session-Id": "guessed"}, (404,)),
        ("GET", "/mcp", {"Mcp-Session-Id": "guessed", "Accept": "text/event-stream"}, (404,)),
        ("GET", "/mcp", {"Mcp-Protocol-Version": "2026-07-28"}, (400, 404, 405)),
        ("DELETE", "/mcp", {"Mcp-Protocol-Version": "2026-07-28"}, (400, 404, 405)),
        ("PUT", "/mcp", {}, (405,)),
        ("POST", "/", {}, (404,)),
        ("GET", "/etc/passwd", {}, (404,)),
        ("POST", "/mcp", {"Content-Type": "text/plain"}, (400, 415)),
        ("POST", "/mcp", {"Content-Type": None}, (400, 415)),
        ("POST", "/mcp", {"Accept": "text/html"}, (400, 406)),
        ("POST", "/mcp", {"Mcp-Protocol-Version": "1999-01-01"}, (400,)),
    ],
)
def test_what_is_no_request_is_answered_with_a_status(
    url: str, method: str, path: str, headers: dict[str, str | None], statuses: tuple[int, ...]
) -> None:
    reply = ask(url, initialize() if method == "POST" else None, headers, method=method, path=path)
    assert reply.status in statuses
    assert b"Traceback" not in reply.body


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"jsonrpc":"2.0"}', b"[" * 5000])
def test_a_body_that_is_no_message_is_a_bad_request(url: str, body: bytes) -> None:
    assert ask(url, body).status == 400
    modern = {"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list"}
    assert ask(url, body, modern).status == 400
    assert ask(url, initialize()).status == 200


def test_the_server_does_not_say_what_it_runs_on(url: str) -> None:
    assert "Server" not in ask(url, initialize()).headers


# -- many, and the end


async def test_clients_at_once_each_get_their_own(box: Path, plain: str) -> None:
    async with AsyncExitStack() as stack:
        doors = [
            await stack.enter_async_context(http_door(box, plain, mode="legacy" if number % 2 else "auto"))
            for number in range(10)
        ]

        async def work(number: int) -> None:
            for turn in range(5):
                await doors[number].call("write_file", path=f"c{number}.txt", content=f"{number} {turn}")
                answer = await doors[number].call("read_file", path=f"c{number}.txt", line_numbers=False)
                assert answer.texts[0] == f"{number} {turn}"

        await asyncio.gather(*(work(number) for number in range(10)))


def test_a_port_in_use_is_one_sentence(box: Path, url: str) -> None:
    done = _start(box, "--http", urlsplit(url).netloc)
    assert done.returncode == 2
    assert "choose another HOST:PORT" in done.stderr
    assert "in use" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_it_serves_ipv6_too(box: Path, tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    with http_server(tmp_path / "log", str(box), "--http", "[::1]:0") as url:
        assert url.startswith("http://[::1]:")
        assert ask(url, initialize()).status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_with_open_streams_and_leaves_nothing_behind(tmp_path: Path, number: int) -> None:
    box, temporary, log = tmp_path / "box", tmp_path / "temporary", tmp_path / "log"
    box.mkdir()
    temporary.mkdir()
    (box / "big.bin").write_bytes(os.urandom(1_000_000))
    with http_process(log, str(box), env={"TMPDIR": str(temporary)}) as (process, url):
        async with http_door(box, url) as door, http_door(box, url, mode="legacy"):
            await door.call("download_zip", paths=["."])
            assert os.listdir(temporary) != []
            async with door.client.listen(resource_subscriptions=[door.uri("big.bin")]) as listening:
                process.send_signal(number)
                assert [event async for event in listening] == []
                status = await asyncio.to_thread(process.wait, 20)
    assert status == 0
    assert os.listdir(temporary) == []


def _start(box: Path, *options: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SERVE, str(box), *options], capture_output=True, text=True, env=environment(env), cwd=PROJECT,
        stdin=subprocess.DEVNULL, timeout=30, check=False,
    )  # fmt: skip
