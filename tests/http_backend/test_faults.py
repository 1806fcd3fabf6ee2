"""Connections that break at every place: never a success with wrong bytes, always a resumed transfer or a typed error
after which the old file or the new one is there, whole."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from devbox_mcp.backends.http import Address, HttpBackend
from devbox_mcp.backends.local import LocalBackend
from devbox_mcp.errors import DevboxError, Unavailable
from devbox_mcp.paths import SandboxPath
from tests.cluster.proxy import Fault, How, Proxy
from tests.http_backend.gateway import gateway

pytestmark = pytest.mark.anyio

at = SandboxPath
LARGE = random.Random(5).randbytes(3 * 1024 * 1024 + 17)
OLD = b"what was there before\n"
SMALL = b"a small file\n" * 40
#: From the head of the first request to behind the last byte.
OFFSETS = [1, 100, 500, 1_000, 70_000, 1_048_000, 1_049_500, 1_500_000, 3_000_000, 3_145_700, 3_146_500]
SMALL_OFFSETS = [1, 60, 150, 300, 450, 600, 750, 900]


@dataclass
class Place:
    """A devbox by way of a proxy; ``root`` is its directory."""

    backend: HttpBackend
    proxy: Proxy
    root: Path


@asynccontextmanager
async def opened(root: Path, *, tunnel: bool) -> AsyncIterator[Place]:
    served = LocalBackend(str(root))
    async with gateway(served) as url:
        parts = urlsplit(url)
        assert parts.hostname
        proxy = Proxy((parts.hostname, parts.port or 0))
        listening = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        backend = await HttpBackend.open(Address.parse(f"http://127.0.0.1:{port}/box"), tunnel=tunnel)
        try:
            yield Place(backend, proxy, root)
        finally:
            await backend.aclose()
            listening.close()
            await proxy.aclose()
    await served.aclose()


@pytest.fixture(params=[True, False], ids=["websocket", "http"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with opened(tmp_path, tunnel=request.param) as place:
        yield place


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 300_000):
        yield data[start : start + 300_000]


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_download_that_breaks_goes_on(place: Place, how: How) -> None:
    (place.root / "f").write_bytes(LARGE)
    for offset in OFFSETS:
        place.proxy.arm(Fault("down", offset, how))
        content = await place.backend.read(at("f"))
        assert await content.read() == LARGE
    assert place.proxy.happened >= len(OFFSETS) - 2


async def test_a_download_that_breaks_again_and_again_goes_on(place: Place) -> None:
    (place.root / "f").write_bytes(LARGE)
    place.proxy.arm(*[Fault("down", 400_000, "close")] * 6)
    assert await (await place.backend.read(at("f"))).read() == LARGE
    assert place.proxy.happened == 6


async def test_a_download_of_what_was_replaced_meanwhile_ends_as_a_conflict(place: Place) -> None:
    (place.root / "f").write_bytes(LARGE)
    content = await place.backend.read(at("f"))
    chunks = aiter(content)
    begun = await anext(chunks)
    (place.root / "new").write_bytes(LARGE[::-1])
    (place.root / "new").rename(place.root / "f")
    place.proxy.arm(Fault("down", 1, "reset"))
    try:
        rest = b"".join([chunk async for chunk in chunks])
    except DevboxError as error:
        assert error.code == "conflict"
    else:
        assert begun + rest == LARGE  # all of it was on its way already


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_write_that_breaks_is_a_success_or_an_error_and_never_half(
    place: Place, direction: str, streamed: bool
) -> None:
    file = place.root / "f"
    offsets = SMALL_OFFSETS if direction == "down" else OFFSETS
    for offset in offsets:
        file.write_bytes(OLD)
        place.proxy.arm(Fault(direction, offset, "reset"))  # type: ignore[arg-type]  # one of the two
        try:
            written = await place.backend.write(at("f"), pieces(LARGE) if streamed else LARGE)
        except DevboxError as error:
            assert isinstance(error, Unavailable)
            await settled(place)
            assert file.read_bytes() in (OLD, LARGE)
        else:
            assert written.info.sha256 == hashlib.sha256(LARGE).hexdigest()
            assert file.read_bytes() == LARGE
        place.proxy.arm()


async def settled(place: Place) -> None:
    """Wait until the server has seen that its client is gone."""
    place.proxy.arm()
    for _ in range(200):
        if not list(place.root.glob(".devbox-mcp-*")):
            return
        await place.backend.stat(at("."))
    raise AssertionError("a temporary is left")


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_small_write_whose_answer_is_lost_is_known_by_its_hash(place: Place, direction: str) -> None:
    file = place.root / "f"
    for number, offset in enumerate(SMALL_OFFSETS):
        data = SMALL + b"%d" % number
        await place.backend.stat(at("."))
        place.proxy.arm(Fault(direction, offset, "close"))  # type: ignore[arg-type]  # one of the two
        try:
            await place.backend.write(at("f"), data)
        except Unavailable:
            place.proxy.arm()
            continue
        assert file.read_bytes() == data
    assert place.proxy.happened


async def test_a_write_with_a_condition_is_repeated_until_it_is_there(place: Place) -> None:
    for number, offset in enumerate(SMALL_OFFSETS):
        await place.backend.stat(at("."))
        place.proxy.arm(Fault("up", offset, "reset"))
        await place.backend.write(at(f"new{number}"), SMALL, mode="create")
        assert (place.root / f"new{number}").read_bytes() == SMALL


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_an_addition_is_never_made_twice(place: Place, direction: str) -> None:
    file = place.root / "f"
    for offset in SMALL_OFFSETS:
        file.write_bytes(OLD)
        await place.backend.stat(at("."))
        place.proxy.arm(Fault(direction, offset, "reset"))  # type: ignore[arg-type]  # one of the two
        try:
            await place.backend.write(at("f"), SMALL, mode="append")
        except Unavailable:
            place.proxy.arm()
            await settled(place)
            assert file.read_bytes() in (OLD, OLD + SMALL)
        else:
            assert file.read_bytes() == OLD + SMALL


async def test_what_does_no_harm_twice_is_repeated(place: Place) -> None:
    (place.root / "f").write_bytes(SMALL)
    for offset in SMALL_OFFSETS:
        place.proxy.arm(Fault("down", offset, "reset"))
        assert (await place.backend.stat(at("f"), sha256=True)).sha256 == hashlib.sha256(SMALL).hexdigest()
        assert [info.path.text for info in (await place.backend.list(at("."))).entries] == ["f"]
        assert await (await place.backend.read(at("f"))).read() == SMALL


async def test_parts_that_break_are_sent_again(place: Place) -> None:
    token = "0123456789abcdef"
    for offset in OFFSETS:
        await place.backend.upload_begin(at("f"), token)
        place.proxy.arm(Fault("up", offset, "reset"))
        assert await place.backend.upload_add(at("f"), token, 0, pieces(LARGE)) == len(LARGE)
        place.proxy.arm()
        await place.backend.upload_finish(at("f"), token, len(LARGE), sha256=hashlib.sha256(LARGE).hexdigest())
        assert (place.root / "f").read_bytes() == LARGE


async def test_an_archive_that_breaks_is_an_error(place: Place) -> None:
    (place.root / "f").write_bytes(LARGE)
    for offset in (2_000, 500_000, 3_000_000):
        await place.backend.stat(at("."))
        place.proxy.arm(Fault("down", offset, "close"))
        archive = await place.backend.archive([at("f")], max_bytes=1 << 30, max_files=10)
        with pytest.raises(DevboxError):
            async for _ in archive:
                pass


async def test_a_server_that_is_gone_is_unavailable_and_comes_back(place: Place) -> None:
    (place.root / "f").write_bytes(SMALL)
    place.proxy.arm(*[Fault("down", 1, "reset")] * 8)
    with pytest.raises(Unavailable):
        await place.backend.mkdir(at("d"))
    place.proxy.arm()
    assert await (await place.backend.read(at("f"))).read() == SMALL
