"""Over real sockets: TLS with an authority of one's own, a server that starts again, and the environment's proxies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from devbox_mcp.backends.http import Address, HttpBackend
from devbox_mcp.backends.local import LocalBackend
from devbox_mcp.errors import InvalidArgument, Unavailable
from devbox_mcp.paths import SandboxPath
from tests.http_backend.certificates import Authority
from tests.http_backend.gateway import gateway

pytestmark = pytest.mark.anyio

at = SandboxPath
LARGE = b"0123456789abcdef" * 200_000
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ws_proxy", "wss_proxy")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*_PROXIES, "ssl_cert_file", "ssl_cert_dir"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[LocalBackend]:
    root = tmp_path / "box"
    root.mkdir()
    served = LocalBackend(str(root))
    yield served
    await served.aclose()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


async def carries(backend: HttpBackend, *, way: str = "WebSocket") -> None:
    """Small things and large ones go both ways."""
    for data in (b"small", LARGE):
        await backend.write(at("f"), data)
        assert await (await backend.read(at("f"))).read() == data
    assert (await backend.describe()).facts["small calls"] == way


async def test_tls_of_an_authority_that_the_environment_names(
    served: LocalBackend, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    async with gateway(served, tls=authority.certify("127.0.0.1")) as url:
        backend = await HttpBackend.open(Address.parse(f"{url}/box"))
        await carries(backend)
        await backend.aclose()


async def test_a_certificate_of_somebody_else_is_refused_with_the_reason(
    served: LocalBackend, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(Authority(tmp_path, "other").file))
    async with gateway(served, tls=authority.certify("127.0.0.1")) as url:
        with pytest.raises(Unavailable, match=r"certificate is not trusted: .*issuer.*SSL_CERT_FILE"):
            await HttpBackend.open(Address.parse(f"{url}/box"))


async def test_a_certificate_of_another_host_is_refused_with_the_reason(
    served: LocalBackend, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    async with gateway(served, tls=authority.certify("127.0.0.2")) as url:
        with pytest.raises(Unavailable, match="certificate is not trusted: IP address mismatch"):
            await HttpBackend.open(Address.parse(f"{url}/box"))


async def test_an_authority_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in (None, "no certificate"):
        file = tmp_path / "authority.pem"
        if text is not None:
            file.write_text(text)
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        with pytest.raises(InvalidArgument, match="SSL_CERT_FILE"):
            await HttpBackend.open(Address.parse("https://127.0.0.1:1/box"))


async def test_after_the_server_started_again_the_websocket_is_there_again(served: LocalBackend) -> None:
    async with gateway(served) as url:
        backend = await HttpBackend.open(Address.parse(f"{url}/box"))
        await carries(backend)
    with pytest.raises(Unavailable, match="cannot be reached"):
        await backend.stat(at("f"))
    async with gateway(served, port=urlsplit(url).port or 0):
        await carries(backend)
    await backend.aclose()


class Tunnels:
    """A proxy that speaks CONNECT and nothing else; ``asked`` are the places it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, place, _ = (await reader.readuntil(b"\r\n\r\n")).decode().split(" ", 2)
        assert method == "CONNECT"
        self.asked.append(place)
        host, _, port = place.rpartition(":")
        there, back = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(_pump(reader, back), _pump(there, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def test_the_environments_proxy_is_used_for_both_ways(
    served: LocalBackend, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    tunnels = Tunnels()
    async with (
        await asyncio.start_server(tunnels.serve, "127.0.0.1", 0) as proxy,
        gateway(served, tls=authority.certify("127.0.0.1")) as url,
    ):
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
        backend = await HttpBackend.open(Address.parse(f"{url}/box"))
        await carries(backend)
        await backend.aclose()
        assert len(tunnels.asked) > 1
        assert set(tunnels.asked) == {urlsplit(url).netloc}
        tunnels.asked.clear()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        backend = await HttpBackend.open(Address.parse(f"{url}/box"))
        await carries(backend)
        await backend.aclose()
        assert tunnels.asked == []


@pytest.mark.parametrize("proxy", ["nonsense://user:secret@host", "http://user:secret@host:port"])
async def test_a_proxy_that_makes_no_sense_is_told_and_not_shown(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(InvalidArgument, match="proxy") as caught:
        await HttpBackend.open(Address.parse("https://127.0.0.1:1/box"))
    assert "secret" not in f"{caught.value!r} {caught.value}"
