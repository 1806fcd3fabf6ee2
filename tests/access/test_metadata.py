"""What a client learns about tokens for this server (RFC 9728)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from mcp import Client
from mcp.client.auth.utils import extract_resource_metadata_from_www_auth
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import ProtectedResourceMetadata

from tests.access.asking import ask
from tests.access.matrix import ISSUER, Ground
from tests.mcp.door import http_server

ROOT = "/.well-known/oauth-protected-resource"


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that is reached by another name."""
    ground = Ground.make(tmp_path_factory.mktemp("public"))
    with http_server(ground.directory / "log", *ground.options, "--public-url", "https://files.example.com/") as url:
        yield url


def test_it_tells_who_issues_tokens_and_what_they_are_for(public: str) -> None:
    for path, resource in ((ROOT, "https://files.example.com"), (f"{ROOT}/mcp", "https://files.example.com/mcp")):
        reply = ask(public, path)
        assert reply.status == 200
        assert reply.headers["Content-Type"] == "application/json"
        found = ProtectedResourceMetadata.model_validate(reply.json)
        assert str(found.resource).rstrip("/") == resource
        assert [str(server).rstrip("/") for server in found.authorization_servers] == [ISSUER]
        assert found.scopes_supported == ["read", "write", "lifecycle"]
        assert found.bearer_methods_supported == ["header"]


def test_a_refusal_leads_to_it(public: str) -> None:
    challenge = ask(public, "/mcp", method="POST").headers["WWW-Authenticate"]
    assert challenge == f'Bearer resource_metadata="https://files.example.com{ROOT}/mcp"'
    assert "resource_metadata" not in ask(public, "/v1/devboxes").headers["WWW-Authenticate"]


async def test_the_official_client_finds_it(public: str) -> None:
    async with create_mcp_http_client() as carrier:
        refused = await carrier.post(public, json={})
    assert extract_resource_metadata_from_www_auth(refused) == f"https://files.example.com{ROOT}/mcp"


def test_without_a_public_url_it_is_where_the_request_came_in(ground: Ground, url: str) -> None:
    base = f"http://{urlsplit(url).netloc}"
    challenge = ask(url, "/mcp", method="POST").headers["WWW-Authenticate"]
    assert challenge == f'Bearer resource_metadata="{base}{ROOT}/mcp"'
    assert ask(url, f"{ROOT}/mcp").json["resource"] == f"{base}/mcp"


def test_another_host_is_not_believed(ground: Ground, url: str) -> None:
    assert ask(url, f"{ROOT}/mcp", host="evil.example.com").status == 421
    # two of them: what is behind a proxy might believe another one than the proxy did
    assert ask(url, f"{ROOT}/mcp", {"Host": "evil.example.com"}).status == 421


@pytest.mark.parametrize(
    "path", [f"{ROOT}/", f"{ROOT}/v1", f"{ROOT}/mcp/", f"{ROOT}/../../mcp", "/.well-known/openid-configuration"]
)
def test_nothing_else_is_open(public: str, path: str) -> None:
    assert ask(public, path).status == 401


def test_where_nobody_issues_tokens_there_is_none(tmp_path: Path) -> None:
    box, file = tmp_path / "box", tmp_path / "access.toml"
    box.mkdir()
    file.write_text("")
    with http_server(tmp_path / "log", str(box), "--access", str(file)) as url:
        reply = ask(url, ROOT)
        assert (reply.status, reply.code) == (404, "not_found")
        assert ask(url, "/mcp", method="POST").headers["WWW-Authenticate"] == "Bearer"


async def test_the_official_client_works_with_a_token_of_the_issuer(ground: Ground, url: str) -> None:
    async with (
        create_mcp_http_client(headers=ground.headers("jwt-editor")) as carrier,
        Client(streamable_http_client(url, http_client=carrier), cache=None) as client,
    ):
        await client.call_tool("write_file", {"path": "new.txt", "content": "new"})
        assert ground.tree("shop")["new.txt"] == b"new"
        assert [tool.name for tool in (await client.list_tools()).tools if tool.name == "signed_url"] == ["signed_url"]
