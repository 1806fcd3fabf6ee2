"""Connections that break, guests that die, sessions that end: typed errors, whole files, nothing left running."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from devbox_mcp.backends.exec import ExecBackend
from devbox_mcp.errors import DevboxError, Exists, NotDirectory, NotFound, Unavailable, Unsupported
from devbox_mcp.guest import frames
from devbox_mcp.models import BatchItem
from devbox_mcp.paths import ROOT, SandboxPath
from devbox_mcp.session.bundle import bundle
from devbox_mcp.session.calls import ConnectionLost, Incoming
from devbox_mcp.session.opening import Wanted, open_session
from devbox_mcp.session.warm import WarmSession
from devbox_mcp.transports.base import Gone
from devbox_mcp.transports.process import ProcessTransport

from .conftest import CutTransport, is_running, leftovers

OpenBackend = Callable[..., ExecBackend]
F = SandboxPath("f")
PIECE = bytes(1 << 20)


async def pid_of(backend: ExecBackend) -> int:
    """Return the guest's process now."""
    await backend.root()
    return (await backend._session.hello()).pid


async def send(backend: ExecBackend, path: str, body: AsyncIterator[bytes], **options: object) -> None:
    """Write a stream by one call, as whatever resumes streams builds upon."""
    await backend._session.call("write", {"path": path, **options}, op="write", path=path, body=body)


async def receive(backend: ExecBackend, path: str) -> Incoming:
    """Read a stream by one call."""
    reply = await backend._session.call("read", {"path": path}, op="read", path=path)
    assert reply.stream is not None
    return reply.stream


async def whole(stream: Incoming) -> bytes:
    return b"".join([chunk async for chunk in stream])


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not condition():  # noqa: ASYNC110  it is about what other processes do
            await anyio.sleep(0.02)


async def endless() -> AsyncIterator[bytes]:
    yield PIECE
    await anyio.sleep_forever()


# -- a guest that dies


async def test_a_read_finds_another_guest(open_backend: OpenBackend, root: Path) -> None:
    (root / "f").write_bytes(b"x")
    backend = open_backend()
    for _ in range(3):
        first = await pid_of(backend)
        os.kill(first, signal.SIGKILL)
        assert await (await backend.read(F)).read() == b"x"
        assert await pid_of(backend) != first


async def test_killed_in_the_middle(open_backend: OpenBackend, root: Path) -> None:
    backend = open_backend()
    pid = await pid_of(backend)
    (root / "a").write_bytes(b"")

    async def move() -> None:
        with pytest.raises(ConnectionLost) as lost:
            await backend.move(SandboxPath("a"), SandboxPath("b"))
        assert lost.value.data == {"may_have_happened": True}
        assert "not known" in str(lost.value)

    async with anyio.create_task_group() as group:
        os.kill(pid, signal.SIGSTOP)
        group.start_soon(move)
        await anyio.sleep(0.1)
        os.kill(pid, signal.SIGKILL)


async def test_a_stream_goes_on_with_another_guest(open_backend: OpenBackend, root: Path) -> None:
    (root / "f").write_bytes(PIECE * 8)
    backend = open_backend()
    content = await backend.read(F)
    os.kill(await pid_of(backend), signal.SIGKILL)
    assert await content.read() == PIECE * 8


async def test_a_stream_ends_with_the_guest(open_backend: OpenBackend, root: Path) -> None:
    (root / "big").write_bytes(PIECE * 8)
    backend = open_backend()
    pid = await pid_of(backend)
    stream = await receive(backend, "big")

    async def write() -> None:
        with pytest.raises(ConnectionLost) as lost:
            await send(backend, "f", endless())
        # its end was never sent, so nobody can have put it in place
        assert lost.value.data == {"may_have_happened": False}
        assert "did not happen" in str(lost.value)

    async with anyio.create_task_group() as group:
        group.start_soon(write)
        await until(lambda: bool(leftovers(root)))
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(Unavailable):
        await whole(stream)
    assert not (root / "f").exists()


