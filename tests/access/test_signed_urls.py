"""Signed URLs: what they open, for how long, how often, and everything that they do not."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import socket
import subprocess
import threading
import time
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from limits.storage import storage_from_string

from devbox_mcp.audit import NoAudit
from devbox_mcp.callers import Caller, Scope
from devbox_mcp.errors import Forbidden, InvalidArgument, Unauthenticated, Unavailable
from devbox_mcp.keys import hashed, new_key
from devbox_mcp.paths import SandboxPath
from devbox_mcp.servers.access.access import Access
from devbox_mcp.servers.access.nonces import Nonces, OwnNonces, SharedNonces, open_nonces
from devbox_mcp.servers.access.signing import SignedUrl, Target, UrlSigner
from devbox_mcp.settings import Settings, load
from tests.access.asking import Reply, ask, fetch, rpc
from tests.access.matrix import Ground
from tests.mcp.door import http_server

SECRET = "a secret that signs the URLs of a test server"


def made(ground: Ground, url: str, holder: str, **wanted: Any) -> Reply:
    devbox = wanted.pop("devbox", "shop-test")
    headers = {"Content-Type": "application/json", **ground.headers(holder)}
    body = json.dumps(wanted).encode()
    return ask(url, f"/v1/devboxes/{devbox}/signed-urls", headers, method="POST", body=body)


def signed(ground: Ground, url: str, method: str = "GET", path: str = "a.txt", **wanted: Any) -> str:
    reply = made(ground, url, wanted.pop("holder", "editor"), method=method, path=path, **wanted)
    assert reply.status == 201, reply.body
    address: str = reply.json["url"]
    return address


def forbidden(reply: Reply) -> str:
    assert (reply.status, reply.code) == (403, "forbidden"), reply.body
    detail: str = reply.json["detail"]
    return detail


# -- what they open


def test_a_get_url_fetches_the_file_again_and_again(ground: Ground, url: str) -> None:
    address = signed(ground, url)
    assert address.startswith(url.removesuffix("/mcp"))
    for _ in range(2):
        assert fetch(address).body == b"one\ntwo\n"
    assert fetch(address, method="HEAD").headers["Content-Length"] == "8"
    assert fetch(address, {"Range": "bytes=4-6"}).body == b"two"


def test_a_put_url_writes_the_file_once(ground: Ground, url: str) -> None:
    address = signed(ground, url, "PUT", "dir/new.txt")
    assert fetch(address, method="PUT", body=b"new").status == 201
    assert "used already" in forbidden(fetch(address, method="PUT", body=b"again"))
    assert ground.tree("shop-test")["dir/new.txt"] == b"new"


def test_an_upload_that_was_refused_did_not_use_the_url(ground: Ground, url: str) -> None:
    address = signed(ground, url, "PUT")
    wrong = {"Repr-Digest": "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"}
    assert fetch(address, wrong, method="PUT", body=b"new").status == 422
    assert fetch(address, {"If-Match": '"000000000000"'}, method="PUT", body=b"new").status == 412
    assert ground.untouched("shop-test")
    assert fetch(address, method="PUT", body=b"new").status == 200
    forbidden(fetch(address, method="PUT", body=b"new"))


def test_of_many_at_once_one_writes(ground: Ground, url: str) -> None:
    address = signed(ground, url, "PUT", "raced.txt")
    statuses: list[int] = []

    def put(number: int) -> None:
        statuses.append(fetch(address, method="PUT", body=str(number).encode()).status)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201] + [403] * 11


def test_an_archive(ground: Ground, url: str) -> None:
    reply = made(ground, url, "editor", paths=["a.txt", "dir"], format="zip")
    with zipfile.ZipFile(io.BytesIO(fetch(reply.json["url"]).body)) as found:
        assert {name for name in found.namelist() if not name.endswith("/")} == {"a.txt", "dir/b.txt"}


@pytest.mark.parametrize(
    "name", ["a b.txt", "ä.txt", "100%.txt", "a+b&c=d?e#f.txt", "%41.txt", "a;b.txt", "'\"~!*().txt"]
)
def test_names_of_every_kind(ground: Ground, url: str, name: str) -> None:
    (ground.directory / "boxes" / "shop-test" / name).write_text(name)
    assert fetch(signed(ground, url, path=name)).body == name.encode()
    archive = made(ground, url, "editor", paths=[name]).json["url"]
    with zipfile.ZipFile(io.BytesIO(fetch(archive).body)) as found:
        assert found.namelist() == [name]


def test_a_download_says_so(ground: Ground, url: str) -> None:
    assert "attachment" in fetch(signed(ground, url, download=True)).headers["Content-Disposition"]
    assert "Content-Disposition" not in fetch(signed(ground, url)).headers


def test_it_expires_when_it_says(ground: Ground, url: str) -> None:
    before = int(time.time())
    assert before + 900 <= made(ground, url, "editor", path="a.txt").json["expires"] <= time.time() + 900
    reply = made(ground, url, "editor", path="a.txt", expires_in=1)
    assert reply.json["expires"] <= time.time() + 1
    while time.time() < reply.json["expires"]:
        time.sleep(0.05)
    assert "expired" in forbidden(fetch(reply.json["url"]))


# -- who makes them


@pytest.mark.parametrize(
    ("holder", "devbox", "method", "status"),
    [
        ("reader", "shop", "GET", 201), ("reader", "shop", "PUT", 403), ("reader", "bank", "GET", 404),
        ("writer", "shop", "GET", 403), ("writer", "shop", "PUT", 201), ("writer", "shop-test", "PUT", 404),
        ("keeper", "shop", "GET", 403), ("token", "bank", "PUT", 201), ("jwt-reader", "bank", "GET", 201),
        ("jwt-reader", "bank", "PUT", 403), ("jwt-nothing", "shop", "GET", 404), ("stranger", "shop", "GET", 401),
        ("anonymous", "shop", "GET", 401), ("expired", "shop", "GET", 401),
    ],
)  # fmt: skip
def test_nobody_lends_what_he_does_not_have(
    ground: Ground, url: str, holder: str, devbox: str, method: str, status: int
) -> None:
    reply = made(ground, url, holder, devbox=devbox, method=method, path="a.txt")
    assert reply.status == status
    if status == 201:
        done = fetch(reply.json["url"], method=method, body=b"x" if method == "PUT" else None)
        assert done.status == 200
    if status == 403:
        assert ground.audited()[-1]["result"] == "forbidden"


def test_who_signed_it_is_in_the_log(ground: Ground, url: str) -> None:
    fetch(signed(ground, url, "PUT", holder="editor"), method="PUT", body=b"x")
    asked, done = ground.audited()[-2:]
    assert (asked["op"], asked["caller"], asked["path"]) == ("sign_url", "editor", "a.txt")
    assert (done["op"], done["caller"], done["result"]) == ("write", "editor", "ok")


@pytest.mark.parametrize(
    "wanted",
    [
        {}, {"path": "a.txt", "paths": ["a.txt"]}, {"path": "."}, {"path": ""}, {"path": "../bank/a.txt"},
        {"path": "a.txt", "method": "DELETE"}, {"path": "a.txt", "method": "HEAD"}, {"path": "a.txt", "expires_in": 0},
        {"path": "a.txt", "expires_in": 3601}, {"path": "a.txt", "expires_in": "1"}, {"paths": []},
        {"path": "a.txt", "devboxes": ["*"]}, {"paths": ["a.txt"], "method": "PUT"}, {"paths": ["x" * 4000, "y" * 99]},
        {"path": "devbox://bank/a.txt"}, {"paths": ["a.txt"], "format": "rar"},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_not_signed(ground: Ground, url: str, wanted: dict[str, Any]) -> None:
    reply = made(ground, url, "editor", **wanted)
    assert reply.code in ("invalid_argument", "escapes_root")
    assert reply.status in (400, 403)


# -- what they do not open


def _altered(address: str) -> Iterator[tuple[str, str]]:
    """Yield a URL with every thing in it changed that could be."""
    parts = urlsplit(address)
    signature = parts.query.removeprefix("signed=")
    said, _, mac = signature.partition(".")
    base = address.partition("?")[0]
    yield "another file", address.replace("/files/a.txt", "/files/run.sh")
    yield "another devbox", address.replace("/shop-test/", "/bank/")
    yield "another way to write the path", address.replace("/files/a.txt", "/files/%61.txt")
    yield "a longer path", address.replace("/files/a.txt", "/files/dir/../a.txt")
    yield "a doubled slash", address.replace("/files/a.txt", "/files//a.txt")
    yield "another route", address.replace("/files/a.txt", "/stat/a.txt")
    yield "the listing", address.replace("/files/a.txt", "/list/")
    yield "all devboxes", address.replace("/v1/devboxes/shop-test/files/a.txt", "/v1/devboxes")
    yield "the MCP door", address.replace("/v1/devboxes/shop-test/files/a.txt", "/mcp")
    yield "one more parameter", f"{base}?in_place=true&{parts.query}"
    yield "one more parameter behind", f"{address}&download=true"
    yield "two signatures", f"{address}&{parts.query}"
    yield "no signature", f"{base}?signed="
    yield "no value", f"{base}?signed"
    yield "a cut signature", address[:-1]
    yield "a longer signature", address + "A"
    yield "another signature", f"{base}?signed={said}.{'A' * len(mac)}"
    yield "no claim", f"{base}?signed=.{mac}"
    yield "no mac", f"{base}?signed={said}."
    yield "a mac alone", f"{base}?signed={mac}"
    yield "another claim", f"{base}?signed={said[:-4]}AAAA.{mac}"
    yield "a claim that is no JSON", f"{base}?signed={'A' * 40}.{mac}"
    yield "not ASCII", f"{base}?signed={quote('ä')}.{mac}"
    yield "much", f"{base}?signed={'A' * 20_000}.{mac}"
    yield "percent", f"{base}?signed={said}%2E{mac}"
    yield "in capitals", f"{base}?SIGNED={signature}"


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_an_altered_url_opens_nothing(ground: Ground, url: str, method: str) -> None:
    address = signed(ground, url, method)
    body = b"evil" if method == "PUT" else None
    for what, other in _altered(address):
        reply = fetch(other, method=method, body=body)
        assert reply.status == (401 if what == "in capitals" else 403), what
        assert b"one\ntwo" not in reply.body
    for devbox in ("shop", "shop-test", "bank"):
        assert ground.untouched(devbox)
    assert fetch(address, method=method, body=body).status == 200


@pytest.mark.parametrize(
    ("method", "others"), [("GET", "PUT POST PATCH DELETE"), ("PUT", "GET HEAD POST PATCH DELETE")]
)
def test_a_url_is_for_its_method(ground: Ground, url: str, method: str, others: str) -> None:
    address = signed(ground, url, method)
    for other in others.split():
        reply = fetch(address, method=other, body=None if other in ("GET", "HEAD") else b"evil")
        assert reply.status == 403
    assert ground.untouched("shop-test")


def test_a_url_does_not_open_a_websocket_nor_make_another(ground: Ground, url: str) -> None:
    query = urlsplit(signed(ground, url)).query
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
               "Sec-WebSocket-Version": "13"}  # fmt: skip
    assert ask(url, f"/v1/devboxes/shop-test/ws?{query}", upgrade).status in (401, 403)
    body = json.dumps({"path": "run.sh"}).encode()
    again = ask(url, f"/v1/devboxes/shop-test/signed-urls?{query}", {"Content-Type": "application/json"}, method="POST",
                body=body)  # fmt: skip
    forbidden(again)


def test_every_refusal_is_in_the_log_without_the_signature(ground: Ground, url: str, log: Path) -> None:
    address = signed(ground, url)
    before = len(ground.audited())
    fetch(address.replace("/files/a.txt", "/files/run.sh"))
    (line,) = ground.audited()[before:]
    assert (line["caller"], line["op"], line["result"]) == ("anonymous", "authenticate", "forbidden")
    assert line["path"] == "/v1/devboxes/shop-test/files/run.sh"
    signature = urlsplit(address).query.removeprefix("signed=")
    assert signature not in log.read_text() + ground.audit_log.read_text()


# -- over MCP


def _called(ground: Ground, url: str, tool: str, holder: str = "editor", **arguments: Any) -> dict[str, Any]:
    arguments = {"devbox": "shop-test", **arguments}
    result: dict[str, Any] = rpc(url, ground.headers(holder), "tools/call", name=tool, arguments=arguments).message()
    return result["result"]


def test_the_tool_makes_urls_that_work(ground: Ground, url: str) -> None:
    assert fetch(_called(ground, url, "signed_url", path="a.txt")["structuredContent"]["url"]).body == b"one\ntwo\n"
    put = _called(ground, url, "signed_url", path="up.txt", method="PUT")["structuredContent"]
    assert fetch(put["url"], method="PUT", body=b"up").status == 201
    for path, names in (("dir", {"dir/", "dir/b.txt"}), (".", {"a.txt", "dir/", "dir/b.txt", "run.sh", "up.txt"})):
        whole = _called(ground, url, "signed_url", path=path)["structuredContent"]
        with zipfile.ZipFile(io.BytesIO(fetch(whole["url"]).body)) as found:
            assert set(found.namelist()) | {"dir/"} == names


def test_the_tool_lends_no_right_to_write_to_a_reader(ground: Ground, url: str) -> None:
    refused = _called(ground, url, "signed_url", "reader", path="a.txt", method="PUT")
    assert "[forbidden]" in refused["content"][0]["text"]
    for path, method in (("absent", "GET"), (".", "PUT"), ("../x", "GET")):
        assert _called(ground, url, "signed_url", path=path, method=method)["isError"]


def test_what_is_too_big_to_show_can_be_fetched(ground: Ground, url: str) -> None:
    big = bytes(range(256)) * 8192
    (ground.directory / "boxes" / "shop-test" / "big.bin").write_bytes(big)
    shown = _called(ground, url, "read_file", path="big.bin")
    assert "signed_url" in shown["content"][-1]["text"]
    (ground.directory / "boxes" / "shop-test" / "noise.bin").write_bytes(
        b"".join(hashed(str(number)).encode() for number in range(20_000))
    )
    packed = _called(ground, url, "download_zip", paths=["noise.bin"])
    text = packed["content"][-1]["text"]
    address = text[text.index("GET http") + 4 :].split(" ")[0]
    with zipfile.ZipFile(io.BytesIO(fetch(address).body)) as found:
        assert found.namelist() == ["noise.bin"]
    (link,) = [block for block in packed["content"] if block["type"] == "resource_link"]
    piece = f"{link['uri']}?offset=0&length=1024"
    assert rpc(url, ground.headers("editor"), "resources/read", uri=piece).message()["result"]["contents"]
    other = rpc(url, ground.headers("token"), "resources/read", uri=piece).message()
    assert other["error"]["data"]["code"] == "not_found"


# -- keys that go, replicas, stores


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "access.toml"


def _write(file: Path, *stanzas: tuple[str, str, str, str]) -> None:
    file.write_text(
        "\n".join(
            f'[[keys]]\nname = "{name}"\nhash = "{hashed(key)}"\ndevboxes = ["{devbox}"]\nscopes = [{scopes}]'
            for name, key, devbox, scopes in stanzas
        )
    )


def _settings(file: Path, **more: Any) -> Settings:
    return load({"access": str(file), "secret": SECRET, "public_url": "https://here.example.com", **more}, None)


async def _admit(signer: UrlSigner, url: SignedUrl) -> Caller:
    parts = urlsplit(url.url)
    return (await signer.admit(url.method, parts.path.encode(), parts.query.encode())).caller


KEY = new_key()
AS_EDITOR = ("a", KEY, "shop*", '"read", "write"')
EDITOR = Caller("a", ("shop*",), frozenset({Scope.READ, Scope.WRITE}))


async def test_rights_are_those_the_key_has_when_the_url_is_used(file: Path) -> None:
    _write(file, AS_EDITOR)
    signer = UrlSigner(Access(_settings(file)), _settings(file), NoAudit())
    target = Target.file("PUT", SandboxPath("x"))
    url = await signer.sign(EDITOR, "shop", target, origin="")
    assert url.url.startswith("https://here.example.com/v1/devboxes/shop/files/x?signed=")
    for now in (
        (),
        (("a", KEY, "shop*", '"read"'),),
        (("a", KEY, "bank", '"read", "write"'),),
        (("a", new_key(), "shop*", '"read", "write"'),),
        (("b", KEY, "shop*", '"read", "write"'),),
    ):
        _write(file, *now)
        with pytest.raises(Forbidden):
            await _admit(UrlSigner(Access(_settings(file)), _settings(file), NoAudit()), url)
    _write(file, AS_EDITOR)
    lent = await _admit(UrlSigner(Access(_settings(file)), _settings(file), NoAudit()), url)
    assert lent == Caller("a", ("shop",), frozenset({Scope.WRITE}))


async def test_a_key_that_is_gone_signs_nothing(file: Path) -> None:
    _write(file)
    signer = UrlSigner(Access(_settings(file)), _settings(file), NoAudit())
    with pytest.raises(Unauthenticated):
        await signer.sign(EDITOR, "shop", Target.file("GET", SandboxPath("x")), origin="")


async def test_replicas_with_one_secret_take_each_others_urls_and_no_others(file: Path) -> None:
    _write(file, AS_EDITOR)
    one, two = (UrlSigner(Access(_settings(file)), _settings(file), NoAudit()) for _ in range(2))
    url = await one.sign(EDITOR, "shop", Target.file("GET", SandboxPath("x")), origin="")
    await _admit(two, url)
    for settings in (_settings(file, secret=SECRET + "!"), _settings(file, secret=None)):
        with pytest.raises(Forbidden):
            await _admit(UrlSigner(Access(settings), settings, NoAudit()), url)


def test_a_secret_that_could_be_guessed_is_none(file: Path) -> None:
    _write(file)
    with pytest.raises(ValueError, match="shorter than 32"):
        UrlSigner(Access(_settings(file)), _settings(file, secret="x" * 31), NoAudit())


@pytest.fixture(params=["own", "memory", "redis"])
async def nonces(request: pytest.FixtureRequest) -> AsyncIterator[Nonces]:
    if request.param == "own":
        yield OwnNonces()
    elif request.param == "memory":
        yield SharedNonces(storage_from_string("async+memory://"))  # type: ignore[arg-type]  # an asynchronous one
    else:
        found = open_nonces(load({"redis": f"redis://127.0.0.1:{request.getfixturevalue('redis')}"}, None))
        yield found
        found.close()


@pytest.fixture(scope="module")
def redis() -> Iterator[int]:
    """A server of the Redis protocol, where one is installed."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("no redis-server here")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    argv = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while b"Ready to accept connections" not in process.stdout.readline():
            assert process.poll() is None
        yield port
        process.terminate()


