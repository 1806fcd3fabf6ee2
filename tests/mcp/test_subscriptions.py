"""Changes of resources, told to the clients of both eras."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp.client.subscriptions import ResourceUpdated
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError

from tests.mcp.door import Door, empty, http_door, http_server, stdio_door

PATIENCE = 15
LOOK = 0.25  # seconds between two looks of the server's


@pytest.fixture(autouse=True)
def _of_the_handshake_era() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        yield


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    box = tmp_path_factory.mktemp("subscribed") / "box"
    box.mkdir()
    return box


@pytest.fixture(scope="module")
def url(box: Path) -> Iterator[str]:
    with http_server(box.parent / "http.log", str(box)) as url:
        yield url


class Heard:
    """What a client of the handshake era was notified of."""

    def __init__(self) -> None:
        self.uris: list[str] = []
        self._news = anyio.Event()

    async def handle(self, message: Any) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            self.uris.append(str(message.params.uri))
            self._news.set()

    async def next(self) -> str:
        with anyio.fail_after(PATIENCE):
            while not self.uris:
                self._news = anyio.Event()
                await self._news.wait()
        return self.uris.pop(0)

    async def settle(self) -> None:
        """Let what one change causes come to its end."""
        await asyncio.sleep(2 * LOOK)
        self.uris.clear()

    async def nothing(self) -> None:
        """Nothing comes for a while, in which several looks would have happened."""
        await asyncio.sleep(4 * LOOK)
        assert self.uris == []


@dataclass
class Listener:
    """A client of the handshake era, and what it hears."""

    door: Door
    heard: Heard

    async def subscribe(self, path: str) -> str:
        uri = self.door.uri(path)
        await self.door.client.subscribe_resource(uri)
        return uri


@pytest.fixture(scope="module", params=["stdio", "http"])
async def connected(request: pytest.FixtureRequest, box: Path, url: str) -> AsyncIterator[Listener]:
    heard = Heard()
    kind = {"mode": "legacy", "message_handler": heard.handle}
    if request.param == "stdio":
        async with stdio_door(box, box.parent / "handshake.log", **kind) as door:
            yield Listener(door, heard)
    else:
        async with http_door(box, url, **kind) as door:
            yield Listener(door, heard)


@pytest.fixture
async def listener(connected: Listener) -> AsyncIterator[Listener]:
    """A listener who has heard nothing, and the box empty."""
    empty(connected.door.box)
    connected.heard.uris.clear()
    yield connected
    for path in ("a.txt", "dir/later.txt", "dir"):
        await connected.door.client.unsubscribe_resource(connected.door.uri(path))


async def test_a_change_on_disk_and_one_by_a_tool_are_told_until_unsubscribed(listener: Listener) -> None:
    door, heard = listener.door, listener.heard
    door.make({"a.txt": "a", "b.txt": "b"})
    uri = await listener.subscribe("a.txt")
    await heard.nothing()
    (door.box / "a.txt").write_text("by another program")
    assert await heard.next() == uri
    await heard.settle()
    await door.call("write_file", path="a.txt", content="by a tool")
    assert await heard.next() == uri
    await heard.settle()
    (door.box / "b.txt").write_text("nobody asked")
    await heard.nothing()
    await door.client.unsubscribe_resource(uri)
    (door.box / "a.txt").write_text("nobody asks any more")
    await heard.nothing()


async def test_what_does_not_exist_yet_is_told_when_it_appears_and_when_it_goes(listener: Listener) -> None:
    door, heard = listener.door, listener.heard
    uri = await listener.subscribe("dir/later.txt")
    door.make({"dir/later.txt": "here"})
    assert await heard.next() == uri
    await heard.settle()
    (door.box / "dir/later.txt").unlink()
    assert await heard.next() == uri


async def test_a_directory_is_told_of_what_happens_in_it(listener: Listener) -> None:
    listener.door.make({"dir/a.txt": "a"})
    uri = await listener.subscribe("dir")
    listener.door.make({"dir/b.txt": "b"})
    assert await listener.heard.next() == uri


async def test_what_cannot_be_subscribed_is_refused(listener: Listener) -> None:
    for uri in ("devbox://other/a.txt", "devbox://box/../secret", "file:///etc/passwd", "devbox-zip://x"):
        with pytest.raises(MCPError) as caught:
            await listener.door.client.subscribe_resource(uri)
        assert caught.value.code == types.INVALID_PARAMS


async def test_too_many_are_refused_and_the_ones_there_are_still_work(box: Path, tmp_path: Path) -> None:
    empty(box)
    heard = Heard()
    async with stdio_door(box, tmp_path / "log", mode="legacy", message_handler=heard.handle) as door:
        door.make({"f0": ""})
        for number in range(256):
            await door.client.subscribe_resource(door.uri(f"f{number}"))
        with pytest.raises(MCPError) as caught:
            await door.client.subscribe_resource(door.uri("one-too-many"))
        assert "subscribed already" in str(caught.value)
        door.make({"f0": "changed"})
        assert await heard.next() == door.uri("f0")


async def test_clients_that_subscribe_the_same_at_once_do_not_end_each_other(url: str, box: Path) -> None:
    empty(box)
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(4):
            heard = Heard()
            door = await stack.enter_async_context(http_door(box, url, mode="legacy", message_handler=heard.handle))
            clients.append((door, heard))
        door.make({"a.txt": "a"})
        uri = door.uri("a.txt")
        await asyncio.gather(*(door.client.subscribe_resource(uri) for door, _ in clients))
        for door, _ in clients[1:]:
            await door.client.unsubscribe_resource(uri)
        await asyncio.sleep(0.5)
        (box / "a.txt").write_text("changed")
        assert await clients[0][1].next() == uri
        assert all(not heard.uris for _, heard in clients[1:])


async def test_a_client_that_left_does_not_disturb_the_ones_that_stay(url: str, box: Path) -> None:
    empty(box)
    (box / "a.txt").write_text("a")
    staying = Heard()
    async with http_door(box, url, mode="legacy", message_handler=staying.handle) as door:
        async with http_door(box, url, mode="legacy") as leaving:
            await leaving.client.subscribe_resource(door.uri("a.txt"))
            await door.client.subscribe_resource(door.uri("a.txt"))
        (box / "a.txt").write_text("changed")
        assert await staying.next() == door.uri("a.txt")


# -- the modern era


@pytest.fixture(scope="module", params=["stdio", "http"])
async def discovered(request: pytest.FixtureRequest, box: Path, url: str) -> AsyncIterator[Door]:
    if request.param == "stdio":
        async with stdio_door(box, box.parent / "modern.log") as door:
            yield door
    else:
        async with http_door(box, url) as door:
            yield door


@pytest.fixture
def modern(discovered: Door) -> Door:
    """A client of the modern era, and the box empty."""
    empty(discovered.box)
    return discovered


async def test_a_listener_hears_of_changes_by_others_and_by_tools(modern: Door) -> None:
    modern.make({"a.txt": "a", "b.txt": "b"})
    uris = [modern.uri("a.txt"), modern.uri("later.txt")]
    async with modern.client.listen(resource_subscriptions=uris) as subscription:
        assert list(subscription.honored.resource_subscriptions or ()) == uris
        events = aiter(subscription)
        (modern.box / "b.txt").write_text("nobody asked")
        with anyio.fail_after(PATIENCE):
            (modern.box / "a.txt").write_text("by another program")
            assert await anext(events) == ResourceUpdated(uri=uris[0])
            await asyncio.sleep(2 * LOOK)
            await modern.call("write_file", path="later.txt", content="by a tool")
            while (event := await anext(events)) != ResourceUpdated(uri=uris[1]):
                assert event == ResourceUpdated(uri=uris[0])


async def test_a_listener_may_leave_and_come_again(modern: Door) -> None:
    modern.make({"a.txt": "a"})
    for content in ("one", "two"):
        async with modern.client.listen(resource_subscriptions=[modern.uri("a.txt")]) as subscription:
            (modern.box / "a.txt").write_text(content)
            with anyio.fail_after(PATIENCE):
                assert await anext(aiter(subscription)) == ResourceUpdated(uri=modern.uri("a.txt"))


async def test_listening_to_what_cannot_change_is_refused(modern: Door) -> None:
    with pytest.raises(MCPError) as caught:
        async with modern.client.listen(resource_subscriptions=["devbox://other/a.txt"]):
            pass
    assert "[not_found]" in str(caught.value)