async def test_a_guest_that_hangs_is_given_up(root: Path) -> None:
    link, hello = await open_session(ProcessTransport(), Wanted(str(root), python=sys.executable), beat=0.1, silence=3)
    try:
        os.kill(hello.pid, signal.SIGSTOP)
        with anyio.fail_after(60), pytest.raises(ConnectionLost):
            await link.call("stat", {"path": "."}, op="stat", path=".")
        assert not link.alive
        await until(lambda: not is_running(hello.pid))
    finally:
        await link.aclose()


# -- a connection that is cut


@pytest.mark.parametrize("mode", ["overwrite", "create", "append"])
async def test_cut_at_any_offset_of_an_answer(open_backend: OpenBackend, root: Path, mode: str) -> None:
    size = len(frames.frame(frames.HELLO, 0, await _hello(root)))
    outcomes = set()
    for behind in (0, 1, 12, 13, 14, 100, 300, 1000):
        with suppress(FileNotFoundError):
            (root / "f").unlink()
        if mode != "create":
            (root / "f").write_bytes(b"old")
        expected = b"oldnew" if mode == "append" else b"new"
        transport = CutTransport((float("inf"), size + behind), (float("inf"), float("inf")))
        cut = open_backend(transport)
        try:
            written = await cut.write(F, b"new", mode=mode)  # type: ignore[arg-type]
            assert (root / "f").read_bytes() == expected
            assert written.info.size == len(expected)
            outcomes.add("written")
        except ConnectionLost as error:
            # at least an addition cannot be told from what was there
            assert error.may_have_happened
            assert (root / "f").read_bytes() in (b"old", expected)
            outcomes.add("lost")
    assert "written" in outcomes
    assert ("lost" in outcomes) == (mode == "append")


async def test_cut_at_any_offset_of_a_request(open_backend: OpenBackend, root: Path) -> None:
    head = len(bundle()) + len(frames.frame(frames.HELLO, 0, Wanted(str(root), python=sys.executable).meta()))
    for behind in (0, 1, 13, 100, 150, 1000):
        (root / "f").write_bytes(b"old")
        backend = open_backend(CutTransport((head + behind, float("inf")), (float("inf"), float("inf"))))
        try:
            await backend.write(F, b"new" * 1000)
            assert (root / "f").read_bytes() == b"new" * 1000
        except ConnectionLost:
            assert (root / "f").read_bytes() == b"old"


async def test_cut_in_a_stream(open_backend: OpenBackend, root: Path) -> None:
    (root / "f").write_bytes(PIECE * 4)
    for offset in (3000, 300_000, 2_000_000):
        backend = open_backend(CutTransport((float("inf"), offset), (float("inf"), float("inf"))))
        with pytest.raises(Unavailable):
            await whole(await receive(backend, "f"))
        assert await (await backend.read(F)).read() == PIECE * 4


async def test_a_connection_that_never_holds(open_backend: OpenBackend) -> None:
    backend = open_backend(CutTransport((float("inf"), 5.0)), deadline=1.0)
    with anyio.fail_after(60), pytest.raises(Unavailable):
        await backend.stat(ROOT)


async def _hello(root: Path) -> object:
    """Return what a guest says first, as another one says it."""
    link, hello = await open_session(ProcessTransport(), Wanted(str(root), python=sys.executable))
    await link.aclose()
    return {
        "root": hello.root, "uid": hello.uid, "pid": hello.pid, "operations": sorted(hello.operations),
        "version": frames.VERSION, "python": hello.python,
    }  # fmt: skip


# -- a guest whose session is gone


async def test_closing_leaves_no_process(open_backend: OpenBackend, root: Path) -> None:
    (root / "f").write_bytes(b"a" * 60 + b"!")
    backend = open_backend()
    pid = await pid_of(backend)
    children: list[int] = []

    async def search() -> None:
        with suppress(DevboxError):
            await backend.search(ROOT, "(a+)+$", seconds=300)

    async def write() -> None:
        with suppress(DevboxError):
            await send(backend, "g", endless())

    async with anyio.create_task_group() as group:
        group.start_soon(search)
        group.start_soon(write)
        await until(lambda: bool(leftovers(root)) and bool(_children(pid)))
        children += _children(pid)
        await backend.aclose()
    assert not is_running(pid)
    await until(lambda: not any(map(is_running, children)))
    assert not leftovers(root)


