"""The threads in which a local devbox works."""

import asyncio
import threading
import time
import weakref

import pytest

from devbox_mcp.backends.threads import Threads

pytestmark = pytest.mark.anyio


@pytest.fixture
def threads():
    threads = Threads(2, "test")
    yield threads
    threads.close()


def nothing():
    pass


async def test_who_was_busy_last_is_the_next(threads):
    apart = threading.Barrier(2)
    both = [threads.call(lambda: (apart.wait(10), threading.get_ident()), nothing) for _ in range(2)]
    busy = {(await call.result)[1] for call in both}
    assert len(busy) == 2
    for _ in range(5):
        _until_idle(threads, 2)
        last = await threads.call(threading.get_ident, nothing).result
        _until_idle(threads, 2)
        assert await threads.call(threading.get_ident, nothing).result == last


def _until_idle(threads, count):
    give_up = time.monotonic() + 10
    while len(threads._idle) < count:
        assert time.monotonic() < give_up
        time.sleep(0.001)


async def test_calls_beyond_the_most_wait_for_their_turn(threads):
    gate = threading.Event()
    held = [threads.call(gate.wait, nothing) for _ in range(2)]
    done = []
    waiting = [threads.call(lambda number=number: done.append(number), nothing) for number in range(20)]
    await asyncio.sleep(0)
    assert done == []
    gate.set()
    await asyncio.gather(*(call.result for call in held + waiting))
    assert sorted(done) == list(range(20))
    assert len(threads._threads) == 2


async def test_closing_waits_for_what_was_handed_over():
    threads = Threads(1, "test")
    gate = threading.Event()
    done = []
    calls = [threads.call(lambda: (gate.wait(10), done.append("first")), nothing)]
    calls += [threads.call(lambda: done.append("second"), lambda: done.append("after"))]
    closing = asyncio.get_running_loop().run_in_executor(None, threads.close)
    gate.set()
    await closing
    assert done == ["first", "second", "after"]
    await asyncio.gather(*(call.result for call in calls))


@pytest.mark.parametrize("fails", [False, True])
async def test_what_comes_afterwards_comes_after_the_result_is_out(threads, fails):
    loop = asyncio.get_running_loop()
    seen = loop.create_future()

    def work():
        if fails:
            raise ValueError("as it may happen")

    def afterwards():
        loop.call_soon_threadsafe(lambda: seen.set_result(call.result.done()))

    call = threads.call(work, afterwards)
    assert await seen is True
    assert isinstance(call.result.exception(), ValueError) is fails


async def test_an_idle_thread_holds_nothing_of_its_last_call(threads):
    class Large:
        pass

    large = Large()
    gone = weakref.ref(large)
    await threads.call(lambda kept=large: id(kept), nothing).result
    del large
    _until_idle(threads, 1)
    assert gone() is None
