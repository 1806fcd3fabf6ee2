"""Big files over connections that break: what arrives is what was sent, from one version, or an error says why not."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import time
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest

from devbox_mcp.backends.exec import ExecBackend
from devbox_mcp.errors import Conflict, Integrity, Unavailable
from devbox_mcp.models import BatchItem
from devbox_mcp.paths import SandboxPath
from devbox_mcp.session.calls import ConnectionLost
from devbox_mcp.transfer import downloads, packing, uploads

from .conftest import CutChannel, CutTransport, leftovers

OpenBackend = Callable[..., ExecBackend]
F = SandboxPath("f")
NEVER = float("inf")
MIB = 1 << 20
#: The guest's source and the greetings, roughly: a connection must get beyond them to carry a file.
OPENING = 200_000


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


async def pieces(data: bytes, size: int = 300_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def nothing_left(root: Path) -> None:
    """A guest whose connection was cut needs a moment to see that, and to clear away what it had begun."""
    with anyio.fail_after(20):
        while leftovers(root):  # noqa: ASYNC110  it is about what other processes do
            await anyio.sleep(0.05)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(uploads, "CHUNK", 64 << 10)
    return 64 << 10


@pytest.mark.parametrize("cut", [1, 9 * MIB, 10 * MIB, 11 * MIB, 20 * MIB + 1, 25 * MIB, 29 * MIB])
async def test_an_upload_goes_on_after_a_cut(open_backend: OpenBackend, root: Path, cut: int) -> None:
    data = noise(30 * MIB)
    transport = CutTransport((OPENING + cut, NEVER), (NEVER, NEVER))
    written = await open_backend(transport).write(F, pieces(data))
    assert (root / "f").read_bytes() == data
    assert written.info.sha256 == hashlib.sha256(data).hexdigest()
    assert len(transport.channels) == 2
    await nothing_left(root)


async def test_no_more_than_two_chunks_are_held(open_backend: OpenBackend, root: Path, small_chunks: int) -> None:
    alive: set[int] = set()

    class Piece(bytes):
        def __del__(self) -> None:
            alive.discard(id(self))

    most = 0

    async def source() -> AsyncIterator[bytes]:
        nonlocal most
        for number in range(12 * 8):
            piece = Piece(noise(small_chunks // 8, number))
            alive.add(id(piece))
            yield piece
            del piece
            most = max(most, len(alive))

    await open_backend().write(F, source())
    assert 8 < most <= 2 * 8
    assert (root / "f").stat().st_size == 12 * small_chunks


async def test_a_cut_costs_a_chunk_and_not_the_file(open_backend: OpenBackend, root: Path) -> None:
    data = noise(40 * MIB)
    transport = CutTransport((OPENING + 35 * MIB, NEVER), (NEVER, NEVER))
    sent: list[int] = []

    class Counting(CutTransport):
        async def start(self, argv):
            channel = await transport.start(argv)
            send = channel.send

            async def counted(data):
                sent.append(len(data))
                await send(data)

            channel.send = counted
            return channel

    await open_backend(Counting()).write(F, pieces(data))
    assert (root / "f").read_bytes() == data
    assert sum(sent) < len(data) + 11 * MIB + 2 * OPENING


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["sent", "received"])
async def test_cuts_everywhere(open_backend: OpenBackend, root: Path, small_chunks: int, lost: str) -> None:
    """Some three hundred places to cut a small upload, in what is sent and in the answers, the last one included."""
    data = noise(3 * small_chunks + 1000)
    whole = CutTransport((NEVER, NEVER))
    counting = open_backend(whole)
    await counting.root()
    channel = whole.channels[0]
    used: list[tuple[float, float]] = []
    for _ in range(2):
        channel.sent = channel.received = 1e9
        await counting.write(F, pieces(data))
        used.append((1e9 - channel.sent, 1e9 - channel.received))
    most = used[-1][0] if lost == "sent" else used[-1][1]
    backend = open_backend(transport := CutTransport())
    await backend.root()
    steps = 24
    for step in range(steps + 1):
        place = int(most * step / steps)
        for after in (0, 40):  # a frame's edge, and a bit behind it
            (root / "f").write_bytes(b"old")
            channel = transport.channels[-1]
            channel.sent = place + after if lost == "sent" else NEVER
            channel.received = place + after if lost == "received" else NEVER
            try:
                written = await backend.write(F, pieces(data))
            except ConnectionLost as error:
                assert error.may_have_happened
                assert (root / "f").read_bytes() in (b"old", data)
            else:
                assert written.info.sha256 == hashlib.sha256(data).hexdigest()
                assert (root / "f").read_bytes() == data
            await backend.root()
            await backend.stat(SandboxPath("."))  # a session that was cut is opened anew
    await backend.aclose()
    await nothing_left(root)


async def test_a_connection_that_never_holds_is_an_error(open_backend: OpenBackend, root: Path) -> None:
    (root / "f").write_bytes(b"old")
    backend = open_backend(CutTransport((OPENING + 8 * MIB, NEVER)))
    with pytest.raises(ConnectionLost):
        await backend.write(F, pieces(noise(60 * MIB)))
    assert (root / "f").read_bytes() == b"old"


async def test_an_addition_is_made_once(open_backend: OpenBackend, root: Path, small_chunks: int) -> None:
    data = noise(3 * small_chunks)
    (root / "f").write_bytes(b"old")
    backend = open_backend(transport := CutTransport())
    await backend.root()
    transport.channels[-1].sent = 2.5 * small_chunks
    await backend.write(F, pieces(data), mode="append")
    assert (root / "f").read_bytes() == b"old" + data


@pytest.mark.parametrize("sent", [0, 1])
async def test_a_beginning_is_not_taken_for_the_file(
    open_backend: OpenBackend, root: Path, small_chunks: int, sent: int
) -> None:
    """What is there is what the upload begins with: as long as it breaks behind that, it is no success."""
    data = noise(3 * small_chunks)
    beginning = data[: sent * small_chunks]
    (root / "f").write_bytes(beginning)
    backend = open_backend(transport := CutTransport())
    await backend.root()
    channel = transport.channels[-1]
    channel.received = 10**9
    await backend.stat(F)
    stat = 10**9 - channel.received
    begun, added = 27, 41  # how long these answers are
    channel.received = begun + sent * added + added // 2
    hello = CutTransport((NEVER, 10**9))
    await open_backend(hello).root()
    bad = (NEVER, 10**9 - hello.channels[0].received + added // 2)
    transport._allowed = [bad, bad, bad, (NEVER, NEVER)]
    assert stat > added
    with pytest.raises(ConnectionLost):
        await backend.write(F, pieces(data))
    assert len(transport.channels) > 4
    assert (root / "f").read_bytes() == beginning


async def test_an_addition_is_made_once_by_a_guest_that_is_cut_off(
    open_backend: OpenBackend, root: Path, small_chunks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guest that does not hear of the end finishes what it was told to; nobody may do it a second time."""
    data = noise(3 * small_chunks)
    (root / "f").write_bytes(b"old")
    backend = open_backend(transport := CutTransport())
    await backend.root()
    link, channel = backend._session._link, transport.channels[-1]
    assert link is not None
    close = channel.aclose

    async def forget() -> None:
        """The other end is not told."""

    monkeypatch.setattr(channel, "aclose", forget)

    async def cut() -> None:
        while not any(call.complete and call.outflow is None for call in link._calls.values() if call.number > 4):  # noqa: ASYNC110  it is about what another process does
            await anyio.sleep(0.01)
        link._fail(Unavailable("receive", ".", "the connection was cut"))
        await anyio.sleep(1)
        fcntl.flock(directory, fcntl.LOCK_UN)

    directory = os.open(root, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(cut)
            with pytest.raises(ConnectionLost) as caught:
                await backend.write(F, pieces(data), mode="append")
        assert caught.value.may_have_happened
        with anyio.fail_after(20):
            while (root / "f").read_bytes() == b"old":  # noqa: ASYNC110  it is about what another process does
                await anyio.sleep(0.02)
    finally:
        os.close(directory)
        await close()
    assert (root / "f").read_bytes() == b"old" + data
    await nothing_left(root)


async def test_a_file_that_surely_did_not_arrive_is_sent_again(open_backend: OpenBackend, root: Path) -> None:
    data = noise(5 * MIB)
    backend = open_backend(transport := CutTransport())
    await backend.root()
    transport.channels[-1].sent = 2 * MIB
    await backend.write(F, pieces(data), mode="append")
    assert (root / "f").read_bytes() == data
    await nothing_left(root)


async def test_a_sender_that_fails_leaves_nothing(open_backend: OpenBackend, root: Path) -> None:
    async def failing() -> AsyncIterator[bytes]:
        for _ in range(25):
            yield bytes(MIB)
        raise OSError("the disk it came from")

    (root / "f").write_bytes(b"old")
    with pytest.raises(OSError, match="the disk it came from"):
        await open_backend().write(F, failing())
    assert (root / "f").read_bytes() == b"old"
    assert leftovers(root) == []


async def test_a_cancelled_upload_leaves_nothing(open_backend: OpenBackend, root: Path) -> None:
    backend = open_backend()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(MIB)

    for seconds in (0.0, 0.02, 0.1, 0.3):
        with anyio.move_on_after(seconds):
            await backend.write(F, endless())
        assert leftovers(root) == []
        assert not (root / "f").exists()


@pytest.mark.parametrize("cut", [1, 5 * MIB, 17 * MIB, 29 * MIB])
async def test_a_download_goes_on_after_a_cut(open_backend: OpenBackend, root: Path, cut: int) -> None:
    data = noise(30 * MIB)
    (root / "f").write_bytes(data)
    backend = open_backend(transport := CutTransport())
    await backend.root()
    transport.channels[-1].received = 2000 + cut
    content = await backend.read(F, offset=1000)
    assert await content.read() == data[1000:]
    assert len(transport.channels) == 2


async def test_another_version_is_not_gone_on_with(open_backend: OpenBackend, root: Path) -> None:
    (root / "f").write_bytes(noise(30 * MIB))
    backend = open_backend(transport := CutTransport())
    await backend.root()
    transport.channels[-1].received = 20 * MIB
    content = await backend.read(F)
    assert await anext(content.chunks)
    (root / "new").write_bytes(noise(30 * MIB, seed=2))
    (root / "new").rename(root / "f")
    with pytest.raises(Conflict):
        await content.read()


async def test_what_came_before_the_cut_is_verified(open_backend: OpenBackend, root: Path) -> None:
    class Flipping(CutChannel):
        flip = False

        async def receive(self) -> bytes:
            data = await super().receive()
            if self.flip and len(data) > 1000:
                self.flip = False
                return data[:-1] + bytes([data[-1] ^ 1])
            return data

    class FlippingTransport(CutTransport):
        async def start(self, argv):
            channel = await super().start(argv)
            self.channels[-1] = Flipping(channel._inner, channel.sent, channel.received)
            return self.channels[-1]

    (root / "f").write_bytes(noise(30 * MIB))
    backend = open_backend(transport := FlippingTransport())
    await backend.root()
    transport.channels[-1].flip = True
    transport.channels[-1].received = 20 * MIB
    content = await backend.read(F)
    with pytest.raises(Integrity):
        await content.read()


# -- slow links


class SlowTransport(CutTransport):
    """A link of about 8 MB/s; counts what goes over it."""

    def __init__(self) -> None:
        super().__init__()
        self.carried = 0

    async def start(self, argv):
        channel = await super().start(argv)
        send, receive = channel.send, channel.receive

        async def slow_send(data):
            self.carried += len(data)
            await anyio.sleep(len(data) / 8e6)
            await send(data)

        async def slow_receive():
            data = await receive()
            self.carried += len(data)
            await anyio.sleep(len(data) / 8e6)
            return data

        channel.send, channel.receive = slow_send, slow_receive
        return channel


TEXT = b"".join(b"%d a line of a log that says the same again and again\n" % number for number in range(500_000))


async def test_what_shrinks_is_packed_on_a_slow_link(open_backend: OpenBackend, root: Path) -> None:
    backend = open_backend(transport := SlowTransport())
    await backend.write(F, pieces(TEXT))
    assert (root / "f").read_bytes() == TEXT
    assert transport.carried < 0.7 * len(TEXT)
    transport.carried = 0
    assert await (await backend.read(F)).read() == TEXT
    assert transport.carried < 0.7 * len(TEXT)


async def test_what_does_not_shrink_is_not(open_backend: OpenBackend, root: Path) -> None:
    data = noise(15 * MIB)
    backend = open_backend(transport := SlowTransport())
    await backend.write(F, pieces(data))
    assert (root / "f").read_bytes() == data
    assert transport.carried >= len(data)


def test_packing_pays_where_it_saves_time() -> None:
    assert packing.pays(TEXT, 1e6)
    assert not packing.pays(noise(1 << 16), 1e6)
    assert not packing.pays(noise(1 << 13) + TEXT, 1e6)  # what begins so is looked at no further
    assert not packing.pays(TEXT, 1e12)
    assert not packing.pays(b"", 1e6)
    assert not packing.pays(TEXT, 0.0)


async def test_a_packed_stream_is_unpacked_within_bounds() -> None:
    async def stream(data: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(data), 50_000):
            yield data[start : start + 50_000]

    bomb = zlib.compress(bytes(64 * MIB), 9)
    sizes = [len(piece) async for piece in packing.unpacked(stream(bomb), "read", "f")]
    assert (sum(sizes), max(sizes)) == (64 * MIB, MIB)
    for broken in (bomb[:-1], b"no zlib at all", b""):
        with pytest.raises(Integrity):
            [piece async for piece in packing.unpacked(stream(broken), "read", "f")]


async def test_nobody_waits_for_ever(open_backend: OpenBackend, root: Path) -> None:
    """A download that breaks again and again before anything comes ends."""
    (root / "f").write_bytes(noise(8 * MIB))
    backend = open_backend(transport := CutTransport())
    await backend.root()
    spent = transport.channels[-1]
    transport._allowed = [(NEVER, 6000.0)]
    spent.received = 2 * MIB
    content = await backend.read(F)
    started = time.monotonic()
    with pytest.raises(ConnectionLost):
        await content.read()
    assert time.monotonic() - started < 60
    assert downloads._ATTEMPTS < 10


@pytest.mark.parametrize("sizes", [(3, 2), (3, 4), (2, 2)], ids=["other bytes", "too few", "too many"])
async def test_a_batch_that_does_not_arrive_as_it_was_sent(
    open_backend: OpenBackend, root: Path, sizes: tuple[int, int]
) -> None:
    backend = open_backend(CutTransport())
    items = [
        {"path": f"d/{number}", "size": size, "executable": None, "if_match": None} for number, size in enumerate(sizes)
    ]
    with pytest.raises(Integrity):
        await backend._session.call(
            "write_batch", {"items": items, "atomic": False}, op="write", path="d/0", body=pieces(b"12345"),
            digest=hashlib.sha256(b"seen before"),
        )  # fmt: skip
    assert os.listdir(root) == []


async def test_a_batch_that_is_cut(open_backend: OpenBackend, root: Path) -> None:
    """Some files are made already when the connection breaks, and none of them has its name yet."""
    transport = CutTransport((OPENING + 3 * MIB, NEVER))
    items = [BatchItem(SandboxPath(f"d/{number}"), noise(100_000, number)) for number in range(50)]
    with pytest.raises(ConnectionLost):
        await open_backend(transport).write_batch(items)
    with anyio.fail_after(20):
        while os.listdir(root):  # noqa: ASYNC110  the guest needs a moment, as above
            await anyio.sleep(0.05)