async def test_silence_ends_it(root: Path) -> None:
    (root / "f").write_bytes(b"a" * 60 + b"!")
    link, hello = await open_session(
        ProcessTransport(), Wanted(str(root), python=sys.executable, silence=1.0), beat=1000, silence=1000
    )
    try:
        async with anyio.create_task_group() as group:

            async def search() -> None:
                args = {"path": ".", "pattern": "(a+)+$"}
                with pytest.raises(ConnectionLost):
                    await link.call("search", args, op="search", path=".", seconds=300)

            async def write() -> None:
                with pytest.raises(ConnectionLost):
                    await link.call("write", {"path": "g"}, op="write", path="g", body=endless())

            group.start_soon(search)
            group.start_soon(write)
            await until(lambda: bool(leftovers(root)) and bool(_children(hello.pid)))
            children = _children(hello.pid)
        await until(lambda: not is_running(hello.pid) and not any(map(is_running, children)))
        assert not leftovers(root)
    finally:
        await link.aclose()


async def test_a_heartbeat_keeps_it(root: Path) -> None:
    wanted = Wanted(str(root), python=sys.executable, silence=0.5)
    link, hello = await open_session(ProcessTransport(), wanted, beat=0.1, silence=30)
    try:
        await asyncio.sleep(2)
        assert is_running(hello.pid)
        assert (await link.call("stat", {"path": "."}, op="stat", path=".")).value
    finally:
        await link.aclose()


async def test_it_is_closed_when_nobody_uses_it(open_backend: OpenBackend) -> None:
    backend = open_backend(idle=0.3)
    first = await pid_of(backend)
    await backend.stat(ROOT)
    await until(lambda: not is_running(first))
    await backend.stat(ROOT)
    assert await pid_of(backend) != first


async def test_a_stream_under_way_is_use(open_backend: OpenBackend, root: Path) -> None:
    (root / "f").write_bytes(PIECE * 4)
    backend = open_backend(idle=0.1)
    stream = await receive(backend, "f")
    pid = await pid_of(backend)
    await anyio.sleep(0.5)
    assert is_running(pid)
    assert len(await whole(stream)) == len(PIECE) * 4
    await until(lambda: not is_running(pid))


# -- a session that cannot be