async def test_a_nonce_counts_once_until_it_is_restored(nonces: Nonces) -> None:
    first = await asyncio.gather(*(nonces.spend("a", 60) for _ in range(20)))
    assert sorted(first) == [False] * 19 + [True]
    assert await nonces.spend("b", 60)
    assert not await nonces.spend("b", 60)
    await nonces.restore("a")
    assert await nonces.spend("a", 60)
    assert not await nonces.spend("a", 60)


async def test_what_is_spent_is_forgotten_when_it_could_not_be_used_again() -> None:
    nonces = OwnNonces()
    for number in range(100):
        await nonces.spend(str(number), -1)
    await nonces.spend("x", 60)
    assert len(nonces._spent) == 1


async def test_a_store_that_is_away_lets_nothing_through() -> None:
    nonces = open_nonces(load({"redis": "redis://127.0.0.1:1"}, None))
    with pytest.raises(Unavailable):
        await nonces.spend("a", 60)
    nonces.close()


def test_a_store_of_another_kind_is_named_at_the_start() -> None:
    with pytest.raises(ValueError, match="redis://HOST:6379"):
        open_nonces(load({"redis": "ftp://user:hidden@host"}, None))


def test_replicas_share_what_was_used(tmp_path: Path, redis: int) -> None:
    box, file, secret = tmp_path / "box", tmp_path / "access.toml", tmp_path / "secret"
    box.mkdir()
    secret.write_text(SECRET)
    _write(file, ("a", KEY, "*", '"write"'))
    options = (
        f"main={box}",
        "--access",
        str(file),
        "--secret-file",
        str(secret),
        "--redis-url",
        f"redis://127.0.0.1:{redis}",
    )
    with http_server(tmp_path / "one", *options) as one, http_server(tmp_path / "two", *options) as two:
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        body = json.dumps({"method": "PUT", "path": "x"}).encode()
        made = ask(one, "/v1/devboxes/main/signed-urls", headers, method="POST", body=body)
        parts = urlsplit(made.json["url"])
        target = f"{parts.path}?{parts.query}"
        assert ask(two, target, method="PUT", body=b"two").status == 201
        for replica in (one, two):
            forbidden(ask(replica, target, method="PUT", body=b"again"))
    assert (box / "x").read_bytes() == b"two"


async def test_a_url_is_for_a_file_and_not_for_long(file: Path) -> None:
    _write(file, AS_EDITOR)
    signer = UrlSigner(Access(_settings(file)), _settings(file), NoAudit())
    with pytest.raises(InvalidArgument):
        Target.file("GET", SandboxPath("."))
    with pytest.raises(InvalidArgument):
        await signer.sign(EDITOR, "shop", Target.file("GET", SandboxPath("x")), origin="", expires_in=3601)
