"""Journals and cursors: whoever replays what he is handed has what is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.journal import CREATED, DELETED, MODIFIED, MOVED, Delivery, Event, Journal, fold, parse_cursor

EPOCH = "0123456789abcdef"
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def beneath(paths: dict[str, int], path: str) -> list[str]:
    return [other for other in paths if other == path or other.startswith(path + "/")]


@dataclass
class Tree:
    """A file system: paths with the version of what is in them, directories being version 0."""

    versions: dict[str, int] = field(default_factory=dict)
    clock: int = 0

    def change(self, choose: Callable[[list[tuple[str, str, str]]], tuple[str, str, str]]) -> Event:
        """Do one of all the things that could be done now."""
        directories = ["", *(path + "/" for path, version in self.versions.items() if version == 0)]
        free = [
            directory + name
            for directory in directories
            for name in "ab"
            if directory + name not in self.versions and directory.count("/") < 3
        ]
        there = list(self.versions)
        kind, path, source = choose(
            [(CREATED, path, "") for path in free]
            + [("directory", path, "") for path in free]
            + [(MODIFIED, path, "") for path in there]
            + [(DELETED, path, "") for path in there]
            + [
                (MOVED, to, source)
                for source in there
                for to in free + [path for path in there if self.versions[path] and self.versions[source]]
                if to != source and not to.startswith(source + "/")
            ]
        )
        self.clock += 1
        if kind in (CREATED, "directory"):
            self.versions[path] = 0 if kind == "directory" else self.clock
            return Event(CREATED, path, kind == "directory")
        is_directory = self.versions[source or path] == 0
        if kind == MODIFIED:
            self.versions[path] = 0 if is_directory else self.clock
            return Event(MODIFIED, path, is_directory)
        if kind == DELETED:
            for other in beneath(self.versions, path):
                del self.versions[other]
            return Event(DELETED, path, is_directory)
        for other in beneath(self.versions, source):
            self.versions[path + other[len(source) :]] = self.versions.pop(other)
        return Event(MOVED, path, is_directory, source)


class Reader:
    """Someone who applies what he is handed to what he knows, and rereads what is said to have changed."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.position = journal.now()
        self.known: dict[str, int] = {}

    def read(self, tree: Tree, limit: int) -> None:
        changed: dict[str, int] = {}
        while True:
            delivery = self.journal.since(self.position, limit)
            assert delivery is not None
            assert len(delivery.events) <= limit
            assert delivery.position > self.position or not delivery.more
            self.position = delivery.position
            for event in delivery.events:
                self.apply(event, changed)
            if not delivery.more:
                break
        for path in changed:
            self.known[path] = tree.versions[path]

    def apply(self, event: Event, changed: dict[str, int]) -> None:
        if event.type == CREATED:
            assert event.path not in self.known, "told twice"
            self.known[event.path] = 0
            changed[event.path] = 1
        elif event.type == MODIFIED:
            assert event.path in self.known
            changed[event.path] = 1
        elif event.type == DELETED:
            assert event.path in self.known, "told twice"
            for known in (self.known, changed):
                for path in beneath(known, event.path):
                    del known[path]
        else:
            assert event.source in self.known
            for known in (self.known, changed):
                known.pop(event.path, None)
                for path in beneath(known, event.source):
                    known[event.path + path[len(event.source) :]] = known.pop(path)


@unhurried
@given(st.data())
def test_every_reader_ends_with_what_is_there(data: st.DataObject) -> None:
    tree, journal = Tree(), Journal(EPOCH, 1000)
    readers = [Reader(journal) for _ in range(2)]
    for _ in range(data.draw(st.integers(1, 40))):
        journal.append(tree.change(lambda possible: data.draw(st.sampled_from(possible))))
        reader = data.draw(st.sampled_from([None, None, None, *readers]))
        if reader is not None:
            reader.read(tree, data.draw(st.integers(1, 4)))
            assert reader.known == tree.versions
    for reader in readers:
        reader.read(tree, 3)
        assert reader.known == tree.versions


@unhurried
@given(st.integers(1, 20), st.integers(0, 60), st.integers(0, 70), st.integers(1, 70))
def test_a_position_gives_exactly_what_follows_it_or_nothing_at_all(
    capacity: int, count: int, position: int, limit: int
) -> None:
    journal = Journal(EPOCH, capacity)
    for number in range(count):
        journal.append(Event(CREATED, str(number), directory=False))
    delivery = journal.since(position, limit)
    if count - capacity <= position <= count:
        end = min(position + limit, count)
        assert delivery is not None
        assert [event.path for event in delivery.events] == [str(number) for number in range(position, end)]
        assert (delivery.position, delivery.more) == (end, end < count)
    else:
        assert delivery is None


