"""The real command: TLS, signals in the middle of transfers, and connections that go no further."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.types import Receive, Scope, Send

from devbox_mcp.servers.serving import load_tls
from tests.guarding.serving_app import Answer, ask, connected, echo, request, respond, running
from tests.mcp.door import PROJECT, SERVE, environment, http_process

FILES = "/v1/devboxes/box/files"


@pytest.fixture
def box(tmp_path: Path) -> Path:
    box = tmp_path / "box"
    box.mkdir()
    (box / "old.txt").write_text("old content")
    return box


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def head(method: str, path: str, length: int) -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n".encode()


def asked(method: str, path: str, body: bytes = b"") -> bytes:
    return head(method, path, len(body)) + body


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


async def begun_in(directory: Path) -> None:
    """Wait until an upload lies beside its target."""
    async with asyncio.timeout(20):
        while not any(name.startswith(".devbox-mcp") for name in names(directory)):  # noqa: ASYNC110  another process makes it
            await asyncio.sleep(0.01)


def text_of(file: Path) -> str:
    return file.read_text()


# -- TLS


def _pair(directory: Path, name: str, passphrase: bytes | None = None) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = directory / f"{name}.crt", directory / f"{name}.key"
    cert_file.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    how = serialization.NoEncryption() if passphrase is None else serialization.BestAvailableEncryption(passphrase)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key_file.write_bytes(key.private_bytes(encoding, form, how))
    return str(cert_file), str(key_file)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    return _pair(tmp_path, "good")


async def test_requests_come_over_tls(pair: tuple[str, str]) -> None:
    tls = load_tls(*pair)
    assert tls is not None
    body = b"x" * 3_000_000
    async with running(echo, tls=tls) as port:
        assert (await ask(port, request("PUT", "/", body), tls)).body == body
        # what comes without it is hung up on, and others are served on
        async with connected(port) as connection:
            await connection.send(request("GET", "/"))
            assert not (await connection.closed()).startswith(b"HTTP")
        assert (await ask(port, request("PUT", "/", b"more"), tls)).body == b"more"


async def test_old_versions_of_tls_are_refused(pair: tuple[str, str]) -> None:
    tls = load_tls(*pair)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        client.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        client.maximum_version = ssl.TLSVersion.TLSv1_1
    client.set_ciphers("ALL:@SECLEVEL=0")
    async with running(echo, tls=tls) as port:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", port, ssl=client)


def test_without_files_there_is_no_tls() -> None:
    assert load_tls(None, None) is None


def test_what_cannot_be_served_with_is_one_sentence(tmp_path: Path, pair: tuple[str, str]) -> None:
    cert, key = pair
    other_cert, other_key = _pair(tmp_path, "other")
    locked_cert, locked_key = _pair(tmp_path, "locked", b"a passphrase")
    (tmp_path / "text").write_text("no PEM")
    missing = str(tmp_path / "missing")
    for first, second, told in (
        (cert, None, "set tls_key too"),
        (None, key, "set tls_cert too"),
        (missing, key, "cannot read the TLS certificate"),
        (cert, missing, "cannot read the TLS key"),
        (cert, other_key, "does not belong to the certificate"),
        (other_cert, key, "does not belong to the certificate"),
        (str(tmp_path / "text"), key, "both are PEM files"),
        (cert, str(tmp_path / "text"), "both are PEM files"),
        (locked_cert, locked_key, "without a passphrase"),
        (key, cert, "both are PEM files"),
    ):
        with pytest.raises(ValueError, match=told):
            load_tls(first, second)


def test_the_command_serves_tls_and_refuses_a_wrong_pair(tmp_path: Path, box: Path, pair: tuple[str, str]) -> None:
    cert, key = pair
    with http_process(tmp_path / "log", str(box), "--tls-cert", cert, "--tls-key", key) as (_, url):
        assert url.startswith("https://")
        context = ssl.create_default_context(cafile=cert)
        context.check_hostname = False
        connection = http.client.HTTPSConnection("127.0.0.1", port_of(url), context=context, timeout=20)
        connection.request("GET", f"{FILES}/old.txt")
        assert connection.getresponse().read() == b"old content"
        connection.close()
    _, other = _pair(tmp_path, "other")
    argv = [*SERVE, str(box), "--http", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", other]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment(), cwd=PROJECT, timeout=60, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "does not belong to the certificate" in done.stderr


# -- the end


def test_it_runs_on_uvloop_where_that_is_installed() -> None:
    program = (
        "import asyncio\nfrom devbox_mcp.servers.serving import run\n"
        "async def main() -> None: print(type(asyncio.get_running_loop()).__module__)\nrun(main())"
    )
    for prepared, module in (("", "uvloop"), ("import sys; sys.modules['uvloop'] = None\n", "asyncio.unix_events")):
        done = subprocess.run(
            [sys.executable, "-c", prepared + program], capture_output=True, text=True, cwd=PROJECT, check=True
        )
        assert done.stdout.strip() == module


async def test_an_upload_under_way_is_completed_when_the_server_is_told_to_end(tmp_path: Path, box: Path) -> None:
    body = b"new content " * 2_000_000
    with http_process(tmp_path / "log", str(box)) as (process, url):
        port = port_of(url)
        async with connected(port) as idle, connected(port) as connection:
            await idle.send(asked("GET", f"{FILES}/old.txt"))
            assert (await idle.answer()).status == 200
            await connection.send(head("PUT", f"{FILES}/old.txt", len(body)) + body[:15_000_000])
            # the server has begun to read it
            await begun_in(box)
            process.send_signal(signal.SIGTERM)
            # an idle connection is closed, and nobody new is let in
            assert await idle.closed() == b""
            with pytest.raises(ConnectionError):
                await asyncio.open_connection("127.0.0.1", port)
            await connection.send(body[15_000_000:])
            answer = await connection.answer()
            assert answer.status == 200
            assert await connection.closed() == b""
        assert await asyncio.to_thread(process.wait, 20) == 0
    assert text_of(box / "old.txt") == body.decode()
    assert names(box) == ["old.txt"]


async def test_a_download_under_way_is_completed_when_the_server_is_told_to_end(tmp_path: Path, box: Path) -> None:
    content = os.urandom(30_000_000)
    _write(box / "large.bin", content)
    with http_process(tmp_path / "log", str(box)) as (process, url):
        async with connected(port_of(url)) as connection:
            await connection.send(asked("GET", f"{FILES}/large.bin"))
            begun = await connection.reader.readexactly(1_000_000)
            process.send_signal(signal.SIGTERM)
            said = begun + await connection.closed()
        assert await asyncio.to_thread(process.wait, 20) == 0
    assert said.partition(b"\r\n\r\n")[2] == content


def _write(file: Path, content: bytes) -> None:
    file.write_bytes(content)


async def test_an_upload_that_breaks_off_at_the_end_leaves_the_old_file(tmp_path: Path, box: Path) -> None:
    with http_process(tmp_path / "log", str(box)) as (process, url):
        async with connected(port_of(url)) as connection:
            await connection.send(head("PUT", f"{FILES}/old.txt", 30_000_000) + b"x" * 15_000_000)
            await begun_in(box)
            process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 40) == 0
    assert text_of(box / "old.txt") == "old content"
    assert names(box) == ["old.txt"]


async def test_event_streams_end_with_the_server(tmp_path: Path, box: Path) -> None:
    with http_process(tmp_path / "log", str(box)) as (process, url):
        async with connected(port_of(url)) as connection:
            await connection.send(asked("GET", "/v1/devboxes/box/events"))
            assert b"text/event-stream" in await connection.reader.readuntil(b"\r\n\r\n")
            process.send_signal(signal.SIGTERM)
            assert (await connection.closed()).endswith(b"0\r\n\r\n")
        assert await asyncio.to_thread(process.wait, 20) == 0


async def test_a_stream_of_events_ends_and_a_slow_answer_does_not() -> None:
    begun = asyncio.Semaphore(0)
    go_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        kind = b"text/event-stream" if scope["path"] == "/events" else b"text/plain"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        begun.release()
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"last"})

    serving = running(app)
    port = await serving.__aenter__()
    async with connected(port) as events, connected(port) as slow:
        for connection, path in ((events, "/events"), (slow, "/slow")):
            await connection.send(request("GET", path))
            await begun.acquire()
        ending = asyncio.create_task(serving.__aexit__(None, None, None))
        assert (await events.answer()).body == b"first"
        go_on.set()
        assert (await slow.answer()).body == b"firstlast"
        await ending


async def test_what_does_not_end_within_its_grace_is_cancelled() -> None:
    cancelled = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    serving = running(app, grace=1)
    port = await serving.__aenter__()
    async with connected(port) as connection:
        await connection.send(request("GET", "/"))
        await asyncio.sleep(0.2)
        await serving.__aexit__(None, None, None)
    assert cancelled.is_set()


# -- connections that go no further, and the whole


@pytest.fixture
def audited(tmp_path: Path, box: Path) -> Iterator[tuple[int, Path]]:
    """A server with a chained log and short time-outs: its port, and the log."""
    log, key = tmp_path / "audit.jsonl", tmp_path / "key"
    key.write_text("a key that nobody guesses")
    options = ("--audit-log", str(log), "--audit-key-file", str(key), "--header-timeout", "3", "--body-timeout", "3")
    with http_process(tmp_path / "log", str(box), *options) as (_, url):
        yield port_of(url), log


async def test_a_body_that_stalls_is_408_and_the_old_file_stays(audited: tuple[int, Path], box: Path) -> None:
    port, log = audited
    answer = await ask(port, head("PUT", f"{FILES}/old.txt", 30_000_000) + b"x" * 15_000_000)
    assert (answer.status, answer.json()["code"]) == (408, "timeout")
    assert text_of(box / "old.txt") == "old content"
    assert names(box) == ["old.txt"]
    last = json.loads(text_of(log).splitlines()[-1])
    assert (last["op"], last["path"]) == ("write", "old.txt")
    assert last["result"] != "ok"
    assert last["request_id"] == answer.headers["x-request-id"]


async def test_two_hundred_stalled_connections_leave_others_alone(audited: tuple[int, Path], box: Path) -> None:
    port, _ = audited
    _write(box / "large.bin", b"x" * 8_000_000)
    stalls = (
        head("GET", f"{FILES}/old.txt", 0)[:-2],
        head("PUT", f"{FILES}/new.txt", 1000) + b"begun",
        asked("GET", f"{FILES}/large.bin"),
    )
    stalled = [socket.create_connection(("127.0.0.1", port)) for _ in range(180)]
    # as many transfers as one caller may have at a time are not to be used up
    for number, connection in enumerate(stalled):
        connection.sendall(stalls[number % 6 % 3 if number < 150 else 0])
    for connection in stalled:
        connection.setblocking(False)

    async def work() -> list[Answer]:
        return [await ask(port, asked("GET", "/v1/devboxes/box/stat/old.txt")) for _ in range(10)]

    for answers in await asyncio.gather(*(work() for _ in range(4))):
        assert [(answer.status, answer.json()["size"]) for answer in answers] == [(200, len(b"old content"))] * 10
    for connection in stalled:
        connection.close()
    assert names(box)[-2:] == ["large.bin", "old.txt"]


async def test_the_log_of_a_served_devbox_holds(audited: tuple[int, Path], box: Path, tmp_path: Path) -> None:
    port, log = audited
    await asyncio.gather(*(ask(port, asked("PUT", f"{FILES}/{n}.txt", b"x")) for n in range(20)))
    argv = [sys.executable, "-m", "devbox_mcp", "audit", "verify", str(log), "--key-file", str(tmp_path / "key")]
    done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, cwd=PROJECT, check=False)
    assert done.returncode == 0, done.stdout
    assert "all 21 lines hold" in done.stdout


async def test_a_request_without_end_is_answered_by_no_more_than_its_status(audited: tuple[int, Path]) -> None:
    port, _ = audited
    for started in (
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{",
    ):
        answer = await ask(port, started)
        assert answer.status in (408, 401, 406, 400)
        assert b"Traceback" not in answer.body


async def test_unfinished_answers_do_not_occupy_the_servers_end() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, b"x" * 30_000_000)

    serving = running(app, grace=1)
    port = await serving.__aenter__()
    async with connected(port) as connection:
        await connection.send(request("GET", "/"))
        await connection.reader.readexactly(1000)
        connection.writer.transport.pause_reading()
        await asyncio.wait_for(serving.__aexit__(None, None, None), 20)


async def test_what_the_command_logs_is_json(audited: tuple[int, Path], tmp_path: Path) -> None:
    port, _ = audited
    await ask(port, asked("GET", f"{FILES}/old.txt"))
    await ask(port, asked("GET", f"{FILES}/old.txt?secret=hunter2"))
    await ask(port, asked("GET", f"{FILES}/missing.txt"))
    await ask(port, b"nonsense\r\n\r\n")
    said = [line for line in text_of(tmp_path / "log").splitlines() if not line.startswith("devbox-mcp ")]
    told = [json.loads(line) for line in said]
    assert [line["status"] for line in told] == [200, 400, 404]
    assert {line["caller"] for line in told} == {"operator"}
    assert "hunter2" not in "".join(said)
    assert "missing" not in "".join(said)
