"""What is known of a watched tree when looks and late events contradict each other: the cases that races make.

A look has seen the future: the queue still brings what led there. Whatever comes, the events told add up to the
tree that is known, and no directory is both watched and forgotten.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devbox_mcp.guest.known import Directory, Known, Lost


class Case:
    """A known tree, and how a client sees it that applies all the events."""

    def __init__(self, *entries: str, moves_whole: bool = True) -> None:
        self.given_back: list[int] = []
        self.known = Known(".", recursive=True, moves_whole=moves_whole, unwatch=self.given_back.append)
        self.wd = 0
        self.watch(self.known.top, *entries)

    def watch(self, directory: Directory, *entries: str) -> None:
        """Find a directory under its name, with these entries; those that end in a slash are directories."""
        self.wd += 1
        self.known.watch(directory, self.wd)
        for entry in entries:
            self.known.appear(directory, entry.rstrip("/"), entry.endswith("/"))

    def at(self, path: str) -> Directory:
        here = self.known.top
        for part in path.split("/") if path else ():
            child = here.entries[part]
            assert child is not None
            here = child
        return here

    def told(self) -> list[tuple[str, ...]]:
        """Return the events since the last time."""
        events, self.known.told = self.known.told, []
        return [tuple(filter(None, (event.type, event.path, event.source))) for event in events]


@pytest.fixture
def case() -> Case:
    case = Case("a/", "b/", "file")
    case.watch(case.at("a"), "s/", "x")
    case.watch(case.at("b"))
    case.watch(case.at("a/s"), "y")
    case.told()
    return case


def test_what_a_look_has_told_the_queue_does_not_tell_again(case: Case) -> None:
    case.known.appear(case.at("a"), "x", is_directory=False)
    case.known.appear(case.at("a"), "s", is_directory=True)
    case.known.vanish(case.at("a"), "never seen")
    assert case.told() == []


def test_a_name_that_is_of_another_kind_by_now_is_told_anew(case: Case) -> None:
    case.known.appear(case.at("a"), "s", is_directory=False)
    assert case.told() == [("deleted", "a/s"), ("created", "a/s")]


def test_a_watch_that_turns_out_to_be_elsewhere_is_taken_and_the_loser_told_again(case: Case) -> None:
    taken = case.at("a/s")
    assert taken.wd is not None
    case.known.appear(case.at("b"), "s", is_directory=True)
    case.known.watch(case.at("b/s"), taken.wd)
    assert taken in case.known.unwatched
    case.told()
    case.watch(taken, "z")
    assert case.told() == [("deleted", "a/s"), ("created", "a/s"), ("created", "a/s/z")]


def test_a_directory_whose_watch_was_taken_does_not_carry_what_was_known_of_it_along(case: Case) -> None:
    case.known.lose_watch(case.at("a/s"))
    case.known.move(case.at("a"), "s", case.at("b"), "t", is_directory=True)
    assert case.told() == [("deleted", "a/s"), ("created", "b/t")]
    assert case.known.unwatched == {case.at("b/t")}


def test_a_directory_not_yet_looked_into_moves_as_it_is(case: Case) -> None:
    case.known.appear(case.at("a"), "new", is_directory=True)
    case.known.move(case.at("a"), "new", case.at("b"), "new", is_directory=True)
    assert case.told() == [("created", "a/new"), ("moved", "b/new", "a/new")]


def test_a_move_of_what_is_known_as_another_kind_is_no_move(case: Case) -> None:
    case.known.move(case.at("a"), "x", case.at("b"), "x", is_directory=True)
    assert case.told() == [("deleted", "a/x"), ("created", "b/x")]


def test_a_move_of_what_is_not_known_is_an_arrival(case: Case) -> None:
    case.known.move(case.at("a"), "unknown", case.at(""), "file", is_directory=False)
    assert case.told() == [("modified", "file")]


def test_a_directory_cannot_have_moved_into_itself(case: Case) -> None:
    inner = case.at("a/s")
    case.known.move(case.at(""), "a", inner, "a", is_directory=True)
    assert case.told() == [("deleted", "a")]
    assert inner.forgotten


def test_a_move_from_beneath_what_it_replaces(case: Case) -> None:
    case.known.move(case.at("a/s"), "y", case.at(""), "a", is_directory=False)
    assert case.told() == [("deleted", "a"), ("created", "a")]


def test_forgetting_gives_every_watch_back(case: Case) -> None:
    expected = {case.at("a").wd, case.at("a/s").wd}
    case.known.vanish(case.at(""), "a")
    assert set(case.given_back) == expected
    assert set(case.known.by_wd.values()) == {case.at(""), case.at("b")}


def test_where_rules_go_by_place_a_moved_directory_is_looked_into_again() -> None:
    case = Case("a/", "file", moves_whole=False)
    case.told()
    case.known.move(case.at(""), "a", case.at(""), "b", is_directory=True)
    case.known.move(case.at(""), "file", case.at(""), "other", is_directory=False)
    assert case.told() == [("deleted", "a"), ("created", "b"), ("moved", "other", "file")]


def test_losing_the_top_is_losing_everything(case: Case) -> None:
    with pytest.raises(Lost):
        case.known.lose_watch(case.at(""))


def replay(tree: dict[str, bool], known: Known) -> None:
    """Apply the events to a client's tree; each has to make sense there."""
    for event in known.told:
        under = event.path if event.source is None else event.source
        beneath = [path for path in tree if path == under or path.startswith(under + "/")]
        assert bool(beneath) == (event.type != "created"), event
        if event.type == "created":
            tree[event.path] = event.directory
        elif event.type == "deleted":
            for path in beneath:
                del tree[path]
        elif event.type == "moved":
            tree.pop(event.path, None)
            for path in beneath:
                tree[event.path + path[len(under) :]] = tree.pop(path)
    known.told.clear()


def consistent(known: Known, tree: dict[str, bool]) -> None:
    directories = list(known.top.tree())
    assert len(set(directories)) == len(directories)
    assert not any(directory.forgotten for directory in directories)
    assert known.unwatched <= set(directories)
    assert known.by_wd == {directory.wd: directory for directory in directories if directory.wd is not None}
    assert tree == {
        (name if here is known.top else here.path + "/" + name): child is not None
        for here in directories
        for name, child in here.entries.items()
    }


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whatever_comes_the_events_add_up_to_what_is_known(data: st.DataObject) -> None:
    known = Known(".", recursive=True, moves_whole=True, unwatch=[].append)
    known.watch(known.top, 0)
    tree: dict[str, bool] = {}
    for step in range(1, data.draw(st.integers(1, 40))):
        here, there = (data.draw(st.sampled_from(list(known.top.tree()))) for _ in range(2))
        name, other = (data.draw(st.sampled_from("ab")) for _ in range(2))
        is_directory = data.draw(st.booleans())
        change = data.draw(st.sampled_from(["appear", "vanish", "modify", "leave", "arrive", "move", "watch", "lose"]))
        if change in ("appear", "arrive"):
            getattr(known, change)(here, name, is_directory)
        elif change in ("vanish", "modify", "leave"):
            getattr(known, change)(here, name)
        elif change == "move" and (here, name) != (there, other):
            known.move(here, name, there, other, is_directory)
        elif change == "watch" and here in known.unwatched:
            known.watch(here, data.draw(st.sampled_from([step, *(wd for wd in known.by_wd if wd != 0)])))
        elif change == "lose" and here is not known.top:
            known.lose_watch(here)
        replay(tree, known)
        consistent(known, tree)
