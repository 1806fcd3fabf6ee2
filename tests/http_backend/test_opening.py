"""From a URL to an open devbox: which server it is, and with which key."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devbox_mcp.backends.http.sealos import SealosBackend
from devbox_mcp.backends.local import LocalBackend
from devbox_mcp.errors import DevboxError, NotFound, Unauthenticated, Unsupported
from devbox_mcp.kinds import KINDS, Opening
from devbox_mcp.limits import Limits
from devbox_mcp.paths import SandboxPath
from devbox_mcp.sandboxes import open_devbox, parse_specs
from devbox_mcp.settings import load
from tests.http_backend.gateway import gateway, listening
from tests.http_backend.sealos_double import SealosDouble

pytestmark = pytest.mark.anyio

at = SandboxPath
TOKEN = "a-token-of-sealos"


@pytest.fixture(autouse=True)
def nothing_configured(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEVBOX_MCP_API_KEY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    (tmp_path / "f").write_bytes(b"here")
    served = LocalBackend(str(tmp_path))
    async with gateway(served, token=TOKEN) as url:
        yield url
    await served.aclose()


@pytest.fixture
async def sealos(tmp_path: Path) -> AsyncIterator[tuple[SealosDouble, str]]:
    double = SealosDouble(str(tmp_path), TOKEN)
    async with listening(double.app) as url:
        yield double, url


@pytest.mark.parametrize("rest", ["/v1/devboxes/box", "/box", "", "/"])
async def test_every_form_of_a_gateways_url_opens_its_devbox(url: str, rest: str) -> None:
    sandbox = await open_devbox(url + rest, Opening(api_key=TOKEN), Limits())
    try:
        assert await (await sandbox.read_bytes(at("f"))).read() == b"here"
        assert (await sandbox.describe()).kind == "http"
    finally:
        await sandbox.aclose()


async def test_the_key_may_come_from_the_environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVBOX_MCP_API_KEY", TOKEN)
    sandbox = await open_devbox(f"{url}/box", Opening(), Limits())
    await sandbox.aclose()
    load({}, None)  # which is no setting, and no typing error of one


@pytest.mark.parametrize("key", [None, "another-key"])
async def test_without_the_right_key_nothing_is_opened(url: str, key: str | None) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await open_devbox(f"{url}/box", Opening(api_key=key), Limits())
    assert key is None or key not in str(caught.value)


async def test_a_devbox_that_is_not_there(url: str) -> None:
    with pytest.raises(NotFound):
        await open_devbox(f"{url}/other", Opening(api_key=TOKEN), Limits())


async def test_the_rules_of_links_are_for_the_server_there(url: str) -> None:
    with pytest.raises(ValueError, match="deny"):
        await open_devbox(f"{url}/box", Opening(deny=["*.key"], api_key=TOKEN), Limits())


async def test_a_user_in_the_url_is_refused_and_not_shown() -> None:
    for text in ("https://user:secret@host/box", "shop=https://user:secret@host/box"):
        with pytest.raises(ValueError, match="DEVBOX_MCP_API_KEY") as caught:
            await open_devbox(text, Opening(), Limits())
        assert "secret" not in str(caught.value)


def test_a_devbox_is_called_as_at_the_gateway() -> None:
    names = [spec.name for spec in parse_specs(["https://h/v1/devboxes/shop", "https://h/box", "a=https://h/b"])]
    assert names == ["shop", "box", "a"]
    assert {"http", "https", "sealos+https"} <= KINDS.keys()


async def test_sealos_server_is_known_by_its_envelope(sealos: tuple[SealosDouble, str], tmp_path: Path) -> None:
    _, url = sealos
    (tmp_path / "f").write_bytes(b"here")
    backend = await KINDS["sealos+http"].open(url.removeprefix("http:") + str(tmp_path), Opening(api_key=TOKEN))
    try:
        assert isinstance(backend, SealosBackend)
        assert await (await backend.read(at("f"))).read() == b"here"
        assert "directories" in (await backend.describe()).lacks
    finally:
        await backend.aclose()
    # a host alone is asked; it has Sealos' own root, which is not there in a test
    with pytest.raises(DevboxError) as caught:
        await KINDS["http"].open(url.removeprefix("http:"), Opening(api_key=TOKEN))
    assert caught.value.code == "not_found"


async def test_a_write_that_breaks_on_sealos_server_leaves_the_old_file(
    sealos: tuple[SealosDouble, str], tmp_path: Path
) -> None:
    double, url = sealos
    (tmp_path / "f").write_bytes(b"old")
    backend = await SealosBackend.open(url, TOKEN, str(tmp_path))
    double.breaks_after = 1000
    try:
        with pytest.raises(DevboxError):
            await backend.write(at("f"), b"x" * 200_000)
        assert os.listdir(tmp_path) == ["f"]
        assert (tmp_path / "f").read_bytes() == b"old"
        for call in (
            backend.write(at("f"), b"x", if_match="0" * 64),
            backend.write(at("f"), b"x", mode="append"),
            backend.delete(at("f"), if_match="0" * 64),
        ):
            with pytest.raises(Unsupported):
                await call
    finally:
        await backend.aclose()


async def test_a_wrong_token_is_told_as_such(sealos: tuple[SealosDouble, str], tmp_path: Path) -> None:
    _, url = sealos
    with pytest.raises(Unauthenticated):
        await SealosBackend.open(url, "another", str(tmp_path))
