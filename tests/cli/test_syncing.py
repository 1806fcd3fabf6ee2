"""sync: one directory made like another."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from .command import Command
from .conftest import names


def contents(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in names(directory) if (directory / name).is_file()}


def test_only_what_differs_moves(command: Command, home: Path, box: str) -> None:
    assert set(command.ok("sync", box, "b").splitlines()) == {
        "created  README.md", "created  data.bin", "created  run.sh", "created  src/", "created  src/app.py",
    }  # fmt: skip
    assert contents(home / "b") == contents(home / "a")
    assert command.ok("sync", box, "b") == ""
    (home / "b" / "data.bin").write_bytes(bytes(1024))  # the same size
    (home / "b" / "README.md").write_text("other")
    before = (home / "b" / "run.sh").stat()
    assert set(command.ok("sync", box, "b").splitlines()) == {"updated  data.bin", "updated  README.md"}
    assert contents(home / "b") == contents(home / "a")
    assert (home / "b" / "run.sh").stat() == before


def test_it_goes_into_a_devbox_as_well(command: Command, home: Path, box: str) -> None:
    (home / "b" / "README.md").write_text("newer")
    (home / "b" / "more").mkdir()
    assert set(command.ok("sync", "b", box).splitlines()) == {"updated  README.md", "created  more/"}
    assert (home / "a" / "README.md").read_text() == "newer"
    assert (home / "a" / "data.bin").exists(), "without --delete what is more stays"
    assert set(command.ok("sync", "--delete", "b", box).splitlines()) == {
        "deleted  data.bin", "deleted  run.sh", "deleted  src/",
    }  # fmt: skip
    assert names(home / "a") == names(home / "b")


def test_a_dry_run_tells_the_same_and_changes_nothing(command: Command, home: Path) -> None:
    (home / "b" / "old" / "er").mkdir(parents=True)
    (home / "b" / "src").write_text("a file where a directory is to be")
    before = contents(home / "b")
    planned = set(command.ok("sync", "-n", "--delete", "a", "b").splitlines())
    assert contents(home / "b") == before
    assert (home / "b" / "old" / "er").is_dir()
    assert set(command.ok("sync", "--delete", "a", "b").splitlines()) == planned
    assert contents(home / "b") == contents(home / "a")
    assert not (home / "b" / "old").exists()
    assert command.ok("sync", "--dry-run", "a:", "missing") != ""
    assert not (home / "missing").exists()


def test_what_is_excluded_is_neither_copied_nor_deleted(command: Command, home: Path) -> None:
    (home / "b" / "keep.bin").write_bytes(b"k")
    command.ok("sync", "--delete", "--exclude", "*.bin", "--exclude", "src", "a", "b")
    assert names(home / "b") == {"README.md", "run.sh", "keep.bin"}


def test_a_directory_stays_while_something_excluded_lies_in_it(command: Command, home: Path) -> None:
    for name in ("old/.git/keep", "old/gone", "old/deep/gone", "old/deep/er/.git"):
        (home / "b" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "b" / name).write_text("x")
    (home / "b" / "more").mkdir()
    arguments = ("sync", "--delete", "--exclude", ".git", "a", "b")
    planned = command.run(*arguments, "-n")
    done = command.run(*arguments)
    assert (planned.returncode, done.returncode) == (0, 0)
    assert set(planned.stdout.splitlines()) == set(done.stdout.splitlines())
    assert {line for line in done.stdout.decode().splitlines() if line.startswith("deleted")} == {
        "deleted  more/", "deleted  old/gone", "deleted  old/deep/gone",
    }  # fmt: skip
    assert "old: stays, for something excluded lies in it" in done.stderr.decode()
    assert {name for name in names(home / "b") if name.startswith("old/")} >= {"old/.git/keep", "old/deep/er/.git"}


def test_what_is_in_the_way_stays_with_something_excluded_in_it(command: Command, home: Path) -> None:
    (home / "b" / "README.md" / ".git").mkdir(parents=True)
    (home / "b" / "README.md" / ".git" / "keep").write_text("k")
    (home / "b" / "README.md" / "inner").write_text("i")
    done = command.run("sync", "--delete", "--exclude", ".git", "a", "b")
    assert done.returncode == 4
    assert "b/README.md: a directory is in the way, and something excluded lies in it" in done.stderr.decode()
    assert {"README.md/.git/keep", "README.md/inner"} <= names(home / "b")


@pytest.mark.parametrize("way", ["file", "link"])
def test_what_is_in_the_way_stays_unless_delete_is_given(command: Command, home: Path, way: str) -> None:
    (home / "elsewhere").mkdir()
    if way == "file":
        (home / "b" / "src").write_text("x")
    else:
        (home / "b" / "src").symlink_to("../elsewhere")
    done = command.run("sync", "a", "b")
    assert done.returncode == 4
    assert f"b:src: a {way} is in the way; --delete would replace it" in done.stderr.decode().replace(
        " b/src", " b:src"
    )
    assert (home / "b" / "README.md").exists()
    assert not (home / "elsewhere" / "app.py").exists()
    command.ok("sync", "--delete", "a", "b")
    assert contents(home / "b") == contents(home / "a")
    assert not list((home / "elsewhere").iterdir())


def test_a_directory_where_a_file_is_to_be(command: Command, home: Path) -> None:
    (home / "b" / "README.md" / "inner").mkdir(parents=True)
    assert command.run("sync", "a", "b").returncode == 4
    assert (home / "b" / "README.md" / "inner").is_dir()
    assert "deleted  README.md/" in command.ok("sync", "--delete", "a", "b").splitlines()
    assert contents(home / "b") == contents(home / "a")


def test_nothing_is_deleted_where_the_source_could_not_be_read(command: Command, home: Path) -> None:
    (home / "b" / "old").write_text("x")
    (home / "b" / "src" / "app.py").mkdir(parents=True)
    (home / "a" / "src" / "loop").symlink_to("loop")
    done = command.run("sync", "--delete", "--exclude", "src/app.py", "a", "b")
    assert done.returncode == 0, "a link is left out, and that is no failure"
    assert not (home / "b" / "old").exists()
    (home / "b" / "old").write_text("x")
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (home / "a" / "src").chmod(0)
    done = command.run("sync", "--delete", "a", "b")
    assert done.returncode == 5
    assert (home / "b" / "old").exists()


def test_json_tells_every_step(command: Command, home: Path) -> None:
    (home / "b" / "old").write_text("x")
    steps = [json.loads(line) for line in command.ok("sync", "--json", "-n", "--delete", "a", "b").splitlines()]
    assert {"action": "deleted", "path": "b/old", "type": "file", "size": 1, "dry_run": True} in [
        {**step, "path": "b/old"} if step["path"].endswith("b/old") else step for step in steps
    ]
    assert len(steps) == 6


@pytest.mark.parametrize(
    ("code", "arguments", "said"),
    [
        (3, ("missing", "b"), "missing: there is nothing here"),
        (3, ("a:missing", "b"), "there is nothing here"),
        (4, ("a:README.md", "b"), "this is no directory; cp copies a file"),
        (4, ("a:src", "a/README.md"), "README.md"),
        (2, ("a", "a"), "is the same"),
        (2, ("a", "a:src"), "lies in a"),
        (2, ("a:src", "a"), "lies in a"),
        (2, ("--exclude", "", "a", "b"), "--exclude"),
    ],
)
def test_what_makes_no_sense_changes_nothing(
    command: Command, home: Path, code: int, arguments: tuple[str, ...], said: str
) -> None:
    before = contents(home)
    assert said in command.fails(code, "sync", "--delete", *arguments)
    assert contents(home) == before
