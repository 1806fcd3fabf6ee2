"""What is remembered of a directory is told only while it is true."""

import os
import time
from pathlib import Path
from typing import Any, List

import pytest

from devbox_mcp.guest.beneath import Root
from devbox_mcp.guest.errors import WouldBlock
from devbox_mcp.guest.job import Job
from devbox_mcp.guest.listed import NameLister
from devbox_mcp.guest.names import own_name
from devbox_mcp.guest.policy import Policy


@pytest.fixture
def lister(root: Root) -> NameLister:
    return NameLister(root)


def settle(*directories: Path) -> None:
    """Let the directories look as if nothing had changed in them for long. The ctime, which cannot be set, is waited
    out."""
    for directory in directories:
        os.utime(directory, (1e9, 1e9))
    time.sleep(0.2)


def known(lister: NameLister, path: str = ".", **options: Any) -> List[str]:
    names: List[str] = lister.list_now(path, **options)["names"]
    return names


def on_block_device(path: Path) -> bool:
    return os.major(path.stat().st_dev) != 0


def test_a_directory_that_is_left_alone_is_known(lister: NameLister, tmp_path: Path) -> None:
    if not on_block_device(tmp_path):
        pytest.skip("directories are remembered on block devices only")
    (tmp_path / "d").mkdir()
    (tmp_path / "f").touch()
    (tmp_path / "l").symlink_to("f")
    settle(tmp_path)
    with pytest.raises(WouldBlock):
        known(lister)
    listed = lister.list(".", Job())
    assert listed["names"] == ["d/", "f", "l"]
    assert lister.list_now(".") == listed == {**listed, "targets": {"l": "f"}, "after": None, "unreadable": []}


@pytest.mark.parametrize("change", ["create", "remove", "rename", "replace", "mkdir", "relink"])
def test_a_change_is_seen_at_once(lister: NameLister, tmp_path: Path, change: str) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    (tmp_path / "l").symlink_to("a")
    settle(tmp_path)
    lister.list(".", Job())
    if change == "create":
        (tmp_path / "c").touch()
    elif change == "remove":
        (tmp_path / "a").unlink()
    elif change == "rename":
        (tmp_path / "a").rename(tmp_path / "z")
    elif change == "replace":
        (tmp_path / "a").unlink()
        (tmp_path / "a").mkdir()
    elif change == "mkdir":
        (tmp_path / "d").mkdir()
    else:
        (tmp_path / "l").unlink()
        (tmp_path / "l").symlink_to("b")
    with pytest.raises(WouldBlock):
        known(lister)
    found = lister.list(".", Job())
    names = sorted(one.name + "/" * (one.is_dir() and not one.is_symlink()) for one in tmp_path.iterdir())
    assert found["names"] == names
    assert found["targets"] == {"l": os.readlink(tmp_path / "l")}


def test_what_changed_a_moment_ago_is_not_remembered(lister: NameLister, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    lister.list(".", Job())
    with pytest.raises(WouldBlock):
        known(lister)


def test_another_directory_of_the_same_name_is_another(lister: NameLister, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    settle(tmp_path / "one", tmp_path / "two")
    assert lister.list("one", Job())["names"] == ["one"]
    assert lister.list("two", Job())["names"] == ["two"]
    (tmp_path / "one").rename(tmp_path / "away")
    (tmp_path / "two").rename(tmp_path / "one")
    assert lister.list("one", Job())["names"] == ["two"]


def test_an_answer_belongs_to_the_caller(lister: NameLister, tmp_path: Path) -> None:
    (tmp_path / "l").symlink_to("a")
    settle(tmp_path)
    for found in (lister.list(".", Job()), lister.list(".", Job())):
        assert (found["names"], found["targets"]) == (["l"], {"l": "a"})
        found["names"].append("x")
        found["targets"].clear()


def test_pages_join_without_gap_or_repetition(lister: NameLister, tmp_path: Path) -> None:
    names = ["A", "a", "a b", "b-", "b", "z", "\xe9", "\u2603", "\U0001f600", os.fsdecode(b"\xff"), "\ue000"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "b").unlink()
    (tmp_path / "b").mkdir()
    (tmp_path / own_name("part")).touch()
    settle(tmp_path)
    whole = sorted(names, key=os.fsencode)
    for limit in (1, 2, 3, len(names), 100):
        after, found = None, []
        while True:
            page = lister.list(".", Job(), limit=limit, after=after)
            found += page["names"]
            after = page["after"]
            if after is None:
                break
        assert [name.rstrip("/") for name in found] == whole
        assert "b/" in found


def test_a_cursor_may_name_what_is_gone_or_lies_deeper(lister: NameLister, tmp_path: Path) -> None:
    for name in ("a", "c", "e"):
        (tmp_path / name).touch()
    assert lister.list(".", Job(), after="b")["names"] == ["c", "e"]
    assert lister.list(".", Job(), after="c/x")["names"] == ["e"]
    assert lister.list(".", Job(), after="z")["names"] == []


def test_with_rules_nothing_is_told_from_memory(tmp_path: Path) -> None:
    (tmp_path / "secret").touch()
    (tmp_path / "a").touch()
    settle(tmp_path)
    root = Root(str(tmp_path), Policy(["secret"]))
    try:
        lister = NameLister(root)
        assert lister.list(".", Job())["names"] == ["a"]
        with pytest.raises(WouldBlock):
            known(lister)
    finally:
        root.close()
