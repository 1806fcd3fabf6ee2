"""What ``box.fs`` does, in a directory and through a guest."""

from __future__ import annotations

import hashlib
import io
import os
from array import array
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from devbox_mcp import Devbox, Edit, Gap, errors


def test_text_is_written_and_read_exactly(box: Devbox, root: Path) -> None:
    text = "one\r\ntwo\n\ufeffthrée"
    written = box.fs.write_file("a/b.txt", text)
    assert (root / "a" / "b.txt").read_bytes() == text.encode()
    assert (written.path, written.size, written.created) == ("a/b.txt", len(text.encode()), True)
    assert written.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert box.fs.read_file("a/b.txt") == text
    assert box.fs.read_file(PurePosixPath("a") / "b.txt") == text
    assert box.fs.read_file(root / "a" / "b.txt") == text


def test_other_encodings_are_asked_for(box: Devbox, root: Path) -> None:
    box.fs.write_file("latin.txt", "é", encoding="latin-1")
    assert (root / "latin.txt").read_bytes() == b"\xe9"
    assert box.fs.read_file("latin.txt", encoding="latin-1") == "é"
    with pytest.raises(errors.Unsupported, match="this is not utf-8 text"):
        box.fs.read_file("latin.txt")
    with pytest.raises(errors.InvalidArgument, match="no encoding"):
        box.fs.read_file("latin.txt", encoding="latin-none")
    with pytest.raises(errors.InvalidArgument, match="cannot be written as ascii"):
        box.fs.write_file("latin.txt", "é", encoding="ascii")
    assert (root / "latin.txt").read_bytes() == b"\xe9"


@pytest.mark.parametrize("content", [5, 2**40, [65, 66], None, PurePosixPath("x")])
def test_what_is_neither_text_nor_bytes_is_no_content(box: Devbox, root: Path, content: Any) -> None:
    box.fs.write_file("count.txt", "old")
    for call in (
        lambda: box.fs.write_file("count.txt", content),
        lambda: box.fs.append("count.txt", content),
        lambda: box.fs.upload_files({"other.txt": "1", "count.txt": content}),
        lambda: box.fs.upload_files({"other.txt": "1", "count.txt": content}, atomic=True),
    ):
        with pytest.raises(TypeError, match=f"is text or bytes, not {type(content).__name__}"):
            call()
    assert {path.name: path.read_text() for path in root.iterdir()} == {"count.txt": "old"}


@pytest.mark.parametrize("content", [bytearray(b"AB"), memoryview(b"AB"), array("B", b"AB")])
def test_whatever_lies_in_memory_is_written_as_it_is(box: Devbox, root: Path, content: Any) -> None:
    box.fs.write_file("a.bin", content)
    assert (root / "a.bin").read_bytes() == b"AB"


def test_ranges_of_bytes(box: Devbox, root: Path) -> None:
    (root / "data").write_bytes(bytes(range(100)))
    assert box.fs.read_bytes("data") == bytes(range(100))
    assert box.fs.read_bytes("data", offset=10, length=5) == bytes(range(10, 15))
    assert box.fs.read_bytes("data", offset=95) == bytes(range(95, 100))
    assert box.fs.read_bytes("data", offset=200, length=5) == b""
    with pytest.raises(errors.InvalidArgument):
        box.fs.read_bytes("data", offset=-1)


def test_windows_of_lines(box: Devbox, root: Path) -> None:
    (root / "log").write_text("".join(f"line {number}\n" for number in range(1, 101)))
    lines = box.fs.read_lines("log", first=10, count=2)
    assert (lines.text, lines.first, lines.count, lines.more) == ("line 10\nline 11\n", 10, 2, True)
    assert box.fs.read_lines("log", first=-1).text == "line 100\n"
    (root / "bin").write_bytes(b"\0\1")
    with pytest.raises(errors.Unsupported):
        box.fs.read_lines("bin")


def test_if_match_writes_only_over_that_version(box: Devbox, root: Path) -> None:
    first = box.fs.write_file("a.txt", "one\n")
    (root / "a.txt").write_text("other\n")
    with pytest.raises(errors.Conflict) as caught:
        box.fs.write_file("a.txt", "two\n", if_match=first.sha256[:12])
    assert caught.value.data["sha256"] == hashlib.sha256(b"other\n").hexdigest()
    assert "-other" in caught.value.data["diff"]
    assert (root / "a.txt").read_text() == "other\n"
    now = box.fs.stat("a.txt", sha256=True).sha256
    box.fs.write_file("a.txt", "two\n", if_match=now)
    with pytest.raises(errors.Conflict):
        box.fs.delete("a.txt", if_match=first.sha256)
    with pytest.raises(errors.Conflict):
        box.fs.move("a.txt", "b.txt", if_match=first.sha256)
    with pytest.raises(errors.Exists):
        box.fs.write_file("a.txt", "", mode="create")


