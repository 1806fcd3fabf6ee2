"""How a box begins and ends: opened late, closed once, used by many threads, interrupted, forked, forgotten."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from devbox_mcp import AsyncDevbox, Devbox, errors

from .conftest import guests


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test ends without a thread or a process of its own."""
    if "kind" in request.fixturenames:
        request.getfixturevalue("devbox")  # the gateway's process is everybody's
    processes, threads = guests(), set(threading.enumerate())
    yield
    gc.collect()
    left = [thread for thread in threading.enumerate() if thread not in threads and thread.name.startswith("devbox")]
    for thread in left:
        thread.join(timeout=10)
    assert not [thread for thread in left if thread.is_alive()]
    until = time.monotonic() + 10
    while guests() != processes and time.monotonic() < until:
        time.sleep(0.02)  # a process that was told to end takes a moment
    assert guests() == processes


def forget(held: list[Any]) -> None:
    """Let go of the last that holds something."""
    held.clear()
    gc.collect()


def loops() -> set[threading.Thread]:
    """Return the event loops of boxes; those of other tests' file systems may still be there."""
    return {thread for thread in threading.enumerate() if thread.name == "devbox-loop"}


def test_it_is_opened_by_the_first_call_and_closed_once(devbox: str, root: Path) -> None:
    before = loops()
    box = Devbox(devbox)
    assert not loops() - before
    box.fs.write_file("a", "x")
    assert len(loops() - before) == 1
    box.close()
    box.close()
    with pytest.raises(errors.Unavailable, match="this box is closed"):
        box.fs.read_file("a")
    with pytest.raises(errors.Unavailable, match="this box is closed"), box:
        pass
    Devbox(devbox).close()


def test_opening_may_fail_and_be_tried_again(tmp_path: Path) -> None:
    late = tmp_path / "late"
    with closing(Devbox(late)) as box:
        with pytest.raises(errors.InvalidArgument, match="there is no directory"):
            box.fs.list_dir()
        late.mkdir()
        assert box.fs.list_dir() == []


@pytest.mark.parametrize("text", ["ftp://host/x", "k8s://", "/", "exec:env?root=relative"])
def test_what_is_no_devbox_says_what_to_write(text: str) -> None:
    with pytest.raises(errors.DevboxError) as caught, Devbox(text):
        pass
    assert caught.value.code in ("invalid_argument", "not_found")


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(errors.DevboxError), Devbox(f"exec:no-such-command-anywhere?root={tmp_path}"):
        pass


def test_secrets_are_not_shown(root: Path) -> None:
    with Devbox(root, api_key="very-secret") as box:
        box.fs.list_dir()
        assert "very-secret" not in repr(box)
        assert repr(box) == f"Devbox({str(root)!r})"
        assert "very-secret" not in str(vars(box)) + str(vars(box._connection)) + str(vars(box._connection.core))


def test_a_password_in_a_url_is_not_shown() -> None:
    box = Devbox("https://me:very-secret@127.0.0.1:1/v1/devboxes/x")
    with pytest.raises(errors.DevboxError) as caught:
        box.root()
    assert "very-secret" not in repr(box) + str(caught.value) + repr(caught.value)


def test_many_threads_share_one_box(box: Devbox) -> None:
    def work(number: int) -> str:
        box.fs.write_file(f"{number % 7}/{number}", str(number))
        return box.fs.read_file(f"{number % 7}/{number}")

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(work, range(200))) == [str(number) for number in range(200)]


def test_many_threads_open_it_once(devbox: str) -> None:
    before = loops()
    with closing(Devbox(devbox)) as box, ThreadPoolExecutor(16) as pool:
        roots = list(pool.map(lambda _: box.root(), range(32)))
        assert len(set(roots)) == 1
        assert len(loops() - before) == 1


@pytest.mark.anyio
async def test_the_sync_face_works_inside_a_running_loop(devbox: str) -> None:
    with Devbox(devbox) as box:
        box.fs.write_file("a", "x")
        assert await asyncio.to_thread(box.fs.read_file, "a") == "x"


def test_a_callback_in_the_loop_is_told_that_it_cannot_call(box: Devbox, root: Path) -> None:
    (root / "data").write_bytes(b"x" * 100)

    def nested(done: int, total: int | None) -> None:
        box.fs.read_file("data")

    with pytest.raises(RuntimeError, match="cannot make calls"):
        box.fs.upload_large_file(root / "data", "copy", on_progress=nested)


def test_closing_ends_the_calls_of_other_threads(devbox: str) -> None:
    box = Devbox(devbox)
    changes = box.fs.watch()
    ended = ThreadPoolExecutor(1)
    waiting = ended.submit(lambda: list(changes))
    box.close()
    assert waiting.result(timeout=30) == []
    ended.shutdown()


