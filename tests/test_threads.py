"""Work for a thread, as the event loop waits for it."""

import asyncio
import threading

import pytest

from devbox_mcp.backends.threads import Call

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("fails", [False, True])
async def test_what_comes_afterwards_comes_after_the_result_is_out(fails):
    loop = asyncio.get_running_loop()
    was_out = loop.create_future()

    def work():
        if fails:
            raise ValueError("as it may happen")

    def afterwards():
        loop.call_soon_threadsafe(lambda: was_out.set_result(call.result.done()))

    call = Call(loop, work, afterwards)
    thread = threading.Thread(target=call.run)
    thread.start()
    assert await was_out is True
    assert isinstance(call.result.exception(), ValueError) is fails
    thread.join()


def test_what_comes_afterwards_comes_though_nobody_waits_any_more():
    loop = asyncio.new_event_loop()
    done = []
    call = Call(loop, lambda: done.append("work"), lambda: done.append("after"))
    loop.close()
    call.run()
    assert done == ["work", "after"]
