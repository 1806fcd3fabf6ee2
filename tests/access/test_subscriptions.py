"""Nobody hears of another's files, also where that one listens to them already."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ResourceUpdated
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError

from tests.access.matrix import Ground

BANK, SHOP = "devbox://bank/a.txt", "devbox://shop/a.txt"


@asynccontextmanager
async def client(ground: Ground, url: str, holder: str, **options: Any) -> AsyncIterator[Client]:
    async with (
        create_mcp_http_client(headers=ground.headers(holder)) as carrier,
        Client(streamable_http_client(url, http_client=carrier), cache=None, **options) as opened,
    ):
        yield opened


@pytest.mark.parametrize("uri", [BANK, "devbox://absent/a.txt"])
async def test_what_another_listens_to_is_not_there(ground: Ground, url: str, uri: str) -> None:
    async with (
        client(ground, url, "editor") as owner,
        client(ground, url, "reader") as other,
        owner.listen(resource_subscriptions=[BANK]) as heard,
    ):
        with pytest.raises(MCPError, match="there is no devbox of this name"):
            async with other.listen(resource_subscriptions=[SHOP, uri]):
                pass
        (ground.directory / "boxes" / "bank" / "a.txt").write_text("changed")
        async with asyncio.timeout(20):
            event = await anext(aiter(heard))
        assert isinstance(event, ResourceUpdated)
        assert event.uri == BANK


async def test_whoever_may_not_read_does_not_listen(ground: Ground, url: str) -> None:
    async with (
        client(ground, url, "token") as owner,
        client(ground, url, "writer") as other,
        owner.listen(resource_subscriptions=[SHOP]),
    ):
        with pytest.raises(MCPError, match="scope 'read'"):
            async with other.listen(resource_subscriptions=[SHOP]):
                pass


async def test_the_same_in_the_handshake_era(ground: Ground, url: str) -> None:
    heard: list[str] = []
    news = asyncio.Event()

    async def handle(message: Any) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            heard.append(str(message.params.uri))
            news.set()

    async def eavesdrop(message: Any) -> None:
        assert not isinstance(message, types.ResourceUpdatedNotification)

    async with (
        client(ground, url, "editor", mode="legacy", message_handler=handle) as owner,
        client(ground, url, "reader", mode="legacy", message_handler=eavesdrop) as other,
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MCPDeprecationWarning)
            await owner.subscribe_resource(BANK)
            with pytest.raises(MCPError, match="there is no devbox of this name"):
                await other.subscribe_resource(BANK)
            await other.unsubscribe_resource(BANK)
        (ground.directory / "boxes" / "bank" / "a.txt").write_text("changed again")
        async with asyncio.timeout(20):
            await news.wait()
        assert heard[0] == BANK


async def test_one_caller_does_not_take_all_the_room(ground: Ground, url: str) -> None:
    async with client(ground, url, "reader") as greedy, client(ground, url, "editor") as other:
        uris = [f"devbox://shop/{number}" for number in range(256)]
        async with greedy.listen(resource_subscriptions=uris):
            with pytest.raises(MCPError, match="subscribed already"):
                async with greedy.listen(resource_subscriptions=["devbox://shop/one-more"]):
                    pass
            async with other.listen(resource_subscriptions=[BANK]):
                pass
