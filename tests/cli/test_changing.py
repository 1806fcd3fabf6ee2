"""rm, mkdir, mv and edit."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from .command import Command
from .conftest import names


def test_files_and_directories_are_deleted(command: Command, home: Path, box: str) -> None:
    (home / "a" / "link").symlink_to("src")
    command.ok("rm", f"{box}:README.md", f"{box}:link")
    assert names(home / "a") == {"data.bin", "run.sh", "src", "src/app.py"}
    said = command.fails(4, "rm", f"{box}:src")
    assert said.endswith("-r deletes it with everything in it")
    command.ok("rm", "-r", f"{box}:src")
    assert names(home / "a") == {"data.bin", "run.sh"}


def test_what_is_not_there_is_an_error_unless_forced(command: Command, home: Path) -> None:
    done = command.run("rm", "a:missing", "a:README.md")
    assert done.returncode == 3
    assert not (home / "a" / "README.md").exists(), "the others are deleted all the same"
    command.ok("rm", "-f", "a:missing")
    assert json.loads(command.ok("rm", "-r", "--json", "a:src")) == {"path": "src", "deleted": 2}


@pytest.mark.parametrize(
    ("code", "arguments", "said"),
    [
        (2, ("rm", "-r", "a:"), "the root itself cannot be deleted"),
        (2, ("rm", "a/README.md"), "'a/README.md' names no devbox"),
        (3, ("rm", "a:\n\x1b[2J"), r"a:\n\x1b[2J: "),
        (4, ("mkdir", "a:README.md"), "a:README.md"),
        (4, ("mkdir", "a:README.md/x"), "a:README.md/x"),
        (2, ("mv", "a:README.md", "b:x"), "mv works within one devbox; cp copies"),
        (2, ("mv", "a:README.md"), "where to?"),
        (2, ("mv", "a/README.md", ":x"), "names no devbox"),
        (2, ("mv", "a:src", ":src/deeper"), "a:src"),
        (4, ("mv", "-n", "a:README.md", ":run.sh"), "a:"),
        (3, ("mv", "a:missing", ":x"), "a:missing"),
        (2, ("edit", "a:README.md", "--all"), "without --replace or --edits the editor is opened"),
        (2, ("edit", "a:README.md", "--edits", "a/run.sh"), "is no JSON"),
        (2, ("edit", "a:README.md", "--edits", "list"), "is no list of edits"),
        (1, ("edit", "a:README.md", "--edits", "missing"), "missing: No such file"),
        (4, ("edit", "a:README.md", "--replace", "nowhere", "x"), "a:README.md"),
        (4, ("edit", "a:README.md", "--replace", "Read", "x", "--if-match", "0" * 12), "a:README.md"),
        (2, ("edit", "a:README.md", "--replace", "Read", "x", "--if-match", "12"), "a:README.md"),
        (3, ("edit", "a:missing", "--replace", "a", "b"), "a:missing: there is nothing here"),
        (4, ("edit", "a:src", "--replace", "a", "b"), "a:src"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence_and_a_code(
    command: Command, home: Path, code: int, arguments: tuple[str, ...], said: str
) -> None:
    (home / "list").write_text('[{"old_text": 1}]')
    before = {name: (home / name).stat().st_mtime_ns for name in names(home)}
    assert said in command.fails(code, *arguments)
    assert {name: (home / name).stat().st_mtime_ns for name in names(home)} == before


def test_directories_are_made_with_their_parents(command: Command, home: Path, box: str) -> None:
    command.ok("mkdir", f"{box}:x/y", f"{box}:src")
    assert (home / "a" / "x" / "y").is_dir()
    assert json.loads(command.ok("mkdir", "--json", f"{box}:x")) == {"path": "x", "created": False}


def test_things_are_moved_within_a_devbox(command: Command, home: Path, box: str) -> None:
    command.ok("mv", f"{box}:README.md", ":README.txt")
    command.ok("mv", f"{box}:README.txt", f"{box}:data.bin", f"{box}:kept/")
    command.ok("mv", f"{box}:src", ":kept")
    assert names(home / "a") == {"run.sh", "kept", "kept/README.txt", "kept/data.bin", "kept/src", "kept/src/app.py"}
    command.ok("mv", f"{box}:run.sh", ":kept/data.bin")
    assert (home / "a" / "kept" / "data.bin").read_text() == "#!/bin/sh\n"


def test_a_text_is_replaced_and_the_change_is_shown(command: Command, home: Path, box: str) -> None:
    shown = command.ok("edit", f"{box}:src/app.py", "--replace", "return os", "return None")
    assert "-    return os\n+    return None\n" in shown
    assert "return None" in (home / "a" / "src" / "app.py").read_text()
    assert f"{box}:src/app.py: " in command.fails(4, "edit", f"{box}:src/app.py", "--replace", "o", "0")
    told = json.loads(command.ok("edit", f"{box}:src/app.py", "--replace", "os", "sys", "--all", "--json"))
    assert (told["path"], told["replacements"]) == ("src/app.py", 1)


def test_a_dry_run_only_shows(command: Command, home: Path) -> None:
    before = (home / "a" / "README.md").read_bytes()
    assert "+Write me" in command.ok("edit", "a:README.md", "--replace", "Read", "Write", "--dry-run")
    assert (home / "a" / "README.md").read_bytes() == before


def test_several_edits_come_as_json_and_are_all_made_or_none(command: Command, home: Path) -> None:
    edits = [{"old_text": "Read", "new_text": "Write"}, {"old_text": "me", "new_text": "you", "replace_all": True}]
    command.ok("edit", "a:README.md", "--edits", "-", stdin=json.dumps(edits).encode())
    assert (home / "a" / "README.md").read_text() == "Write you\n"
    bad = json.dumps([{"old_text": "you", "new_text": "us"}, {"old_text": "nowhere", "new_text": ""}])
    assert command.run("edit", "a:README.md", "--edits", "-", stdin=bad.encode()).returncode == 4
    assert (home / "a" / "README.md").read_text() == "Write you\n"


def editor(home: Path, code: str) -> dict[str, str]:
    """An editor that does what the code says to the file ``path``."""
    (home / "editor.py").write_text(f"import sys, pathlib\npath = pathlib.Path(sys.argv[1])\n{code}\n")
    return {"EDITOR": f"{sys.executable} {home}/editor.py"}


def test_an_editor_works_on_a_copy(command: Command, home: Path, box: str) -> None:
    env = editor(home, "assert path.name == 'app.py'\npath.write_text(path.read_text() + '# edited\\n')")
    done = command.run("edit", f"{box}:src/app.py", env=env)
    assert done.returncode == 0, done
    assert (home / "a" / "src" / "app.py").read_text().endswith("# edited\n")
    assert names(home / "a" / "src") == {"app.py"}


def test_an_editor_may_begin_a_file_or_change_nothing(command: Command, home: Path) -> None:
    assert command.run("edit", "a:new/one", env=editor(home, "path.write_text('x')")).returncode == 0
    assert (home / "a" / "new" / "one").read_text() == "x"
    done = command.run("edit", "a:README.md", env=editor(home, "pass"))
    assert (done.returncode, done.stderr) == (0, b"nothing was changed\n")
    assert command.run("edit", "a:none", env=editor(home, "pass")).returncode == 0
    assert not (home / "a" / "none").exists()


def test_what_others_wrote_meanwhile_is_not_lost_nor_what_was_edited(command: Command, home: Path, box: str) -> None:
    target = home / "a" / "README.md"
    env = editor(home, f"path.write_text('mine')\npathlib.Path({str(target)!r}).write_text('theirs')")
    said = command.fails(4, "edit", f"{box}:README.md", env=env)
    assert target.read_text() == "theirs"
    kept = Path(said.rpartition("kept in ")[2])
    assert kept.read_text() == "mine"
    kept.unlink()
    kept.parent.rmdir()


def test_an_editor_that_fails_or_is_missing_changes_nothing(command: Command, home: Path) -> None:
    assert "ended with status 3; nothing was changed" in command.fails(
        1, "edit", "a:README.md", env=editor(home, "path.write_text('x')\nsys.exit(3)")
    )
    assert "there is no editor nowhere" in command.fails(2, "edit", "a:README.md", env={"EDITOR": "nowhere -w"})
    assert (home / "a" / "README.md").read_text() == "Read me\n"