def test_closing_gives_up_the_transfers_of_other_threads(devbox: str, root: Path) -> None:
    class Endless:
        def read(self, size: int, /) -> bytes:
            return b"x" * size

    begun = threading.Event()
    box = Devbox(devbox)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(box.fs.upload_large_file, Endless(), "a", on_progress=lambda *_: begun.set())
        begun.wait()
        box.close()
        with pytest.raises(errors.Cancelled, match="the box was closed meanwhile"):
            sending.result(timeout=30)
    assert not (root / "a").exists()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT interrupts, though whoever started the tests in the background may have had it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_call_stops_and_leaves_nothing(devbox: str, root: Path) -> None:
    read, write = os.pipe()
    with Devbox(devbox) as box, os.fdopen(read, "rb", 0) as source, os.fdopen(write, "wb", 0) as sink:
        begun = threading.Event()

        def interrupt() -> None:
            begun.wait()
            os.kill(os.getpid(), signal.SIGINT)
            sink.write(b"y")  # lets go the thread that reads, which nothing can interrupt

        async def tasks() -> int:
            return len(asyncio.all_tasks())

        box.root()
        before = box._portal.run(tasks())
        threading.Thread(target=interrupt).start()
        sink.write(b"x" * 1000)
        with pytest.raises(KeyboardInterrupt):
            box.fs.upload_large_file(source, "a", on_progress=lambda *_: begun.set())
        assert box._portal.run(tasks()) <= before
        assert box.fs.list_dir() == []


def test_a_fork_is_told(devbox: str) -> None:
    with Devbox(devbox) as box:
        box.fs.write_file("a", "x")
        read, write = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is the point
            child = os.fork()
        if child == 0:
            try:
                box.close()  # closes nothing of the parent's
                box.fs.read_file("a")
            except errors.Unavailable as error:
                os.write(write, str(error).encode())
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read) as said:
            assert "made by another process" in said.read()
        os.waitpid(child, 0)
        assert box.fs.read_file("a") == "x"


def test_a_forgotten_box_warns_once_and_leaves_nothing(devbox: str) -> None:
    held = [Devbox(devbox)]
    held[0].fs.write_file("a", "x")
    with pytest.warns(ResourceWarning, match="never closed") as caught:
        forget(held)
    assert len(caught) == 1


def test_a_forgotten_box_that_watches_leaves_nothing(devbox: str) -> None:
    held = [Devbox(devbox)]
    held[0].fs.watch()(print)
    with pytest.warns(ResourceWarning, match="never closed"):
        forget(held)


def test_a_box_that_was_never_opened_is_forgotten_in_silence(devbox: str) -> None:
    Devbox(devbox)
    gc.collect()


def test_what_belongs_to_a_box_keeps_it_open(devbox: str) -> None:
    fs = Devbox(devbox).fs
    fs.write_file("a", "hello")
    held = [fs.open("a")]
    del fs
    gc.collect()
    assert held[0].read() == "hello"
    held[0].close()
    with pytest.warns(ResourceWarning, match="never closed"):
        forget(held)


def test_a_program_that_ends_without_closing_ends(devbox: str) -> None:
    program = f"from devbox_mcp import Devbox\nbox = Devbox({devbox!r})\nbox.fs.write_file('a', 'x')\nprint('done')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("done\n", "")


@pytest.mark.anyio
async def test_calls_of_the_asynchronous_face_run_at_the_same_time(devbox: str) -> None:
    async with AsyncDevbox(devbox) as box:
        await asyncio.gather(*(box.fs.write_file(str(number), "x") for number in range(50)))
        assert len(await box.fs.list_dir()) == 50


@pytest.mark.anyio
async def test_a_cancelled_call_leaves_nothing(devbox: str, root: Path) -> None:
    begun = asyncio.Event()

    class Endless:
        def read(self, size: int, /) -> bytes:
            return b"x" * size

    async with AsyncDevbox(devbox) as box:
        sending = asyncio.ensure_future(box.fs.upload_large_file(Endless(), "a", on_progress=lambda *_: begun.set()))
        await begun.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert await box.fs.list_dir() == []
    assert os.listdir(root) == []


def test_an_asynchronous_box_belongs_to_its_loop(devbox: str) -> None:
    box = AsyncDevbox(devbox)

    async def use() -> None:
        async with box:
            await box.fs.list_dir()

    async def open_only() -> None:
        await other.root()

    asyncio.run(use())
    with pytest.raises(errors.Unavailable, match="closed"):
        asyncio.run(use())
    other = AsyncDevbox(devbox)

    async def both() -> None:
        await other.root()
        with pytest.raises(errors.Unavailable, match="another event loop"):
            await asyncio.to_thread(asyncio.run, open_only())
        await other.aclose()

    asyncio.run(both())


@pytest.mark.anyio
async def test_a_forgotten_asynchronous_box_warns_and_is_closed(devbox: str) -> None:
    held = [AsyncDevbox(devbox)]
    await held[0].root()
    core = held[0]._connection.core
    closed = asyncio.Event()

    async def tell() -> None:
        closed.set()

    core.before_closing(tell)
    with pytest.warns(ResourceWarning, match="never closed"):
        forget(held)
    await closed.wait()
    async with core._lock:  # until the rest is closed too
        assert core.closed


def test_an_asynchronous_box_whose_loop_is_over_is_closed(root: Path) -> None:
    async def leave() -> AsyncDevbox:
        box = AsyncDevbox(root)
        await box.fs.write_file("a", "x")
        return box

    held = [asyncio.run(leave())]
    with pytest.warns(ResourceWarning, match="never closed"):
        forget(held)
