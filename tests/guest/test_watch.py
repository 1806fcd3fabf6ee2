"""Watching real files. Unless a test says otherwise it holds for inotify and for polling alike."""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from devbox_mcp.guest import inotify, names
from devbox_mcp.guest.beneath import Root
from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.job import Job
from devbox_mcp.guest.policy import Policy
from devbox_mcp.guest.watch import Watcher

LINUX = sys.platform.startswith("linux")
inotify_only = pytest.mark.skipif(not LINUX, reason="inotify is Linux's")
LONG = 60.0  # seconds that a call waits which is to be ended by something else


class Reader:
    """Someone who watches: what he was told of so far gives ``tree``, path -> whether it is a directory."""

    def __init__(self, watcher: Watcher, path: str = ".", **options: Any) -> None:
        self.watcher = watcher
        self.path = path
        self.options = options
        self.cursor: str | None = None
        self.resyncs = 0
        self.tree: dict[str, bool] = {}
        self.pull()

    def pull(self, timeout: float = 0, limit: int = 1000) -> list[tuple[str, ...]]:
        """Take what there is, and return it as (type, path) or (type, path, source)."""
        told = []
        while True:
            found = self.watcher.changes(
                self.path, Job(), cursor=self.cursor, timeout=timeout, limit=limit, **self.options
            )
            assert len(found["events"]) <= limit
            self.cursor = found["cursor"]
            self.resyncs += found["resync"]
            for event in found["events"]:
                self.apply(event)
                told.append(tuple(filter(None, (event["type"], event["path"], event["source"]))))
            if not found["more"]:
                return told

    def apply(self, event: dict[str, Any]) -> None:
        path, source = event["path"], event["source"]
        if event["type"] == "created":
            assert path not in self.tree, f"told twice: {event}"
            self.tree[path] = event["directory"]
        elif event["type"] == "modified":
            assert path in self.tree, f"never told of: {event}"
        elif event["type"] == "deleted":
            assert path in self.tree, f"never told of: {event}"
            for gone in self.beneath(path):
                del self.tree[gone]
        else:
            assert source in self.tree, f"never told of: {event}"
            self.tree.pop(path, None)
            for moved in self.beneath(source):
                self.tree[path + moved[len(source) :]] = self.tree.pop(moved)

    def beneath(self, path: str) -> list[str]:
        return [other for other in self.tree if other == path or other.startswith(path + "/")]


def listing(top: Path) -> dict[str, bool]:
    return {
        str(path.relative_to(top)): path.is_dir() and not path.is_symlink()
        for path in top.rglob("*")
        if not any(map(names.is_own, path.relative_to(top).parts))
    }