def test_append_edit_and_dry_run(box: Devbox, root: Path) -> None:
    box.fs.append("a.txt", "one\n")
    box.fs.append("a.txt", b"two\n")
    planned = box.fs.edit_file("a.txt", [("one", "1")], dry_run=True)
    assert planned.written is None
    assert "+1" in planned.diff
    done = box.fs.edit_file("a.txt", [("one", "1"), Edit("o", "0", replace_all=True)])
    assert done.replacements == 2
    assert done.written is not None
    assert (root / "a.txt").read_text() == "1\ntw0\n"
    with pytest.raises(errors.EditMismatch):
        box.fs.edit_file("a.txt", [("not there", "x")])


def test_edits_are_written_as_in_every_other_door(box: Devbox, root: Path) -> None:
    (root / "a.txt").write_text("old_text e e\n")
    pairs: Any = [{"old_text": "old_text", "new_text": "1"}, ["1", "2"]]
    box.fs.edit_file("a.txt", pairs)
    box.fs.edit_file("a.txt", [{"old_text": "e", "new_text": "3", "replace_all": True}])
    assert (root / "a.txt").read_text() == "2 3 3\n"


@pytest.mark.parametrize(
    "edits",
    [
        ["ab"], ("a", "b"), {"old_text": "a", "new_text": "b"}, [{"a", "b"}], [("a",)], [("a", 1)], [("a", b"b")],
        [{"old_text": "a"}], [{"old_text": "a", "new_text": "b", "all": True}], [("a", "c"), None],
    ],
)  # fmt: skip
def test_what_is_no_edit_changes_nothing(box: Devbox, root: Path, edits: Any) -> None:
    (root / "a.txt").write_text("a old_text\n")
    with pytest.raises(TypeError, match="an edit is an Edit, a pair of texts, or"):
        box.fs.edit_file("a.txt", edits)
    assert (root / "a.txt").read_text() == "a old_text\n"


@pytest.mark.parametrize("one", ["ab", PurePosixPath("ab")])
def test_a_single_text_is_no_list(box: Devbox, devbox: str, one: Any) -> None:
    with pytest.raises(TypeError, match=r"paths is a list, not .*: write \[.*'ab'"):
        box.fs.download_files(one)
    with pytest.raises(TypeError, match="deny is a list"):
        Devbox(devbox, deny=one)


def test_what_is_bytes_or_text_instead_is_told(box: Devbox, root: Path) -> None:
    (root / "a.txt").write_text("old")
    path: Any = b"a.txt"
    with pytest.raises(TypeError, match="a path is text, not bytes"):
        box.fs.read_file(path)
    source: Any = io.StringIO("new")
    with pytest.raises(TypeError, match="open it as a binary one"):
        box.fs.upload_large_file(source, "a.txt")
    assert (root / "a.txt").read_text() == "old"


def test_directories(box: Devbox, root: Path) -> None:
    assert box.fs.make_dir("a/b") is True
    assert box.fs.make_dir("a/b") is False
    box.fs.write_file("a/b/c.txt", "x")
    os.symlink("b/c.txt", root / "a" / "link")
    listed = {entry.path: entry for entry in box.fs.list_dir("a", depth=2)}
    assert list(listed) == ["a/b", "a/b/c.txt", "a/link"]
    assert listed["a/b"].is_dir
    assert (listed["a/b/c.txt"].size, listed["a/b/c.txt"].name) == (1, "c.txt")
    assert listed["a/link"].target == "b/c.txt"
    assert [entry.path for entry in box.fs.list_dir(".", depth=3, glob="**/*.txt")] == ["a/b/c.txt"]
    with pytest.raises(errors.NotEmpty):
        box.fs.delete("a")
    assert box.fs.delete("a", recursive=True) == 4
    assert not box.fs.exists("a")
    assert box.fs.exists(".")
    with pytest.raises(errors.NotFound):
        box.fs.list_dir("a")


def test_a_long_listing_has_all_pages(box: Devbox, root: Path) -> None:
    names = [f"f{number:05}" for number in range(2345)]
    for name in names:
        (root / name).touch()
    assert [entry.name for entry in box.fs.list_dir()] == names
    assert [entry.name for entry in box.fs.iter_dir()] == names
    assert len(box.fs.find_files("f*")) == 2345


def test_an_iteration_may_be_given_up(box: Devbox, root: Path) -> None:
    for number in range(10):
        (root / str(number)).touch()
    for entry in box.fs.iter_dir():
        assert entry.name == "0"
        break
    assert len(box.fs.list_dir()) == 10


def test_a_walk_can_be_pruned(box: Devbox, root: Path) -> None:
    for name in ("a/keep/x", "a/drop/y", "b/z"):
        box.fs.write_file(name, "")
    os.symlink("a", root / "link")
    seen = []
    for path, directories, files in box.fs.walk():
        seen.append((path, list(directories), files))
        if "drop" in directories:
            directories.remove("drop")
    assert seen == [
        (".", ["a", "b"], ["link"]), ("a", ["drop", "keep"], []), ("a/keep", [], ["x"]), ("b", [], ["z"]),
    ]  # fmt: skip
    with pytest.raises(errors.NotFound):
        list(box.fs.walk("missing"))


