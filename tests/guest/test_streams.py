"""The two directions of a stream, as threads see them. Runs on Python 3.8 too."""

import threading

import pytest

from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.frames import FAST, MOST, PIECE, ROOM, WINDOW
from devbox_mcp.guest.streams import PORTION, Body, Credit, Intake, Room


def intake():
    return Intake(Room(), 0)


def test_a_body_gives_credit_as_it_is_taken():
    granted = []
    body = Body("f", granted.append, intake())
    for _ in range(4):
        body.put(bytes(PORTION // 2))
    body.end({"length": 2 * PORTION, "sha256": "abc"})
    assert granted == []
    assert b"".join(body) == bytes(2 * PORTION)
    assert granted == [PORTION, PORTION]
    assert body.sha256() == "abc"


def test_what_comes_fast_may_have_more_on_its_way():
    seconds = [0.0]
    fast = Intake(Room(), 1000, lambda: seconds[0])
    fast.came(PORTION - 1)
    assert fast.taken(PORTION - 1) == 0
    seconds[0] = PORTION / FAST
    fast.came(1)
    assert fast.taken(1) == PORTION + 1000
    fast.came(PORTION)
    assert fast.taken(PORTION) == PORTION


def test_what_comes_slowly_may_not_until_it_is_fast():
    seconds = [0.0]
    slow = Intake(Room(), 1000, lambda: seconds[0])
    for _ in range(3):
        seconds[0] += 1.1 * PORTION / FAST
        slow.came(PORTION)
        assert slow.taken(PORTION) == PORTION
    slow.came(PORTION)
    assert slow.taken(PORTION) == PORTION + 1000


def test_streams_share_what_they_may_have_more():
    room = Room()
    intakes = [Intake(room, ROOM // 2 + 1, lambda: 0.0) for _ in range(3)]
    for one in intakes:
        one.came(PORTION)
    assert [one.taken(PORTION) - PORTION for one in intakes] == [ROOM // 2 + 1, ROOM // 2 - 1, 0]
    for one in intakes:
        one.close()
        one.close()
    assert room.take(2 * ROOM) == ROOM


def test_a_body_leaves_its_room_to_others():
    room = Room()
    body = Body("f", [].append, Intake(room, ROOM, lambda: 0.0))
    body.put(bytes(PORTION))
    body.end({"length": PORTION, "sha256": ""})
    assert list(body)
    assert room.take(ROOM) == 0
    body.close()
    assert room.take(ROOM) == ROOM


@pytest.mark.parametrize("length", [0, 4, 6])
def test_a_body_of_another_length(length):
    body = Body("f", [].append, intake())
    body.put(b"12345")
    body.end({"length": length, "sha256": ""})
    with pytest.raises(GuestError) as caught:
        list(body)
    assert caught.value.code == "integrity"


def test_a_cancelled_body_gives_nothing_more():
    body = Body("f", [].append, intake())
    body.put(b"12345")
    body.cancel()
    with pytest.raises(GuestError) as caught:
        list(body)
    assert caught.value.code == "cancelled"


def test_credit_is_spent_waited_for_and_cancelled():
    credit = Credit()
    assert credit.take(10) == 10
    assert credit.take(WINDOW) == PIECE
    left = WINDOW - 10 - PIECE
    while left:
        left -= credit.take(WINDOW)
    taken = []
    thread = threading.Thread(target=lambda: taken.extend([credit.take(5), credit.take(5)]))
    thread.start()
    credit.add(3)
    credit.cancel()
    thread.join(60)
    assert taken in ([3, 0], [0, 0])


def test_where_much_may_be_sent_pieces_are_large():
    credit = Credit()
    credit.add(4 * MOST - WINDOW)
    assert credit.take(4 * MOST) == MOST
