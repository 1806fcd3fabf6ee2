"""doctor: what a devbox offers, and how to mend what is missing."""

from __future__ import annotations

import json
from pathlib import Path

from .command import Command
from .conftest import names


def test_it_tells_what_works_on_the_files(command: Command, home: Path, box: str) -> None:
    lines = command.ok("doctor", box).splitlines()
    assert lines[0] == box
    kind = "directory" if "exec" not in box else "shell" if "PATH=" in box else "guest"
    assert lines[1] == f"✓ reached: {kind}, root {home}/a"
    known = dict(line[2:].split(": ", 1) for line in lines[1:] if line[0] in "✓✗")
    assert {"user", "free", "can", "root", "round trip", "writing", "clock"} <= set(known)
    assert known["clock"] == "like this machine's"
    assert "ms" in known["round trip"]
    assert names(home / "a") == {"README.md", "data.bin", "run.sh", "src", "src/app.py"}


def test_it_says_why_a_shell_does_the_work(command: Command, home: Path, box: str) -> None:
    report = json.loads(command.ok("doctor", "--json", box))
    lacking = {check["name"]: check["fix"] for check in report["checks"] if not check["ok"]}
    assert ("python" in lacking) == ("PATH=" in box)
    assert all(lacking.values()), "what is missing says how to mend it"


def test_json_is_one_object(command: Command) -> None:
    report = json.loads(command.ok("doctor", "--json", "a"))
    assert (report["devbox"], report["ok"]) == ("a", True)
    assert all(set(check) == {"name", "ok", "detail", "fix"} for check in report["checks"])


def test_it_does_not_write_where_that_is_not_wanted_or_not_allowed(command: Command) -> None:
    assert "writing" not in command.ok("doctor", "--no-write", "a")
    told = command.ok("doctor", "a", env={"DEVBOX_MCP_READ_ONLY": "true"})
    assert "✗ writing: " in told


def test_what_cannot_be_reached_is_a_report_too(command: Command, home: Path) -> None:
    done = command.run("doctor", "missing")
    assert (done.returncode, done.stderr) == (3, b"")
    assert done.stdout.decode().splitlines()[1].startswith("✗ reached: there is no directory")
    done = command.run("doctor", "k8s://default/web?kubeconfig=/no/such/file", "--json")
    report = json.loads(done.stdout)
    assert report["ok"] is False
    assert report["checks"][0]["fix"] or report["checks"][0]["detail"]
    assert done.returncode != 0
    assert command.run("doctor", "exec:/no/such/program").returncode == 9


def test_a_path_has_no_place_there(command: Command) -> None:
    assert "write a" in command.fails(2, "doctor", "a:src")
