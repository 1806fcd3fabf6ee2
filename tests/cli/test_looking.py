"""ls, cat, find, grep and watch."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from .command import Command


def test_a_directory_is_listed_alike_in_every_kind_of_devbox(command: Command, box: str) -> None:
    assert command.ok("ls", box).splitlines() == ["README.md", "data.bin", "run.sh", "src/"]
    assert command.ok("ls", f"{box}:src").splitlines() == ["app.py"]
    assert command.ok("ls", "-R", f"{box}:").splitlines() == ["README.md", "data.bin", "run.sh", "src/", "src/app.py"]
    assert command.ok("ls", f"{box}:src/app.py").splitlines() == ["src/app.py"]


def test_a_long_listing_in_a_pipe_is_exact(command: Command, home: Path) -> None:
    os.utime(home / "a" / "run.sh", (1_700_000_000, 1_700_000_000))
    line = command.ok("ls", "-l", "a:run.sh")
    assert line == "-rwxr-xr-x           10 2023-11-14T22:13:20Z run.sh\n"
    (home / "a" / "link").symlink_to("run.sh")
    assert command.ok("ls", "-l", "a").splitlines()[2].endswith(" link -> run.sh")


def test_depth_counts_levels(command: Command, home: Path) -> None:
    (home / "a" / "x" / "y" / "z").mkdir(parents=True)
    assert "x/y/" in command.ok("ls", "--depth", "2", "a").splitlines()
    assert "x/y/z/" not in command.ok("ls", "--depth", "2", "a").splitlines()


def test_what_is_deeper_than_one_call_goes_is_listed_too(command: Command, home: Path) -> None:
    deep = home / "b"
    for number in range(130):
        deep = deep / f"d{number}"
    deep.mkdir(parents=True)
    assert len(command.ok("ls", "-R", "b").splitlines()) == 130
    assert len(command.ok("ls", "--depth", "70", "b").splitlines()) == 70


def test_json_has_the_keys_of_the_http_api(command: Command, box: str) -> None:
    entries = [json.loads(line) for line in command.ok("ls", "--json", box).splitlines()]
    assert [(entry["path"], entry["type"], entry["size"]) for entry in entries][:3] == [
        ("README.md", "file", 8), ("data.bin", "file", 1024), ("run.sh", "file", 10),
    ]  # fmt: skip
    assert entries[2]["mode"] == "0755"
    assert set(entries[0]) == {
        "path", "type", "size", "mode", "modified", "links", "revision", "target", "sha256",
    }  # fmt: skip


def test_odd_names_leave_as_they_are_and_come_back(command: Command, home: Path) -> None:
    odd = [b"new\nline", b"not\xffutf8", b"-dash", "grüße".encode(), b"a:b"]
    for name in odd:
        (home / "b" / os.fsdecode(name)).write_bytes(name)
    listed = command.run("ls", "-0", "b").stdout.split(b"\0")
    assert sorted(listed) == sorted([*odd, b""])
    for name in odd:
        assert command.run("cat", b"b:" + name).stdout == name
    shown = [json.loads(line)["path"] for line in command.ok("ls", "--json", "b").splitlines()]
    assert "devbox://b/not%FFutf8" in shown
    for path in shown:
        assert command.run("cat", f"b:{path}").returncode == 0


def test_cat_prints_bytes_as_they_are(command: Command, home: Path, box: str) -> None:
    done = command.run("cat", f"{box}:data.bin", f"{box}:README.md")
    assert done.stdout == (home / "a" / "data.bin").read_bytes() + b"Read me\n"
    assert command.run("cat", "--offset", "254", "--length", "4", f"{box}:data.bin").stdout == b"\xfe\xff\x00\x01"
    assert command.run("cat", "--offset", "5000", f"{box}:data.bin").stdout == b""


def test_find_prints_paths_from_the_root(command: Command, box: str) -> None:
    assert command.ok("find", box, "*.py") == "src/app.py\n"
    assert command.ok("find", f"{box}:src", "**/*.py") == "src/app.py\n"
    assert command.ok("find", f"{box}:src", "*.txt") == ""
    assert json.loads(command.ok("find", "--json", box, "*.py"))["path"] == "src/app.py"


def test_find_leaves_out_what_is_ignored_unless_told(command: Command, home: Path) -> None:
    (home / "a" / ".gitignore").write_text("*.bin\n")
    assert command.ok("find", "a", "*.bin") == ""
    assert command.ok("find", "--no-ignore", "a", "*.bin") == "data.bin\n"
    assert command.ok("find", "-0", "--no-ignore", "a", "*.bin") == "data.bin\0"


def test_find_goes_on_behind_the_first_page(command: Command, home: Path) -> None:
    for number in range(1500):
        (home / "b" / f"{number}.txt").touch()
    assert len(command.ok("find", "b", "*.txt").splitlines()) == 1500


def test_grep_prints_as_grep_does(command: Command, box: str) -> None:
    assert command.ok("grep", "os", box).splitlines() == ["src/app.py:1:import os", "src/app.py:5:    return os"]
    assert command.ok("grep", "-i", "READ", f"{box}:").splitlines() == ["README.md:1:Read me"]
    assert command.ok("grep", "-C1", "def", f"{box}:src").splitlines() == [
        "src/app.py-3-", "src/app.py:4:def main():", "src/app.py-5-    return os",
    ]  # fmt: skip
    assert command.ok("grep", "-l", "os", box) == "src/app.py\n"
    assert command.ok("grep", "-F", "main()", box) == "src/app.py:4:def main():\n"
    assert command.ok("grep", "-g", "*.md", ".", box) == "README.md:1:Read me\n"


def test_grep_shows_lines_that_two_matches_share_once(command: Command, home: Path) -> None:
    (home / "b" / "t").write_text("x1\na\nx2\nx3\nb\nc\nd\ne\nx4\n")
    assert command.ok("grep", "-C1", "x", "b").splitlines() == [
        "t:1:x1", "t-2-a", "t:3:x2", "t:4:x3", "t-5-b", "--", "t-8-e", "t:9:x4",
    ]  # fmt: skip
    (home / "b" / "u").write_text("x\n")
    assert command.ok("grep", "-C1", "x", "b").splitlines()[-3:] == ["t:9:x4", "--", "u:1:x"]


def test_grep_without_a_match_ends_with_1_and_says_nothing(command: Command) -> None:
    done = command.run("grep", "nowhere", "a")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


def test_grep_tells_what_it_did_not_search(command: Command, home: Path) -> None:
    (home / "b" / "t").write_text("x" * (1 << 20) + "needle\n")
    done = command.run("grep", "needle", "b")
    assert (done.returncode, done.stdout) == (7, b"")
    assert b"t: not searched: line 1 beyond its first MiB" in done.stderr


def test_grep_tells_matches_as_json(command: Command) -> None:
    (line,) = command.ok("grep", "--json", "-C1", "def", "a").splitlines()
    assert json.loads(line) == {
        "path": "src/app.py", "line": 4, "text": "def main():", "before": [""], "after": ["    return os"],
    }  # fmt: skip
    assert json.loads(command.ok("grep", "--json", "-l", "def", "a")) == {"path": "src/app.py"}


def test_a_bad_pattern_is_wrong_usage(command: Command) -> None:
    assert "a:" in command.fails(2, "grep", "(", "a")
    assert "a:" in command.fails(2, "find", "a", "")


@pytest.mark.parametrize("as_json", [False, True])
def test_watch_prints_a_line_an_event(command: Command, home: Path, as_json: bool) -> None:
    watching = command.start("watch", "a", "--count", "2", *(["--json"] if as_json else []))
    assert watching.stderr is not None
    assert watching.stderr.readline() == b"devbox-mcp: watching a\n"
    (home / "a" / "new dir").mkdir()
    (home / "a" / "run.sh").unlink()
    out, _ = watching.communicate(timeout=60)
    assert watching.returncode == 0
    if as_json:
        assert [json.loads(line) for line in out.splitlines()] == [
            {"type": "created", "path": "new dir", "directory": True, "source": None},
            {"type": "deleted", "path": "run.sh", "directory": False, "source": None},
        ]
    else:
        assert out.decode().splitlines() == ["created  new dir/", "deleted  run.sh"]


def test_watch_ends_at_its_time_and_at_ctrl_c(command: Command) -> None:
    assert command.run("watch", "a", "--seconds", "0").returncode == 0
    watching = command.start("watch", "a")
    assert watching.stderr is not None
    watching.stderr.readline()
    watching.send_signal(signal.SIGINT)
    assert watching.communicate(timeout=60) == (b"", b"")
    assert watching.returncode == 130