def test_a_loss_is_said_once_to_every_reader_also_to_one_who_was_up_to_date() -> None:
    journal = Journal(EPOCH, 10)
    journal.append(Event(CREATED, "a", directory=False))
    behind, up_to_date = 0, journal.now()
    journal.lose()
    assert journal.since(behind, 10) is None
    assert journal.since(up_to_date, 10) is None
    journal.append(Event(CREATED, "b", directory=False))
    assert journal.since(journal.now() - 1, 10) == Delivery(
        [Event(CREATED, "b", directory=False)], journal.now(), more=False
    )


def test_a_file_written_to_all_the_time_pushes_nothing_out() -> None:
    journal = Journal(EPOCH, 3)
    start = journal.now()
    journal.append(Event(CREATED, "a", directory=False))
    for _ in range(100):
        journal.append(Event(MODIFIED, "log", directory=False))
    delivery = journal.since(start, 10)
    assert delivery is not None
    assert [event.path for event in delivery.events] == ["a", "log"]
    journal.append(Event(MODIFIED, "log", directory=False))
    again = journal.since(delivery.position, 10)
    assert again is not None
    assert [event.path for event in again.events] == ["log"], "what comes after a reader was told is news to him"


def test_a_reader_who_starts_now_is_told_of_what_goes_on() -> None:
    journal = Journal(EPOCH, 3)
    journal.append(Event(MODIFIED, "log", directory=False))
    start = journal.now()
    journal.append(Event(MODIFIED, "log", directory=False))
    assert journal.since(start, 1) == Delivery([Event(MODIFIED, "log", directory=False)], start + 1, more=False)


def test_there_is_more_only_if_there_is_something_to_tell() -> None:
    journal = Journal(EPOCH, 9)
    for event in [Event(CREATED, "a", directory=False), Event(CREATED, "b", directory=False)]:
        journal.append(event)
    delivery = journal.since(0, 1)
    assert delivery is not None
    assert delivery.more
    journal.append(Event(DELETED, "b", directory=False))
    delivery = journal.since(0, 1)
    assert delivery is not None
    assert not delivery.more


FILE_A, FILE_B = (Event(CREATED, name, directory=False) for name in "ab")
OTHERS_WITH_ONE_NAME = [
    Event(CREATED, "d/a", directory=False),
    Event(MOVED, "e", directory=True, source="d"),
    Event(CREATED, "d", directory=True),
    Event(MODIFIED, "d/a", directory=False),
]


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ([Event(MODIFIED, "a", directory=False)] * 3, [Event(MODIFIED, "a", directory=False)]),
        ([FILE_A, Event(MODIFIED, "a", directory=False)], [FILE_A]),
        ([FILE_A, FILE_B, Event(MODIFIED, "a", directory=False)], [FILE_A, FILE_B]),
        ([FILE_A, Event(DELETED, "a", directory=False)], []),
        (
            [FILE_A, Event(MOVED, "b", directory=False, source="a"), Event(MODIFIED, "b", directory=False)],
            [FILE_A, Event(MOVED, "b", directory=False, source="a"), Event(MODIFIED, "b", directory=False)],
        ),
        (OTHERS_WITH_ONE_NAME, OTHERS_WITH_ONE_NAME),
    ],
)
def test_what_is_told_together_is_folded(raw: list[Event], told: list[Event]) -> None:
    assert fold(raw, 100) == (told, len(raw))


def test_the_limit_counts_what_is_told_and_stops_before_what_is_not() -> None:
    raw = [FILE_A, *[Event(MODIFIED, "a", directory=False)] * 5, FILE_B]
    assert fold(raw, 1) == ([FILE_A], 6)


@unhurried
@given(st.integers(0, 10**17))
def test_a_cursor_comes_back_as_it_went(position: int) -> None:
    assert parse_cursor(Journal(EPOCH, 1).cursor(position), ".") == (EPOCH, position)


@unhurried
@given(st.text() | st.from_regex(r"[0-9a-f]{15,17}-?-[0-9]{0,20}\n?", fullmatch=True))
def test_anything_else_is_no_cursor(text: str) -> None:
    try:
        epoch, position = parse_cursor(text, "src")
    except GuestError as error:
        assert (error.code, error.path) == ("invalid_argument", "src")
    else:
        assert Journal(epoch, 1).cursor(position) == text or text.rpartition("-")[2].startswith("0")
