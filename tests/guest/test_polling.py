"""Two looks at a tree, and the events that lead from one to the other."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devbox_mcp.guest.snapshots import Snapshot, Stamp, compare


def directory(inode: int) -> Stamp:
    return Stamp("directory", str(inode), "40755", "")


def file(inode: int, size: int = 0) -> Stamp:
    return Stamp("file", str(inode), str(size), "7")


def told(old: Snapshot, new: Snapshot) -> list[tuple[str, ...]]:
    return [tuple(filter(None, (event.type, event.path, event.source))) for event in compare(old, new)]


def test_a_moved_directory_takes_what_is_in_it_along() -> None:
    old = {"a": directory(1), "a/x": file(2), "a/y": file(3), "a/z": file(4)}
    new = {"b": directory(1), "b/x": file(2), "b/y": file(3, size=9), "c": file(4)}
    assert told(old, new) == [("moved", "b", "a"), ("modified", "b/y"), ("moved", "c", "b/z")]


def test_what_goes_out_before_its_directory_is_moved_has_its_old_name() -> None:
    old = {"x": directory(1), "x/k": file(2)}
    moves = [("moved", "a", "x/k"), ("moved", "y", "x")]
    assert told(old, {"a": file(2), "y": directory(1)}) == moves
    assert told(old, {"a": file(2), "y": directory(1), "y/k": file(3)}) == [*moves, ("created", "y/k")]


def test_hard_links_are_no_moves_for_nobody_knows_which_went_where() -> None:
    assert told({"a": file(1)}, {"b": file(1), "c": file(1)}) == [("created", "b"), ("created", "c"), ("deleted", "a")]
    assert told({"a": file(1), "b": file(1)}, {"c": file(1)}) == [("created", "c"), ("deleted", "b"), ("deleted", "a")]


def test_an_inode_that_serves_again_is_no_move() -> None:
    assert told({"a": file(1)}, {"b": file(1, size=9)}) == [("created", "b"), ("deleted", "a")]


def test_a_file_that_took_a_directory_s_place() -> None:
    old = {"a": directory(1), "a/x": file(2)}
    assert told(old, {"a": file(3), "b": file(2)}) == [("deleted", "a"), ("created", "a"), ("created", "b")]


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """A tree; inodes are few, so that they serve again and files have several names."""
    found: Snapshot = {}
    directories = ["."]
    free = set(range(1, 9))
    for above in directories:
        for name in draw(st.sets(st.sampled_from("abc"))):
            path = name if above == "." else above + "/" + name
            if free and path.count("/") < 2 and draw(st.booleans()):
                inode = draw(st.sampled_from(sorted(free)))
                free.discard(inode)
                directories.append(path)
                found[path] = directory(inode)
            else:
                found[path] = file(draw(st.integers(11, 15)), draw(st.integers(0, 1)))
    return dict(sorted(found.items(), key=lambda item: item[0].split("/")))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(snapshots(), snapshots())
def test_applying_the_events_to_the_old_tree_gives_the_new_one(old: Snapshot, new: Snapshot) -> None:
    tree = dict(old)
    for event in compare(old, new):
        under = event.path if event.source is None else event.source
        beneath = [path for path in tree if path == under or path.startswith(under + "/")]
        assert bool(beneath) == (event.type != "created"), event
        if event.type in ("created", "modified"):
            tree[event.path] = new[event.path]
        elif event.type == "deleted":
            for path in beneath:
                del tree[path]
        else:
            assert event.path not in tree
            for path in beneath:
                tree[event.path + path[len(under) :]] = tree.pop(path)
    assert tree == new