def test_move_copy_chmod(box: Devbox, root: Path) -> None:
    box.fs.write_file("a.txt", "x")
    assert box.fs.move("a.txt", "d/b.txt").path == "d/b.txt"
    assert box.fs.copy("d", "e").type == "directory"
    with pytest.raises(errors.Exists):
        box.fs.copy("d/b.txt", "e/b.txt")
    box.fs.copy("d/b.txt", "e/b.txt", overwrite=True)
    assert box.fs.chmod("e/b.txt", 0o600) == 1
    assert box.fs.stat("e/b.txt").mode == 0o600


def test_finding_and_searching(box: Devbox) -> None:
    box.fs.upload_files({f"src/{name}.py": f"x = 1\n# {name}\nend\n" for name in "abc"})
    found = box.fs.find_files("*.py", limit=2)
    assert [entry.path for entry in found] == ["src/a.py", "src/b.py"]
    rest = box.fs.find_files("*.py", cursor=found.cursor)
    assert ([entry.path for entry in rest], rest.cursor) == (["src/c.py"], None)
    matches = box.fs.search_text(r"# [ab]", context=1)
    assert [(one.path, one.line, one.text) for one in matches] == [("src/a.py", 2, "# a"), ("src/b.py", 2, "# b")]
    assert matches.matches[0].before == ["x = 1"]
    assert len(box.fs.search_text("x = 1", limit=1)) == 1
    box.fs.write_file("long.js", "x" * (1 << 20) + "needle\n")
    assert box.fs.search_text("needle").gaps == [Gap("long.js", 1, "long")]
    with pytest.raises(errors.InvalidArgument):
        box.fs.search_text("(")
    with pytest.raises(errors.InvalidArgument):
        box.fs.find_files("*", limit=0)


def test_many_files_at_once_each_with_its_outcome(box: Devbox, root: Path) -> None:
    (root / "taken").mkdir()
    outcomes = box.fs.upload_files({"a": "x", "taken": "y", "../out": "z", "b": b"\0"})
    assert [(one.path, type(one.error)) for one in outcomes] == [
        ("a", type(None)), ("taken", errors.IsDirectory), ("../out", errors.EscapesRoot), ("b", type(None)),
    ]  # fmt: skip
    assert (root / "b").read_bytes() == b"\0"
    assert box.fs.upload_files({}) == []


def test_atomic_uploads_are_all_or_none(box: Devbox, root: Path) -> None:
    box.fs.write_file("a", "old")
    (root / "taken").mkdir()
    with pytest.raises(errors.DevboxError):
        box.fs.upload_files({"a": "new", "taken": "y"}, atomic=True)
    with pytest.raises(errors.EscapesRoot):
        box.fs.upload_files({"a": "new", "../out": "z"}, atomic=True)
    with pytest.raises(errors.Conflict):
        box.fs.upload_files({"b": "new", "a": "new"}, atomic=True, if_match={"a": "0" * 64})
    assert (root / "a").read_text() == "old"
    assert not (root / "b").exists()


def test_what_is_too_much_for_one_batch_is_split(box: Devbox, root: Path) -> None:
    files: dict[str, str | bytes] = {f"n{number}": "" for number in range(1500)}
    files["big"] = b"x" * (33 << 20)
    outcomes = box.fs.upload_files(files)
    assert [one.path for one in outcomes] == list(files)
    assert all(one.written is not None for one in outcomes)
    assert (root / "big").stat().st_size == 33 << 20


def test_names_that_are_not_utf8_go_both_ways(box: Devbox, root: Path) -> None:
    name = os.fsdecode(b"caf\xe9\n.txt")
    (root / name).write_text("odd")
    (entry,) = box.fs.list_dir()
    assert entry.path == name
    assert box.fs.read_file(entry.path) == "odd"


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("../x", errors.EscapesRoot),
        ("/etc/passwd", errors.EscapesRoot),
        ("", errors.InvalidArgument),
        ("a\0b", errors.InvalidArgument),
        ("missing", errors.NotFound),
    ],
)
def test_bad_paths_are_told(box: Devbox, path: str, error: type[errors.DevboxError]) -> None:
    with pytest.raises(error):
        box.fs.read_file(path)
    with pytest.raises(error):
        box.fs.open(path)


def test_the_root_is_told(box: Devbox, root: Path) -> None:
    assert box.root() == str(root)


def test_a_read_only_box_with_deny_rules(kind: str, devbox: str, root: Path) -> None:
    if kind == "gateway":
        with pytest.raises(errors.InvalidArgument, match="kept by its server"), Devbox(devbox, deny=[".env"]):
            pass
        return
    (root / ".env").write_text("secret")
    (root / "a").write_text("x")
    with Devbox(devbox, read_only=True, deny=[".env"]) as box:
        with pytest.raises(errors.ReadOnly):
            box.fs.write_file("b", "x")
        with pytest.raises(errors.Denied):
            box.fs.read_file(".env")
        assert box.fs.read_file("a") == "x"
