"""Going through a tree."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devbox_mcp.guest.beneath import Root
from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.job import Job
from devbox_mcp.guest.names import OWN_PREFIX
from devbox_mcp.guest.policy import Policy
from devbox_mcp.guest.walk import MOST_LEVELS, Entry, require_shallow, walk


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    opened = Root(str(tmp_path))
    yield opened
    opened.close()


def fill(directory: Path, *paths: str) -> None:
    """Make files, and directories where a path ends with a slash."""
    for path in paths:
        host = directory / path
        (host if path.endswith("/") else host.parent).mkdir(parents=True, exist_ok=True)
        if not path.endswith("/"):
            host.touch()


def found(root: Root, path: str = ".", **options: object) -> list[str]:
    with root.locate(path) as place:
        return [entry.path for entry in walk(root, place, options.pop("job", None) or Job(), **options)]  # type: ignore[arg-type]


def test_parents_first_in_the_order_of_bytes(root: Root) -> None:
    fill(Path(root.path), "a/b", "a/c/d", "a-", "A", "a.b/x", "\u00e9", "~")
    assert found(root) == ["A", "a", "a/b", "a/c", "a/c/d", "a-", "a.b", "a.b/x", "~", "\u00e9"]


def test_paths_from_the_root_and_parts_from_the_start(root: Root) -> None:
    fill(Path(root.path), "a/b/c")
    with root.locate("a") as place:
        assert [(entry.path, entry.parts, entry.name, entry.kind) for entry in walk(root, place, Job())] == [
            ("a/b", ("b",), "b", "directory"),
            ("a/b/c", ("b", "c"), "c", "file"),
        ]


def test_kinds_and_what_an_entry_can_do(root: Root) -> None:
    here = Path(root.path)
    fill(here, "d/", "f")
    (here / "f").write_bytes(b"four")
    (here / "l").symlink_to("d")
    os.mkfifo(str(here / "p"))
    with root.locate(".") as place:
        for entry in walk(root, place, Job()):
            if entry.name == "f":
                assert entry.lstat().st_size == 4
                fd = entry.open_file()
                assert os.read(fd, 9) == b"four"
                os.close(fd)
            elif entry.name == "l":
                assert (entry.kind, entry.readlink()) == ("symlink", "d")
            else:
                assert entry.kind == {"d": "directory", "p": "fifo"}[entry.name]
                with pytest.raises(GuestError) as caught:
                    entry.open_file()
                assert caught.value.code == {"d": "is_directory", "p": "unsupported"}[entry.name]


def test_links_are_not_entered(root: Root) -> None:
    here = Path(root.path)
    fill(here, "d/f")
    for name, target in (("up", ".."), ("here", "."), ("l", "d"), ("out", "/"), ("d/back", "../d")):
        (here / name).symlink_to(target)
    assert found(root) == ["d", "d/back", "d/f", "here", "l", "out", "up"]


def test_depth(root: Root) -> None:
    fill(Path(root.path), "a/b/c/d")
    assert found(root, depth=1) == ["a"]
    assert found(root, depth=3) == ["a", "a/b", "a/b/c"]


def test_enter_is_asked_after_the_directory_was_shown(root: Root) -> None:
    fill(Path(root.path), "a/x", "b/x")

    def enter(entry: Entry) -> bool:
        return entry.name != "a"

    assert found(root, enter=enter) == ["a", "b", "b/x"]


def test_own_files_and_denied_ones_are_left_out(tmp_path: Path) -> None:
    fill(tmp_path, "a/f", OWN_PREFIX + "part-1", "a/" + OWN_PREFIX + "trash-1/f", "a/x.key", "s/t/u", "key")
    root = Root(str(tmp_path), Policy(deny=["*.key", "t"]))
    denied: list[str] = []
    try:
        assert found(root, denied=denied) == ["a", "a/f", "key", "s"]
    finally:
        root.close()
    assert denied == ["a/x.key", "s/t"]


@pytest.mark.parametrize("depth", [None, 2])
def test_resuming_behind_any_entry(root: Root, depth: int | None) -> None:
    fill(Path(root.path), "a/b/c", "a/b-/c", "a-/b", "b/", "\n/x")
    whole = found(root, depth=depth)
    for number, path in enumerate(whole):
        assert found(root, depth=depth, after=tuple(path.split("/"))) == whole[number + 1 :]


def test_resuming_behind_what_was_never_there(root: Root) -> None:
    fill(Path(root.path), "a/b", "a/d", "c/x")
    assert found(root, after=("a", "c", "z")) == ["a/d", "c", "c/x"]
    assert found(root, after=("a", "z")) == ["c", "c/x"]
    assert found(root, after=("b",)) == ["c", "c/x"]
    assert found(root, after=("a",)) == ["a/b", "a/d", "c", "c/x"]
    assert found(root, after=("z",)) == []


def test_what_lies_too_deep_is_passed_over_and_told(root: Root) -> None:
    fill(Path(root.path), "/".join(["d"] * (MOST_LEVELS + 3)) + "/")
    unreadable: list[str] = []
    assert len(found(root, unreadable=unreadable)) == MOST_LEVELS
    assert unreadable == ["/".join(["d"] * MOST_LEVELS)]
    with pytest.raises(GuestError, match="permission_denied"):
        require_shallow(unreadable)
    unreadable.clear()
    assert len(found(root, depth=MOST_LEVELS, unreadable=unreadable)) == MOST_LEVELS
    require_shallow(unreadable)


def test_what_cannot_be_read_is_passed_over_and_told(root: Root) -> None:
    here = Path(root.path)
    fill(here, "a/x", "b/x")
    here.chmod(0o755)
    (here / "a").chmod(0)
    unreadable: list[str] = []
    privileged = os.geteuid() == 0
    if privileged:
        os.seteuid(65534)
    try:
        assert found(root, unreadable=unreadable) == ["a", "b", "b/x"]
    finally:
        if privileged:
            os.seteuid(0)
        (here / "a").chmod(0o700)
    assert unreadable == ["a"]


def test_what_goes_away_meanwhile(root: Root) -> None:
    here = Path(root.path)
    fill(here, "a/x", "b/x", "c")
    paths = []
    with root.locate(".") as place:
        for entry in walk(root, place, Job()):
            paths.append(entry.path)
            if entry.name == "a":
                (here / "a").rename(here / "z")
                (here / "a").symlink_to("/")
    assert paths == ["a", "b", "b/x", "c"]


def test_the_start_itself_must_be_a_directory(root: Root) -> None:
    fill(Path(root.path), "f")
    with pytest.raises(GuestError, match="not_directory"):
        found(root, "f")


def test_a_job_stops_it(root: Root) -> None:
    fill(Path(root.path), "a/x", "b")
    job = Job()
    job.cancel()
    with pytest.raises(GuestError, match="cancelled"):
        found(root, job=job)
    with pytest.raises(GuestError, match="timeout"):
        found(root, job=Job(seconds=-1))


def test_no_handle_is_left_open(root: Root) -> None:
    fill(Path(root.path), "a/b/c/d", "a/b/e")
    before = os.listdir("/dev/fd")
    with root.locate(".") as place:
        for stop in range(6):
            walking = walk(root, place, Job())
            for _ in range(stop):
                next(walking, None)
            walking.close()
    assert os.listdir("/dev/fd") == before


NAMES = st.text(st.sampled_from("ab-/."), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(paths=st.lists(NAMES, max_size=12), data=st.data())
def test_pages_of_any_tree_join_to_the_whole(
    tmp_path_factory: pytest.TempPathFactory, paths: list[str], data: st.DataObject
) -> None:
    here = tmp_path_factory.mktemp("tree")
    for path in paths:
        parts = [part for part in path.split("/") if part.strip(".")]
        if parts:
            try:
                fill(here, "/".join(parts))
            except OSError:
                continue
    root = Root(str(here))
    try:
        whole = found(root)
        assert sorted(whole) == sorted(
            os.path.relpath(os.path.join(directory, name), here)
            for directory, directories, files in os.walk(here)
            for name in directories + files
        )
        assert whole == sorted(whole, key=lambda path: path.split("/"))
        if whole:
            number = data.draw(st.integers(0, len(whole) - 1))
            assert found(root, after=tuple(whole[number].split("/"))) == whole[number + 1 :]
    finally:
        root.close()
