"""The two directions of a stream, as threads see them. Runs on Python 3.8 too."""

import threading

import pytest

from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.frames import EXTRA_UP, ROOM, WINDOW
from devbox_mcp.guest.streams import PORTION, Body, Credit, Room


def test_a_body_gives_credit_as_it_is_taken():
    granted = []
    body = Body("f", granted.append, Room())
    for _ in range(4):
        body.put(bytes(PORTION // 2))
    body.end({"length": 2 * PORTION, "sha256": "abc"})
    assert granted == []
    assert b"".join(body) == bytes(2 * PORTION)
    assert granted == [PORTION + EXTRA_UP, PORTION]
    assert body.sha256() == "abc"


def test_long_bodies_share_what_they_get_beyond_their_windows():
    room, granted = Room(), []
    bodies = [Body("f", granted.append, room) for _ in range(ROOM // EXTRA_UP + 1)]
    for body in bodies:
        body.put(bytes(PORTION))
        body.put(b"")
        next(chunks := iter(body))
        next(chunks)
    assert granted == [PORTION + EXTRA_UP] * (len(bodies) - 1) + [PORTION + ROOM % EXTRA_UP]
    assert room.take(1) == 0
    for body in bodies:
        body.close()
        body.close()
    assert room.take(2 * ROOM) == ROOM


def test_a_short_body_takes_no_room():
    room = Room()
    body = Body("f", [].append, room)
    body.put(bytes(PORTION - 1))
    body.end({"length": PORTION - 1, "sha256": ""})
    assert list(body)
    assert room.take(ROOM) == ROOM


@pytest.mark.parametrize("length", [0, 4, 6])
def test_a_body_of_another_length(length):
    body = Body("f", [].append, Room())
    body.put(b"12345")
    body.end({"length": length, "sha256": ""})
    with pytest.raises(GuestError) as caught:
        list(body)
    assert caught.value.code == "integrity"


def test_a_cancelled_body_gives_nothing_more():
    body = Body("f", [].append, Room())
    body.put(b"12345")
    body.cancel()
    with pytest.raises(GuestError) as caught:
        list(body)
    assert caught.value.code == "cancelled"


def test_credit_is_spent_waited_for_and_cancelled():
    credit = Credit()
    assert credit.take(10) == 10
    assert credit.take(2 * WINDOW) == WINDOW - 10
    taken = []
    thread = threading.Thread(target=lambda: taken.extend([credit.take(5), credit.take(5)]))
    thread.start()
    credit.add(3)
    credit.cancel()
    thread.join(60)
    assert taken in ([3, 0], [0, 0])
