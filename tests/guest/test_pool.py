import threading
import time
import weakref

import pytest

from devbox_mcp.guest.pool import Pool


def until_idle(pool, count):
    give_up = time.monotonic() + 10
    while len(pool._idle) < count:
        assert time.monotonic() < give_up
        time.sleep(0.001)


def test_closing_waits_once_for_all_that_hang():
    held = threading.Event()
    pool = Pool(40, "work")
    for _ in range(40):
        pool.run(held.wait)
    started = time.monotonic()
    pool.close(0.5)
    waited = time.monotonic() - started
    held.set()
    pool.close(60)
    assert waited < 10  # one after the other it would be 20


def test_who_was_busy_last_is_the_next():
    pool = Pool(2, "work")
    apart = threading.Barrier(2)
    for _ in range(2):
        pool.run(lambda: apart.wait(10))
    seen = []
    for _ in range(10):
        until_idle(pool, 2)
        pool.run(lambda: seen.append(threading.get_ident()))
    pool.close()
    assert len(seen) == 10
    assert len(set(seen)) == 1


@pytest.mark.parametrize("threads", [1, 3])
def test_work_beyond_the_most_waits_for_its_turn_and_closing_for_all(threads):
    pool = Pool(threads, "work")
    gate = threading.Event()
    done = []
    for _ in range(threads):
        pool.run(lambda: gate.wait(10))
    for number in range(50):
        pool.run(lambda number=number: done.append(number))
    assert done == []
    assert len(pool._threads) == threads
    gate.set()
    pool.close()
    assert sorted(done) == list(range(50))


def test_closing_ends_the_threads_that_are_idle():
    pool = Pool(4, "work")
    apart = threading.Barrier(4)
    for _ in range(4):
        pool.run(lambda: apart.wait(10))
    until_idle(pool, 4)
    pool.close()
    assert not any(thread.is_alive() for thread in pool._threads)


def test_an_idle_thread_holds_nothing_of_its_last_work():
    class Large:
        pass

    pool = Pool(1, "work")
    large = Large()
    gone = weakref.ref(large)
    pool.run(lambda kept=large: id(kept))
    del large
    until_idle(pool, 1)
    assert gone() is None
    pool.close()
