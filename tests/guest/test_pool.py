import threading
import time

from devbox_mcp.guest.pool import Pool


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
