"""put, get, cp and zip."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import zipfile
from pathlib import Path

import pytest

from .command import Command
from .conftest import names


def test_a_file_goes_there_and_comes_back(command: Command, home: Path, box: str) -> None:
    content = os.urandom(3_000_000)
    (home / "big").write_bytes(content)
    command.ok("put", "big", f"{box}:new/dir/")
    assert (home / "a" / "new" / "dir" / "big").read_bytes() == content
    command.ok("get", f"{box}:new/dir/big", "back")
    assert (home / "back").read_bytes() == content
    command.ok("get", f"{box}:README.md")
    assert (home / "README.md").read_text() == "Read me\n"


def test_where_things_go(command: Command, home: Path) -> None:
    command.ok("put", "a/README.md", "b:renamed")
    command.ok("put", "a/README.md", "b:")
    command.ok("put", "a/README.md", "b:missing/")
    command.ok("put", "a/README.md", "a/run.sh", "b:several")
    command.ok("put", "a/src", "b:")
    command.ok("put", "a/src", "b:as")
    command.ok("put", "a/src/.", "b:contents")
    assert names(home / "b") == {
        "renamed", "README.md", "missing", "missing/README.md", "several", "several/README.md", "several/run.sh",
        "src", "src/app.py", "as", "as/app.py", "contents", "contents/app.py",
    }  # fmt: skip


def test_directories_go_and_come_whole(command: Command, home: Path, box: str) -> None:
    (home / "a" / "empty" / "er").mkdir(parents=True)
    command.ok("get", f"{box}:", "out")
    assert names(home / "out") == names(home / "a")
    command.ok("put", "out", f"{box}:copy")
    assert names(home / "a" / "copy") == names(home / "out")
    assert (home / "a" / "copy" / "data.bin").read_bytes() == (home / "a" / "data.bin").read_bytes()


def test_programs_stay_executable_and_files_do_not_become_it(command: Command, home: Path, box: str) -> None:
    command.ok("get", f"{box}:", "out")
    assert stat.S_IMODE((home / "out" / "run.sh").stat().st_mode) & 0o100
    assert not stat.S_IMODE((home / "out" / "README.md").stat().st_mode) & 0o111


def test_between_devboxes_and_within_one(command: Command, home: Path, box: str) -> None:
    command.ok("cp", f"{box}:src", "b:")
    assert (home / "b" / "src" / "app.py").read_bytes() == (home / "a" / "src" / "app.py").read_bytes()
    command.ok("cp", f"{box}:README.md", f"{box}:data.bin", ":both/")
    assert names(home / "a" / "both") == {"README.md", "data.bin"}
    (home / "a" / "link").symlink_to("README.md")
    command.ok("cp", f"{box}:link", f"{box}:README.md", ":both")
    assert (home / "a" / "both" / "link").read_text() == "Read me\n"
    assert not (home / "a" / "both" / "link").is_symlink()
    command.ok("cp", f"{box}:README.md", "here.md")
    assert (home / "here.md").read_text() == "Read me\n"


def test_stdin_and_stdout(command: Command, home: Path, box: str) -> None:
    command.ok("put", "-", f"{box}:piped", stdin=b"from a pipe" * 100_000)
    assert (home / "a" / "piped").read_bytes() == b"from a pipe" * 100_000
    assert command.run("get", f"{box}:piped", "-").stdout == b"from a pipe" * 100_000
    assert "has no name; write one" in command.fails(2, "put", "-", "b:")


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="Linux makes such files up")
def test_a_file_that_does_not_tell_its_size_is_copied_whole(command: Command, home: Path) -> None:
    content = Path("/proc/version").read_bytes()
    command.ok("put", "/proc/version", "b:copy")
    assert (home / "b" / "copy").read_bytes() == content
    assert command.run("cat", "/proc:version").stdout == content


def test_a_pipe_is_copied_alone(command: Command, home: Path) -> None:
    os.mkfifo(home / "pipe")
    for sources in (("-", "pipe"), ("a/README.md", "-"), ("pipe", "pipe")):
        assert "has no name in a directory; copy it alone" in command.fails(2, "put", *sources, "b:x")
    assert not (home / "b" / "x").exists()


def test_a_named_pipe_is_read_to_its_end(command: Command, home: Path) -> None:
    os.mkfifo(home / "pipe")
    putting = command.start("put", "pipe", "b:piped")
    (home / "pipe").write_bytes(b"through a pipe")
    assert putting.wait(60) == 0
    assert (home / "b" / "piped").read_bytes() == b"through a pipe"
    assert putting.communicate()[1] == b""


def test_links_are_left_out_and_told_unless_followed(command: Command, home: Path) -> None:
    (home / "a" / "link").symlink_to("README.md")
    (home / "a" / "loop").symlink_to(".")
    (home / "a" / "broken").symlink_to("nowhere")
    done = command.run("get", "a:", "out")
    assert done.returncode == 0
    assert sorted(done.stderr.decode().splitlines()) == [
        f"devbox-mcp: a:{name}: a link is not copied" for name in ("broken", "link", "loop")
    ]
    assert "link" not in names(home / "out")
    done = command.run("get", "-L", "a:", "out")
    assert (home / "out" / "link").read_text() == "Read me\n"
    assert "loop" not in names(home / "out")
    assert done.returncode == 3, "what a link leads to is not there"
    command.ok("get", "a:link", "followed")
    assert (home / "followed").read_text() == "Read me\n"


def test_what_is_excluded_stays_where_it_is(command: Command, home: Path) -> None:
    command.ok("put", "--exclude", "*.bin", "--exclude", "src", "a/.", "b:")
    assert names(home / "b") == {"README.md", "run.sh"}
    assert "--exclude" in command.fails(2, "put", "--exclude", "", "a", "b:")


def test_nothing_is_overwritten_where_that_is_asked(command: Command, home: Path) -> None:
    command.ok("put", "-n", "a/README.md", "b:")
    (home / "b" / "README.md").write_text("mine")
    assert "b:README.md" in command.fails(4, "put", "-n", "a/README.md", "b:")
    assert (home / "b" / "README.md").read_text() == "mine"
    command.ok("put", "a/README.md", "b:")
    assert (home / "b" / "README.md").read_text() == "Read me\n"


def test_json_tells_every_file_with_its_hash(command: Command, home: Path) -> None:
    lines = [json.loads(line) for line in command.ok("put", "--json", "a/src", "a/README.md", "b:").splitlines()]
    assert {(line["source"], line["path"], line["bytes"]) for line in lines} == {
        ("a/src/app.py", "src/app.py", 38), ("a/README.md", "README.md", 8),
    }  # fmt: skip
    assert {line["sha256"] for line in lines} == {
        hashlib.sha256((home / "a" / name).read_bytes()).hexdigest() for name in ("src/app.py", "README.md")
    }


@pytest.mark.parametrize(
    ("code", "arguments", "said"),
    [
        (2, ("put", "a"), "where to? write devbox-mcp put FILE... DEVBOX:PATH"),
        (2, ("put", "a", "b"), "'b' names no devbox; write DEVBOX:PATH, here .:b"),
        (2, ("get", "a"), "'a' names no devbox"),
        (2, ("cp", "a:src"), "where to?"),
        (2, ("cp", ":src", "b:"), "names no devbox before its colon"),
        (2, ("cp", "a:src", "a:src/deeper"), "cannot be copied into itself"),
        (2, ("cp", "a:src", "a/src/deeper"), "cannot be copied into itself"),
        (2, ("put", ".", "a:x"), "cannot be copied into itself"),
        (2, ("cp", "a:README.md", ":README.md"), "are the same file"),
        (2, ("cp", "a:README.md", "a/README.md"), "are the same file"),
        (2, ("put", "a/README.md", "ssh://host:x"), "unknown kind of devbox 'ssh'"),
        (2, ("put", "a/README.md", "exec:'x:y"), "is no command"),
        (2, ("get", "--json", "a:README.md", "-"), "would mix"),
        (2, ("zip", "a:src", "b:", "out.zip"), "a zip holds files of one devbox"),
        (3, ("put", "missing", "b:"), "missing: there is nothing here"),
        (3, ("get", "a:missing"), "a:missing: there is nothing here; devbox-mcp ls"),
        (3, ("get", "missing:x"), "there is no directory"),
        (4, ("put", "a/README.md", "a/run.sh", "b:file"), "several things cannot be copied to one file"),
        (4, ("put", "a/README.md", "b:file/x"), "b:file"),
        (5, ("get", "a:../b/file"), "a:../b/file: the path climbs out of the root"),
        (5, ("get", "a:/etc/hosts"), "outside the root"),
        (6, ("get", "exec:false:x"), "exec:false"),
        (9, ("get", "exec:/no/such/program:x"), "exec:/no/such/program"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence_and_a_code(
    command: Command, home: Path, code: int, arguments: tuple[str, ...], said: str
) -> None:
    (home / "b" / "file").write_text("x")
    before = names(home)
    assert said in command.fails(code, *arguments)
    assert names(home) == before


def test_one_file_that_fails_does_not_stop_the_others(command: Command, home: Path) -> None:
    (home / "b" / "src" / "app.py").mkdir(parents=True)
    said = command.fails(4, "put", "a/.", "b:")
    assert said.startswith("b:src/app.py: ")
    assert {"README.md", "data.bin", "run.sh"} <= names(home / "b")


@pytest.mark.parametrize("sources", [("src", "README.md"), ("",)])
def test_a_zip_holds_what_was_named(command: Command, home: Path, box: str, sources: tuple[str, ...]) -> None:
    command.ok("zip", *(f"{box}:{name}" for name in sources), "out.zip")
    packed = {name.rstrip("/") for name in zipfile.ZipFile(home / "out.zip").namelist()}
    assert packed == ({"src", "src/app.py", "README.md"} if sources[0] else names(home / "a"))
    data = command.run("zip", *(f"{box}:{name}" for name in sources), "-").stdout
    assert zipfile.ZipFile(io.BytesIO(data)).read("src/app.py") == (home / "a" / "src" / "app.py").read_bytes()


def test_a_zip_may_lie_in_a_devbox_and_is_not_overwritten_where_that_is_asked(command: Command, home: Path) -> None:
    command.ok("zip", "a:src", "b:out.zip")
    assert zipfile.is_zipfile(home / "b" / "out.zip")
    assert "b:out.zip" in command.fails(4, "zip", "-n", "a:src", "b:out.zip")
    assert "a:missing" in command.fails(3, "zip", "a:missing", "new.zip")
    assert not (home / "new.zip").exists()


def test_many_small_files_and_some_that_fail(command: Command, home: Path, box: str) -> None:
    for number in range(600):
        (home / "b" / f"{number}.txt").write_text(str(number))
    (home / "a" / "into" / "7.txt").mkdir(parents=True)
    said = command.fails(4, "put", "b/.", f"{box}:into")
    assert "into/7.txt" in said
    written = {name for name in names(home / "a" / "into") if (home / "a" / "into" / name).is_file()}
    assert written == {f"{number}.txt" for number in range(600)} - {"7.txt"}
    assert (home / "a" / "into" / "599.txt").read_text() == "599"