@pytest.fixture(params=[pytest.param(False, marks=inotify_only), True], ids=["inotify", "polling"])
def polling(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def watcher(top: Path, polling: bool) -> Iterator[Watcher]:
    with closing(Root(str(top))) as root, closing(Watcher(root, polling)) as watcher:
        yield watcher


@contextmanager
def meanwhile(act: Callable[[], object]) -> Iterator[None]:
    """Do something in another thread while the block runs, a little after it began."""
    timer = threading.Timer(0.05, act)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def exchange(one: Path, other: Path) -> None:
    renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    if renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def replace(path: Path, text: str) -> None:
    """Write a file the way the guest does."""
    part = path.with_name(names.own_name("part"))
    part.write_text(text)
    part.replace(path)


def discard(path: Path) -> None:
    """Delete the way the guest does."""
    trash = path.with_name(names.own_name("trash"))
    path.rename(trash)
    shutil.rmtree(trash) if trash.is_dir() else trash.unlink()


def populate(top: Path) -> None:
    """Make what the table of changes starts from."""
    (top / "dir/sub").mkdir(parents=True)
    (top / "dir/sub/leaf").write_text("leaf")
    (top / "empty").mkdir()
    (top / "file").write_text("file")
    (top / "other").write_text("other")


CHANGES: list[tuple[str, Callable[[Path], object], list[tuple[str, ...]]]] = [
    ("a file is written", lambda top: (top / "new").write_text("1"), [("created", "new")]),
    ("an empty file", lambda top: (top / "new").touch(), [("created", "new")]),
    ("a directory", lambda top: (top / "new").mkdir(), [("created", "new")]),
    ("a link", lambda top: (top / "new").symlink_to("dir"), [("created", "new")]),
    ("a fifo", lambda top: os.mkfifo(top / "new"), [("created", "new")]),
    ("content", lambda top: (top / "file").write_text("longer than before"), [("modified", "file")]),
    ("content far below", lambda top: (top / "dir/sub/leaf").write_text("x"), [("modified", "dir/sub/leaf")]),
    ("mode", lambda top: (top / "file").chmod(0o700), [("modified", "file")]),
    ("a directory's mode", lambda top: (top / "dir").chmod(0o701), [("modified", "dir")]),
    ("times", lambda top: os.utime(top / "file", (1, 1)), [("modified", "file")]),
    ("an atomic write", lambda top: replace(top / "file", "longer than before"), [("modified", "file")]),
    ("an atomic write of a new file", lambda top: replace(top / "new", "1"), [("created", "new")]),
    ("a file goes", lambda top: (top / "file").unlink(), [("deleted", "file")]),
    ("a file goes by the trash", lambda top: discard(top / "file"), [("deleted", "file")]),
    (
        "a tree goes",
        lambda top: shutil.rmtree(top / "dir"),
        [("deleted", "dir/sub/leaf"), ("deleted", "dir/sub"), ("deleted", "dir")],
    ),
    ("a name", lambda top: (top / "file").rename(top / "new"), [("moved", "new", "file")]),
    ("another directory", lambda top: (top / "file").rename(top / "dir/x"), [("moved", "dir/x", "file")]),
    ("a directory's name", lambda top: (top / "dir").rename(top / "new"), [("moved", "new", "dir")]),
    ("a directory's place", lambda top: (top / "dir/sub").rename(top / "sub"), [("moved", "sub", "dir/sub")]),
    ("made and gone", lambda top: ((top / "new").touch(), (top / "new").unlink()), []),
    ("nothing", lambda top: (top / "file").read_text(), []),
    ("outside", lambda top: (top.parent / "outside").touch(), []),
    (
        "a tree at once",
        lambda top: ((top / "a/b/c").mkdir(parents=True), (top / "a/b/c/d").touch(), (top / "a/e").touch()),
        [("created", "a"), ("created", "a/b"), ("created", "a/e"), ("created", "a/b/c"), ("created", "a/b/c/d")],
    ),
    ("a name that is not UTF-8", lambda top: (top / os.fsdecode(b"\xff\n")).touch(), [("created", "\udcff\n")]),
]


@pytest.mark.parametrize(("change", "told"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_each_change_is_told_as_what_it_is(
    watcher: Watcher, top: Path, change: Callable[[Path], object], told: list[tuple[str, ...]]
) -> None:
    populate(top)
    reader = Reader(watcher)
    reader.tree = listing(top)
    change(top)
    found = reader.pull()
    if len(told) > 1:  # branches of one tree come in any order, parents before what is in them
        assert sorted(found) == sorted(told)
    else:
        assert found == told
    assert reader.tree == listing(top)
    assert reader.pull() == [], "nothing is told twice"
    assert reader.resyncs == 0


@pytest.mark.parametrize(
    ("change", "told", "polled"),
    [
        (
            lambda top: discard(top / "dir"),
            [("deleted", "dir")],
            [("deleted", "dir/sub/leaf"), ("deleted", "dir/sub"), ("deleted", "dir")],
        ),
        (
            lambda top: (top / "file").replace(top / "other"),
            [("moved", "other", "file")],
            [("modified", "other"), ("deleted", "file")],
        ),
        (
            lambda top: os.link(top / "file", top / "new"),
            [("created", "new")],
            [("modified", "file"), ("created", "new")],
        ),
    ],
    ids=["a directory goes by the trash", "over another file", "a hard link"],
)
def test_what_a_look_cannot_tell_as_inotify_does(
    watcher: Watcher,
    top: Path,
    polling: bool,
    change: Callable[[Path], object],
    told: list[tuple[str, ...]],
    polled: list[tuple[str, ...]],
) -> None:
    populate(top)
    reader = Reader(watcher)
    reader.tree = listing(top)
    change(top)
    assert reader.pull() == (polled if polling else told)
    assert reader.tree == listing(top)


def test_it_starts_now_also_where_somebody_watches_already(watcher: Watcher, top: Path) -> None:
    (top / "before").touch()
    first = Reader(watcher)
    (top / "between").touch()
    second = Reader(watcher)
    (top / "after").touch()
    assert first.pull() == [("created", "between"), ("created", "after")]
    assert second.pull() == [("created", "after")]


def test_an_event_says_everything_in_plain_json(watcher: Watcher, top: Path) -> None:
    cursor = watcher.changes(".", Job(), timeout=0)["cursor"]
    (top / "d").mkdir()
    found = watcher.changes(".", Job(), cursor=cursor, timeout=0)
    assert found.pop("cursor") != cursor
    assert found == {
        "events": [{"type": "created", "path": "d", "directory": True, "source": None}],
        "resync": False,
        "more": False,
    }


def test_a_waiting_call_ends_with_the_first_change(watcher: Watcher, top: Path) -> None:
    with meanwhile((top / "new").touch):
        found = watcher.changes(".", Job(), timeout=LONG)
    assert [event["path"] for event in found["events"]] == ["new"]


def test_what_takes_itself_back_ends_no_waiting(watcher: Watcher, top: Path) -> None:
    reader = Reader(watcher)

    (watch,) = watcher._watches.values()

    def act() -> None:
        with watch._refreshing:  # so that it is seen at once
            for _ in range(50):
                (top / "temporary").touch()
                (top / "temporary").unlink()
        (top / "kept").touch()

    with meanwhile(act):
        assert reader.pull(timeout=LONG) == [("created", "kept")]


@inotify_only
def test_what_takes_itself_back_is_done_with_however_often(top: Path) -> None:
    with closing(Root(str(top))) as root, closing(Watcher(root, capacity=50)) as watcher:
        reader = Reader(watcher)
        (watch,) = watcher._watches.values()

        def act() -> None:
            for _ in range(5):
                before = watch._journal._end
                with watch._refreshing:
                    for _ in range(10):
                        (top / "temporary").touch()
                        (top / "temporary").unlink()
                while watch._journal._end == before or watch._journal._told < watch._journal._end:
                    time.sleep(0.001)
            (top / "kept").touch()

        with meanwhile(act):
            assert reader.pull(timeout=LONG) == [("created", "kept")]
        assert reader.resyncs == 0


def test_a_waiting_call_ends_empty_at_its_time(watcher: Watcher) -> None:
    found = watcher.changes(".", Job(), timeout=0.05)
    assert (found["events"], found["resync"], found["more"]) == ([], False, False)


def test_a_waiting_call_can_be_cancelled(watcher: Watcher) -> None:
    job = Job()
    with meanwhile(job.cancel), pytest.raises(GuestError) as caught:
        watcher.changes(".", job, timeout=LONG)
    assert caught.value.code == "cancelled"


def test_the_limit_cuts_and_nothing_is_lost_by_it(watcher: Watcher, top: Path) -> None:
    reader = Reader(watcher)
    for number in range(10):
        (top / str(number)).touch()
    found = watcher.changes(".", Job(), cursor=reader.cursor, limit=3)
    assert (len(found["events"]), found["more"]) == (3, True)
    assert len(reader.pull(limit=3)) == 10
    with pytest.raises(GuestError) as caught:
        watcher.changes(".", Job(), limit=0)
    assert caught.value.code == "invalid_argument"


@pytest.mark.parametrize("cursor", ["", "x", "0123456789abcdef", "0123456789abcdef-x", "0123456789ABCDEF-1"])
def test_garbage_is_no_cursor(watcher: Watcher, cursor: str) -> None:
    with pytest.raises(GuestError) as caught:
        watcher.changes(".", Job(), cursor=cursor, timeout=0)
    assert caught.value.code == "invalid_argument"


def test_a_cursor_of_elsewhere_or_of_the_future_answers_resync_and_goes_on(watcher: Watcher, top: Path) -> None:
    (top / "d").mkdir()
    elsewhere = watcher.changes("d", Job(), timeout=0)["cursor"]
    own = watcher.changes(".", Job(), timeout=0)["cursor"]
    for cursor in (elsewhere, "0123456789abcdef-0", own + "000"):
        found = watcher.changes(".", Job(), cursor=cursor, timeout=LONG)
        assert (found["resync"], found["events"]) == (True, [])
        (top / "new").write_text(cursor)
        found = watcher.changes(".", Job(), cursor=found["cursor"], timeout=0)
        assert (found["resync"], len(found["events"])) == (False, 1)


# -- what is watched


def test_not_recursive_is_the_directory_s_own_entries(watcher: Watcher, top: Path) -> None:
    populate(top)
    reader = Reader(watcher, recursive=False)
    reader.tree = {path: directory for path, directory in listing(top).items() if "/" not in path}
    (top / "dir/sub/leaf").write_text("something else")
    (top / "dir/new").touch()
    (top / "made").mkdir()
    (top / "made/within").touch()
    (top / "dir/sub").rename(top / "sub")
    (top / "empty").rename(top / "renamed")
    (top / "file").rename(top / "dir/file")
    assert sorted(reader.pull()) == [
        ("created", "made"),
        ("created", "sub"),
        ("deleted", "file"),
        ("moved", "renamed", "empty"),
    ]


def test_a_directory_below_the_root_is_told_by_paths_from_the_root(watcher: Watcher, top: Path) -> None:
    populate(top)
    reader = Reader(watcher, "dir")
    reader.tree = {path: directory for path, directory in listing(top).items() if path.startswith("dir/")}
    (top / "outside").touch()
    (top / "dir/inside").touch()
    assert reader.pull() == [("created", "dir/inside")]
    (top / "outside").rename(top / "dir/came")
    (top / "dir/inside").rename(top / "went")
    assert sorted(reader.pull()) == [("created", "dir/came"), ("deleted", "dir/inside")]
    (top / "other").replace(top / "dir/came")
    assert reader.pull() == [("modified", "dir/came")]


def test_a_directory_that_moves_in_brings_what_is_in_it(watcher: Watcher, top: Path) -> None:
    populate(top)
    reader = Reader(watcher, "empty")
    (top / "dir").rename(top / "empty/dir")
    inside = [("created", "empty/dir"), ("created", "empty/dir/sub"), ("created", "empty/dir/sub/leaf")]
    assert reader.pull() == inside
    (top / "empty/dir/sub/leaf").write_text("something else")
    assert reader.pull() == [("modified", "empty/dir/sub/leaf")]
    (top / "empty/dir").rename(top / "dir")
    assert reader.pull()[-1] == ("deleted", "empty/dir")
    assert reader.tree == {}
    (top / "dir/sub/leaf").write_text("nobody looks any more")
    assert reader.pull() == []
    (watch,) = watcher._watches.values()
    if watch.fd is not None:
        kept = Path(f"/proc/self/fdinfo/{watch.fd}").read_text().count("inotify wd:")
        assert kept == 1, "a watch that is of no use is given back"


def test_what_only_a_link_leads_to_by_now_is_gone(watcher: Watcher, top: Path) -> None:
    (top / "a/b/c").mkdir(parents=True)
    Reader(watcher, "a/b")
    (watch,) = watcher._watches.values()
    (top / "a").rename(top / "away")
    (top / "a").symlink_to("away")
    assert watch.scope.lstat("a/b/c") is None
    with pytest.raises(GuestError) as caught:
        watch.scope.open_directory("a/b/c")
    assert caught.value.code == "not_found"
    watch.refresh(Job())
    assert watch.ended


def test_what_is_beneath_a_moved_directory_has_its_new_name(watcher: Watcher, top: Path) -> None:
    populate(top)
    reader = Reader(watcher)
    reader.tree = listing(top)
    (top / "dir").rename(top / "empty/deep")
    (top / "dir").mkdir()
    reader.pull()
    (top / "empty/deep/sub/leaf").write_text("something else")
    (top / "empty/deep/sub/new").touch()
    (top / "dir/sub").touch()
    assert sorted(reader.pull()) == [
        ("created", "dir/sub"),
        ("created", "empty/deep/sub/new"),
        ("modified", "empty/deep/sub/leaf"),
    ]
    assert reader.tree == listing(top)


def test_one_file(watcher: Watcher, top: Path) -> None:
    populate(top)
    reader = Reader(watcher, "file")
    reader.tree = {"file": False}
    (top / "other").write_text("changed")
    (top / "empty/file").touch()
    assert reader.pull() == []
    (top / "file").write_text("changed, too")
    assert reader.pull() == [("modified", "file")]
    replace(top / "file", "changed once more")
    assert reader.pull() == [("modified", "file")]
    (top / "other").replace(top / "file")
    assert reader.pull() == [("modified", "file")]
    (top / "file").rename(top / "gone")
    assert reader.pull() == [("deleted", "file")]
    with pytest.raises(GuestError) as caught:
        reader.pull(timeout=LONG)
    assert caught.value.code == "not_found"
    (top / "file").touch()
    assert reader.pull() == [("created", "file")]
    (top / "file").unlink()
    (top / "file").mkdir()
    reader.tree = {}
    reader.pull()
    assert reader.resyncs == 1
    (top / "file/within").touch()
    assert reader.pull() == [("created", "file/within")]


def test_nothing_there_is_an_error(watcher: Watcher, top: Path) -> None:
    (top / "file").touch()
    for path, code in [("nowhere", "not_found"), ("nowhere/deep", "not_found"), ("file/x", "not_directory")]:
        with pytest.raises(GuestError) as caught:
            watcher.changes(path, Job())
        assert caught.value.code == code


@pytest.mark.parametrize(
    "remove",
    [
        lambda top: (top / "a/b").rmdir(),
        lambda top: shutil.rmtree(top / "a"),
        lambda top: (top / "a/b").rename(top / "away"),
        lambda top: (top / "a").rename(top / "away"),
        lambda top: discard(top / "a"),
    ],
    ids=["deleted", "deleted with its parent", "moved", "moved with its parent", "by the trash"],
)
def test_when_what_is_watched_goes_it_is_told_and_then_refused(
    watcher: Watcher, top: Path, remove: Callable[[Path], object]
) -> None:
    (top / "a/b").mkdir(parents=True)
    reader = Reader(watcher, "a/b")
    reader.tree = {"a/b": True}
    remove(top)
    assert reader.pull() == [("deleted", "a/b")]
    (watch,) = watcher._watches.values()
    assert watch.fd is None, "there is no queue left to read"
    with pytest.raises(GuestError) as caught:
        reader.pull(timeout=LONG)
    assert caught.value.code == "not_found"
    (top / "a/b").mkdir(parents=True, exist_ok=True)
    assert reader.pull(timeout=LONG) == []
    assert reader.resyncs == 1
    (top / "a/b/new").touch()
    assert reader.pull() == [("created", "a/b/new")]


def test_a_waiting_call_ends_when_what_is_watched_goes(watcher: Watcher, top: Path) -> None:
    (top / "d").mkdir()
    with meanwhile((top / "d").rmdir):
        found = watcher.changes("d", Job(), timeout=LONG)
    assert [(event["type"], event["path"]) for event in found["events"]] == [("deleted", "d")]


def test_the_root_itself(tmp_path: Path, polling: bool) -> None:
    (tmp_path / "top").mkdir()
    with closing(Root(str(tmp_path / "top"))) as root, closing(Watcher(root, polling)) as watcher:
        reader = Reader(watcher)
        reader.tree = {".": True}
        (tmp_path / "top").rename(tmp_path / "renamed")
        assert reader.pull() == [], "the root is a handle: its name is nobody's business"
        (tmp_path / "renamed").rmdir()
        with suppress(GuestError):  # that it is gone may be told, or be refused at once
            assert reader.pull() == [("deleted", ".")]
        with pytest.raises(GuestError) as caught:
            reader.pull()
        assert caught.value.code == "unavailable"


def test_links_are_entries_and_never_followed(watcher: Watcher, top: Path, tmp_path_factory: Any) -> None:
    outside: Path = tmp_path_factory.mktemp("outside")
    populate(top)
    (top / "inward").symlink_to("dir")
    (top / "outward").symlink_to(outside)
    (top / "loop").symlink_to(".")
    reader = Reader(watcher)
    reader.tree = listing(top)
    (outside / "secret").touch()
    (top / "dir/sub/new").touch()
    assert reader.pull() == [("created", "dir/sub/new")]
    (top / "loop").unlink()
    (top / "late").symlink_to(outside)
    assert sorted(reader.pull()) == [("created", "late"), ("deleted", "loop")]
    (outside / "other").touch()
    assert reader.pull() == []


def test_a_path_through_a_link_watches_what_it_leads_to(watcher: Watcher, top: Path) -> None:
    populate(top)
    (top / "link").symlink_to("dir/sub")
    reader = Reader(watcher, "link")
    (top / "dir/sub/new").touch()
    assert reader.pull() == [("created", "dir/sub/new")]
    (top / "link").unlink()
    (top / "link").symlink_to("empty")
    assert (reader.pull(), reader.resyncs) == ([], 1)
    (top / "empty/new").touch()
    assert reader.pull() == [("created", "empty/new")]
    (top / "out").symlink_to("/etc")
    with pytest.raises(GuestError) as caught:
        watcher.changes("out", Job())
    assert caught.value.code == "escapes_root"


def test_a_deleted_file_that_is_still_written_to_is_not_the_new_one(watcher: Watcher, top: Path) -> None:
    with (top / "file").open("w") as old:
        (top / "file").unlink()
        (top / "file").touch()
        reader = Reader(watcher)
        old.write("to nowhere")
        old.flush()
        assert reader.pull() == []


@pytest.mark.parametrize("deny", ["secret", "secret/**", "/secret"])
def test_denied_paths_never_show(tmp_path: Path, polling: bool, deny: str) -> None:
    (tmp_path / "secret/deep").mkdir(parents=True)
    (tmp_path / "open").mkdir()
    with closing(Root(str(tmp_path), Policy([deny]))) as root, closing(Watcher(root, polling)) as watcher:
        reader = Reader(watcher)
        reader.tree = {"open": True, "secret": True}
        (tmp_path / "secret/deep/a").touch()
        (tmp_path / "secret/b").touch()
        assert reader.pull() == []
        (tmp_path / "open/new").touch()
        (tmp_path / "open/new").rename(tmp_path / "secret/new")
        assert "secret/new" not in [path for event in reader.pull() for path in event]
        (tmp_path / "secret/new").rename(tmp_path / "open/back")
        assert reader.pull() == [("created", "open/back")]
        if deny == "secret":
            with pytest.raises(GuestError) as caught:
                watcher.changes("secret", Job())
            assert caught.value.code == "denied"


def test_a_denied_name_beside_others_never_shows(tmp_path: Path, polling: bool) -> None:
    with closing(Root(str(tmp_path), Policy(["*.key", ".env"]))) as root, closing(Watcher(root, polling)) as watcher:
        reader = Reader(watcher)
        (tmp_path / "a.key").touch()
        (tmp_path / ".env").mkdir()
        (tmp_path / ".env/within").touch()
        (tmp_path / "shown").touch()
        (tmp_path / "shown").rename(tmp_path / "b.key")
        (tmp_path / "a.key").rename(tmp_path / "now shown")
        (tmp_path / "b.key").unlink()
        assert reader.pull() == [("created", "now shown")]


def test_a_directory_s_new_name_may_show_what_its_old_one_hid(tmp_path: Path, polling: bool) -> None:
    (tmp_path / "a/keys").mkdir(parents=True)
    (tmp_path / "a/keys/k").touch()
    with closing(Root(str(tmp_path), Policy(["a/keys"]))) as root, closing(Watcher(root, polling)) as watcher:
        reader = Reader(watcher)
        reader.tree = {"a": True}
        (tmp_path / "a").rename(tmp_path / "b")
        reader.pull()
        assert reader.tree == {"b": True, "b/keys": True, "b/keys/k": False}
        (tmp_path / "b").rename(tmp_path / "a")
        reader.pull()
        assert {path for path in reader.tree if path.startswith("a/")} == set()


@inotify_only  # for the system call
@pytest.mark.parametrize(("one", "other"), [("file", "other"), ("dir", "empty"), ("file", "dir"), ("dir", "file")])
def test_names_that_are_exchanged(watcher: Watcher, top: Path, one: str, other: str) -> None:
    populate(top)
    reader = Reader(watcher)
    reader.tree = listing(top)
    exchange(top / one, top / other)
    reader.pull()
    assert reader.tree == listing(top)
    for directory in (path for path, is_directory in list(reader.tree.items()) if is_directory):
        (top / directory / "new").touch()
    reader.pull()
    assert reader.tree == listing(top)


@inotify_only  # for the system call
@pytest.mark.parametrize("inwards", [True, False])
@pytest.mark.parametrize(("inner", "outer"), [("dir/sub", "empty"), ("dir/sub/leaf", "file"), ("dir/sub", "file")])
def test_names_that_are_exchanged_with_what_is_not_watched(
    watcher: Watcher, top: Path, inner: str, outer: str, inwards: bool
) -> None:
    populate(top)
    reader = Reader(watcher, "dir")
    reader.tree = {path: directory for path, directory in listing(top).items() if path.startswith("dir/")}
    exchange(*(top / name for name in ((outer, inner) if inwards else (inner, outer))))
    reader.pull()
    assert reader.tree == {path: directory for path, directory in listing(top).items() if path.startswith("dir/")}


@inotify_only
@pytest.mark.parametrize("polling", [False])
def test_what_the_kernel_may_not_see_is_looked_at(watcher: Watcher, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # as though the file system these tests run on were a network's
    monkeypatch.setattr(inotify, "REMOTE", {inotify.file_system(top.stat().st_dev)})
    reader = Reader(watcher)
    (watch,) = watcher._watches.values()
    assert watch.fd is None
    (top / "new").touch()
    assert reader.pull() == [("created", "new")]


@inotify_only
def test_which_file_systems_the_kernel_sees_every_change_of() -> None:
    assert inotify.file_system(Path("/proc").stat().st_dev) == "proc"
    assert inotify.file_system(0) == ""
    seen = {"": True, "ext4": True, "overlay": True, "fuseblk": True, "fuse.fuse-overlayfs": True}
    unseen = {"nfs4": False, "cifs": False, "9p": False, "fuse": False, "fuse.sshfs": False, "virtiofs": False}
    for kind, answer in {**seen, **unseen}.items():
        assert inotify.reports_all_of(kind) is answer


# -- many changes, many readers


def test_a_burst_and_slow_readers(watcher: Watcher, top: Path) -> None:
    early = Reader(watcher)
    for number in range(10):
        (top / f"d{number}/deep").mkdir(parents=True)
        for file in range(30):
            (top / f"d{number}/deep/{file}").write_text("x")
    late = Reader(watcher)
    late.tree = listing(top)
    for number in range(10):
        for file in range(30):
            (top / f"d{number}/deep/{file}").unlink()
    for reader in (late, early):
        told = reader.pull(limit=17)
        assert reader.resyncs == 0
        assert len(told) == len(set(told))
        assert reader.tree == listing(top)


@inotify_only
@pytest.mark.parametrize("polling", [False])
def test_five_thousand_events_are_all_told_once(watcher: Watcher, top: Path) -> None:
    reader = Reader(watcher)
    for number in range(2500):
        (top / f"f{number}").touch()
    for number in range(2500):
        (top / f"f{number}").chmod(0o600)
    told = reader.pull(limit=100)
    assert (len(told), reader.resyncs) == (5000, 0)
    assert reader.tree == listing(top)


def test_a_reader_who_is_too_late_is_told_so_once(top: Path, polling: bool) -> None:
    with closing(Root(str(top))) as root, closing(Watcher(root, polling, capacity=50)) as watcher:
        late = Reader(watcher)
        for number in range(50):
            (top / f"{number}").touch()
        early = Reader(watcher)
        early.tree = listing(top)
        (top / "last").touch()
        assert (late.pull(), late.resyncs) == ([], 1)
        assert (early.pull(), early.resyncs) == ([("created", "last")], 0)
        (top / "more").touch()
        assert (late.pull(), late.resyncs) == ([("created", "more")], 1)


@inotify_only
@pytest.mark.parametrize("polling", [False])
def test_the_kernel_s_queue_overflows(watcher: Watcher, top: Path) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if most > 100_000:
        pytest.skip("this system's queue is too long to fill")
    (top / "a").touch()
    (top / "b").touch()
    reader = Reader(watcher)
    (watch,) = watcher._watches.values()
    with watch._refreshing:  # so that nobody empties the queue
        for number in range(most // 2 + 2):
            os.utime(top / "a", (number, number))
            os.utime(top / "b", (number, number))
        (top / "d").mkdir()
    assert (reader.pull(), reader.resyncs) == ([], 1)
    reader.tree = listing(top)
    (top / "d/new").touch()
    assert (reader.pull(), reader.resyncs) == ([("created", "d/new")], 1)


def in_a_namespace(program: str, top: Path, **values: int) -> list[str]:
    """Run a program as the root of a user namespace of its own, and return the lines it prints."""
    package = str(Path(names.__file__).parents[2])
    program = textwrap.dedent(program).format(package=package, top=str(top), **values)
    try:
        done = subprocess.run(
            ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if "unshare failed" in done.stderr or "Permission denied: '/proc/sys" in done.stderr:
        pytest.skip("no user namespaces here")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


LIMITED = """
    import os, sys
    sys.path[:0] = [{package!r}]
    from devbox_mcp.guest.beneath import Root
    from devbox_mcp.guest.job import Job
    from devbox_mcp.guest.watch import Watcher

    def limit(what, most):
        with open("/proc/sys/user/max_inotify_" + what, "w") as file:
            file.write(str(most))

    def told(found):
        return found["resync"], [event["path"] for event in found["events"]]

    top = {top!r}
    watcher = Watcher(Root(top))
    limit("instances", {instances})
    limit("watches", {watches})
    found = watcher.changes(".", Job(), timeout=0)
    os.makedirs(top + "/a/b/c/d")
    found = watcher.changes(".", Job(), cursor=found["cursor"], timeout=0)
    print(told(found))
    open(top + "/a/b/c/d/new", "w").close()
    found = watcher.changes(".", Job(), cursor=found["cursor"], timeout=0)
    print(told(found))
    watcher.close()
"""


@inotify_only
@pytest.mark.parametrize(
    ("instances", "watches", "first"),
    [(10, 100, (False, ["a", "a/b", "a/b/c", "a/b/c/d"])), (10, 3, (True, [])), (0, 100, None), (10, 0, None)],
    ids=["enough", "too few for what comes", "none for this user", "too few from the start"],
)
def test_beyond_the_limits_of_the_system_it_looks_instead(
    top: Path, instances: int, watches: int, first: tuple[bool, list[str]] | None
) -> None:
    if first is None:  # looked from the start: nothing is ever lost
        first = (False, ["a", "a/b", "a/b/c", "a/b/c/d"])
    told = in_a_namespace(LIMITED, top, instances=instances, watches=watches)
    assert told == [repr(first), repr((False, ["a/b/c/d/new"]))]


TWICE = """
    import os, subprocess, sys
    sys.path[:0] = [{package!r}]
    from devbox_mcp.guest.beneath import Root
    from devbox_mcp.guest.job import Job
    from devbox_mcp.guest.watch import Watcher

    top = {top!r}
    os.makedirs(top + "/a/x")
    os.mkdir(top + "/b")
    subprocess.run(["mount", "--bind", top + "/a", top + "/b"], check=True)
    watcher = Watcher(Root(top))
    found = watcher.changes(".", Job(), timeout=0)
    open(top + "/a/x/new", "w").close()
    found = watcher.changes(".", Job(), cursor=found["cursor"], timeout=0)
    print([event["path"] for event in found["events"]])
    watcher.close()
"""


@inotify_only
def test_one_directory_in_two_places_is_looked_at(top: Path) -> None:
    assert in_a_namespace(TWICE, top) == [repr(["a/x/new", "b/x/new"])]


def test_a_directory_that_cannot_be_read_is_watched_as_soon_as_it_can(
    tmp_path: Path, polling: bool, stranger: Callable[[Callable[[], None]], None]
) -> None:
    os.chown(tmp_path, 4321, 4321)
    with closing(Root(str(tmp_path))) as root:

        def act() -> None:
            os.fchdir(root.fd)
            top = Path()
            (top / "closed").mkdir(mode=0)
            with closing(Watcher(root, polling)) as watcher:
                reader = Reader(watcher)
                reader.tree = {"closed": True}
                (top / "closed").chmod(0o700)
                assert reader.pull() == [("modified", "closed")]
                (top / "closed/new").touch()
                assert reader.pull() == [("created", "closed/new")]

        stranger(act)


class Churn(threading.Thread):
    """Changes a tree at random until it is told to stop; several at once get into each other's way."""

    def __init__(self, top: Path, seed: int, steps: int) -> None:
        super().__init__()
        self.top = top
        self.random = random.Random(seed)
        self.steps = steps

    def path(self) -> Path:
        return self.top.joinpath(*self.random.choices("abc", k=self.random.randint(1, 4)))

    def run(self) -> None:
        for _ in range(self.steps):
            with suppress(OSError):
                self.step()

    def step(self) -> None:
        path, kind = self.path(), self.random.random()
        if LINUX and kind < 0.03:
            exchange(path, self.path())
        elif kind < 0.25:
            path.mkdir(parents=True, exist_ok=True)
        elif kind < 0.45:
            path.write_text("x" * self.random.randint(0, 100))
        elif kind < 0.6:
            replace(path, "x" * self.random.randint(0, 100))
        elif kind < 0.85:
            path.rename(self.path())
        elif kind < 0.92:
            path.unlink()
        elif kind < 0.96:
            discard(path)
        else:
            shutil.rmtree(path)


FILL = """
    import os
    for number in range(200):
        os.mkdir({top!r} + "/%d" % number)
        for file in range(30):
            open({top!r} + "/%d/%d" % (number, file), "w").close()
"""


@inotify_only
@pytest.mark.parametrize("polling", [False])
def test_new_directories_that_are_being_filled(watcher: Watcher, top: Path) -> None:
    readers = [Reader(watcher), Reader(watcher, recursive=False)]
    writer = subprocess.Popen([sys.executable, "-c", textwrap.dedent(FILL).format(top=str(top))])
    follow(readers, top, lambda: writer.poll() is None)
    assert writer.wait() == 0


@pytest.mark.parametrize("writers", [1, 3])
@pytest.mark.parametrize("seed", range(2))
def test_replaying_all_events_gives_what_is_there(
    root: Root, top: Path, polling: bool, writers: int, seed: int
) -> None:
    steps = (100 if polling else 1000) // writers
    threads = [Churn(top, 10 * seed + number, steps) for number in range(writers)]
    with closing(Watcher(root, polling)) as watcher:
        readers = [Reader(watcher), Reader(watcher, recursive=False)]
        for thread in threads:
            thread.start()
        follow(readers, top, lambda: any(thread.is_alive() for thread in threads))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_replaying_all_events_gives_what_is_there_whatever_other_processes_do(
    watcher: Watcher, top: Path, polling: bool, seed: int
) -> None:
    steps = "100" if polling else "2000"
    readers = [Reader(watcher), Reader(watcher, recursive=False)]
    environment = {**os.environ, "PYTHONPATH": str(Path(names.__file__).parents[2])}
    writers = [
        subprocess.Popen([sys.executable, __file__, str(top), str(10 * seed + number), steps], env=environment)
        for number in range(3)
    ]
    follow(readers, top, lambda: None in [writer.poll() for writer in writers])
    assert [writer.wait() for writer in writers] == [0, 0, 0]


def follow(readers: list[Reader], top: Path, changing: Callable[[], bool]) -> None:
    """Read while something is changing; then see whether all is known, and every directory watched."""
    deep, shallow = readers
    while changing():
        deep.pull(timeout=0.01, limit=5)
        shallow.pull()
    deep.pull()
    shallow.pull()
    there = listing(top)
    assert deep.resyncs == shallow.resyncs == 0
    assert deep.tree == there
    assert shallow.tree == {path: directory for path, directory in there.items() if "/" not in path}
    for directory in [top, *(top / path for path, is_directory in there.items() if is_directory)]:
        (directory / "seen").touch()
    deep.pull()
    assert deep.tree == listing(top)


def test_several_callers_wait_at_once(watcher: Watcher, top: Path) -> None:
    cursor = watcher.changes(".", Job(), timeout=0)["cursor"]
    found: list[dict[str, Any]] = []

    def wait() -> None:
        found.append(watcher.changes(".", Job(), cursor=cursor, timeout=LONG))

    threads = [threading.Thread(target=wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    (top / "new").touch()
    for thread in threads:
        thread.join()
    assert [[event["path"] for event in one["events"]] for one in found] == [["new"]] * 5


# -- what is kept, and for how long


def test_the_least_recently_used_journal_goes(watcher: Watcher, top: Path) -> None:
    for number in range(65):
        (top / f"d{number}").mkdir()
    first, second, *_ = (Reader(watcher, f"d{number}") for number in range(64))
    first.pull()
    last = Reader(watcher, "d64")
    for reader in (first, second, last):
        (top / reader.path / "new").touch()
    assert (second.pull(), second.resyncs) == ([], 1)
    assert first.pull() == [("created", "d0/new")]
    assert last.pull() == [("created", "d64/new")]


def test_a_journal_is_kept_for_ten_minutes(watcher: Watcher, top: Path) -> None:
    (top / "d").mkdir()
    kept, left = Reader(watcher), Reader(watcher, "d")
    watcher._watches[".", True].used -= 590
    watcher._watches["d", True].used -= 610
    (top / "d/new").touch()
    assert kept.pull() == [("created", "d/new")]
    assert (left.pull(), left.resyncs) == ([], 1)


def test_close_lets_waiting_callers_go_and_leaves_nothing_behind(watcher: Watcher) -> None:
    handles = Path("/dev/fd")
    before = threading.active_count(), len(list(handles.iterdir()))
    Reader(watcher)
    with meanwhile(watcher.close):
        assert watcher.changes(".", Job(), timeout=LONG)["events"] == []
    assert (threading.active_count(), len(list(handles.iterdir()))) == before
    with pytest.raises(GuestError) as caught:
        watcher.changes(".", Job())
    assert caught.value.code == "unavailable"


if __name__ == "__main__":
    Churn(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])).run()