async def test_no_python_there(open_backend: OpenBackend, tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\nexit 97\n")
    old.chmod(0o755)
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho no module named zlib >&2; exit 1\n")
    broken.chmod(0o755)
    wrapped = ProcessTransport(["sh", "-c", 'exec "$@"', "sh"])
    for transport, python in [(None, "no-such-python"), (wrapped, "no-such"), (None, str(old)), (None, str(broken))]:
        with anyio.fail_after(20), pytest.raises(Unsupported) as caught:
            await open_backend(transport, python=python).stat(ROOT)
        assert caught.value.data["program"] == python


class Ended(CutTransport):
    """A place that ends, after which the last of ``cuts`` is told whenever it is looked for."""

    def __init__(self, *cuts: Unavailable) -> None:
        super().__init__()
        self.cuts = list(cuts)
        self.ended = False

    async def identity(self) -> str:
        if self.ended:
            raise self.cuts.pop(0) if len(self.cuts) > 1 else self.cuts[0]
        return "the same"


async def test_a_place_that_is_gone_is_not_waited_for(open_backend: OpenBackend) -> None:
    """One that may come back is, until it is known that it will not."""
    transport = Ended(Unavailable("start", ".", "it is away"), Gone("start", ".", "it is gone", hint="make another"))
    backend = open_backend(transport, deadline=3600)
    await backend.stat(ROOT)
    os.kill(await pid_of(backend), signal.SIGKILL)
    transport.ended = True
    with anyio.fail_after(60), pytest.raises(Gone, match="it is gone"):
        await backend.stat(ROOT)
    transport.ended = False
    await backend.stat(ROOT)


async def test_a_root_that_cannot_be(open_backend: OpenBackend, root: Path) -> None:
    (root / "f").write_bytes(b"")
    for directory, error in [("gone", NotFound), ("f", NotDirectory)]:
        with pytest.raises(error) as caught:
            await open_backend(directory=str(root / directory)).stat(F)
        assert caught.value.path == "."
        assert str(root) not in str(caught.value)


async def test_the_working_directory_is_the_root_and_no_source_of_modules(
    open_backend: OpenBackend, root: Path
) -> None:
    for name in ("json", "os", "zipfile", "guest", "hashlib", "typing", "stat", "bootstrap"):
        (root / f"{name}.py").write_text("raise SystemExit(5)")
    backend = open_backend(ProcessTransport(["env", "-C", str(root)]), None)
    assert await backend.root() == str(root)
    assert (await backend.find(ROOT, "json.py")).entries
    await backend.write_batch([BatchItem(F, b"x")])
    assert "__pycache__" not in os.listdir(root)


# -- many at once


async def test_a_slow_reader_stops_nobody(open_backend: OpenBackend, root: Path) -> None:
    (root / "big").write_bytes(PIECE * 32)
    (root / "f").write_bytes(b"x")
    backend = open_backend()
    streams = [await receive(backend, "big") for _ in range(20)]
    for _ in range(20):
        assert await (await backend.read(F)).read() == b"x"
        await backend.write(SandboxPath("g"), b"y")
    assert all(0 < sum(map(len, stream._inflow._chunks)) <= frames.WINDOW for stream in streams)
    assert len(await whole(streams[7])) == len(PIECE) * 32
    for stream in streams:
        await stream.aclose()
    assert await (await backend.read(F)).read() == b"x"


async def test_a_slow_sender_stops_nobody(open_backend: OpenBackend, root: Path) -> None:
    backend = open_backend()
    go_on = anyio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield PIECE
        await go_on.wait()
        yield PIECE

    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(send, backend, f"f{number}", body())
        for number in range(20):
            await backend.write(SandboxPath("g"), str(number).encode())
        go_on.set()
    assert all((root / f"f{number}").read_bytes() == PIECE * 2 for number in range(40))


async def test_an_upload_that_is_refused_stops_early(open_backend: OpenBackend, root: Path) -> None:
    (root / "f").write_bytes(b"")
    backend = open_backend()
    with anyio.fail_after(60), pytest.raises(Exists):
        await send(backend, "f", endless(), mode="create")


async def test_a_body_that_fails(open_backend: OpenBackend, root: Path) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield PIECE
        raise LookupError("mine")

    backend = open_backend()
    with pytest.raises(LookupError, match="mine"):
        await send(backend, "f", body())
    assert os.listdir(root) == []
    await backend.write(F, b"x")


async def test_a_content_that_is_dropped_is_closed(open_backend: OpenBackend, root: Path) -> None:
    (root / "f").write_bytes(PIECE * 8)
    backend = open_backend()
    pid = await pid_of(backend)
    before = len(os.listdir(f"/proc/{pid}/fd"))
    for _ in range(5):
        await receive(backend, "f")
    await until(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= before)


async def test_a_warm_session_is_opened_once(root: Path) -> None:
    transport = CutTransport()
    session = WarmSession(transport, Wanted(str(root), python=sys.executable))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(session.call("stat", {"path": "."}, op="stat", path="."))
        assert len(transport.channels) == 1
    finally:
        await session.aclose()


def _children(pid: int) -> list[int]:
    with suppress(FileNotFoundError):
        return [
            int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
        ]
    return []


async def test_calls_that_wait_for_one_attempt_share_its_failure(open_backend: OpenBackend, root: Path) -> None:
    class Gone(CutTransport):
        asked = 0

        async def identity(self) -> str:
            self.asked += 1
            raise Unavailable("connect", ".", "the cluster is away")

    backend = open_backend(gone := Gone(), deadline=1.0)
    errors: list[Unavailable] = []

    async def look() -> None:
        with pytest.raises(Unavailable, match="the cluster is away") as caught:
            await backend.stat(F)
        errors.append(caught.value)

    started = asyncio.get_running_loop().time()
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(look)
    assert len(errors) == 20
    assert asyncio.get_running_loop().time() - started < 10  # and not 20 times a second
    before = gone.asked
    await look()
    assert gone.asked > before  # a later call tries again
