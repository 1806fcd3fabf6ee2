"""A chain over restarts, and a log that cannot be written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devbox_mcp.audit import AuditLog, AuditRecord, ChainedAudit, JsonLinesAudit, open_audit, verify
from devbox_mcp.errors import Unavailable
from devbox_mcp.models import BatchItem
from devbox_mcp.paths import SandboxPath
from devbox_mcp.sandboxes import Sandboxes
from devbox_mcp.settings import load
from tests.audit.full_disk import files_end_at, lines_of, size_of

KEY = b"a key that nobody guesses"


def record() -> AuditRecord:
    return AuditRecord(0.0, "me", "app", "write", "a.txt")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def anchor(tmp_path: Path) -> Path:
    return tmp_path / "anchor"


def run(log: Path, anchor: Path | None = None, lines: int = 2) -> None:
    """What one life of a server does to its log."""
    audit = open_audit(str(log), KEY.decode(), None if anchor is None else str(anchor))
    for _ in range(lines):
        audit.write(record())
    audit.close()


def test_a_process_goes_on_with_its_chain(log: Path, anchor: Path) -> None:
    for lines in (2, 0, 3):
        run(log, anchor, lines)
    verdict = verify(str(log), KEY, str(anchor))
    assert (verdict.trouble, verdict.lines, verdict.anchored) == (None, 6, 6)


def test_it_does_not_go_on_with_a_last_line_that_was_edited(log: Path) -> None:
    run(log)
    log.write_bytes(log.read_bytes()[:-1].replace(b"a.txt", b"b.txt") + b"\n")
    with pytest.raises(ValueError, match="does not follow"):
        run(log)


def test_it_does_not_go_on_with_another_key(log: Path) -> None:
    run(log)
    with pytest.raises(ValueError, match="the key is another"):
        ChainedAudit(str(log), b"another")


def test_it_does_not_go_on_with_lines_that_are_no_chain(log: Path) -> None:
    plain = JsonLinesAudit(str(log))
    plain.write(record())
    plain.close()
    before = log.read_bytes()
    with pytest.raises(ValueError, match="no chain"):
        run(log)
    assert log.read_bytes() == before


def test_it_does_not_go_on_where_the_anchor_knows_of_more(log: Path, anchor: Path) -> None:
    run(log, anchor)
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(ValueError, match="something was cut off"):
        run(log, anchor)
    log.write_bytes(b"")
    with pytest.raises(ValueError, match="is empty, but its anchor"):
        run(log, anchor)


def test_an_anchor_belongs_to_one_log(tmp_path: Path, log: Path, anchor: Path) -> None:
    run(log, anchor)
    other = tmp_path / "other.jsonl"
    run(other)
    with pytest.raises(ValueError, match="that of another log"):
        run(other, anchor)


def test_what_a_crash_tore_is_recorded_and_the_chain_goes_on(log: Path, anchor: Path) -> None:
    run(log, anchor)
    with log.open("ab") as file:
        file.write(b'{"seq": 3, "time": "20')
    run(log, anchor)
    verdict = verify(str(log), KEY, str(anchor))
    assert (verdict.trouble, verdict.lines) == (None, 6)
    told = json.loads(log.read_text().splitlines()[3])
    assert (told["op"], told["result"], told["bytes"]) == ("audit", "torn", 22)


def test_two_processes_do_not_write_one_chain(log: Path) -> None:
    program = "import sys; from devbox_mcp.audit import open_audit; open_audit(sys.argv[1], 'key')"
    audit = ChainedAudit(str(log), KEY)
    try:
        with pytest.raises(ValueError, match="another process writes"):
            ChainedAudit(str(log), KEY)
        argv = [sys.executable, "-c", program, str(log)]
        other = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
        assert "another process writes" in other.stderr
        audit.write(record())
    finally:
        audit.close()
    assert verify(str(log), KEY).lines == 2


def test_after_a_kill_what_was_told_is_there(log: Path, anchor: Path) -> None:
    program = (
        "import sys; from devbox_mcp.audit import AuditRecord, open_audit\n"
        "log = open_audit(sys.argv[1], sys.argv[3], sys.argv[2])\n"
        "for n in range(10**9):\n"
        "    log.write(AuditRecord(0.0, 'me', 'app', 'write', str(n))); print(n, flush=True)"
    )
    argv = [sys.executable, "-c", program, str(log), str(anchor), KEY.decode()]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(2000)][-1]
        process.send_signal(signal.SIGKILL)
    assert verify(str(log), KEY, str(anchor)).lines >= told + 2
    run(log, anchor, 1)
    assert verify(str(log), KEY, str(anchor)).trouble is None


def test_an_anchor_that_cannot_be_written_is_told_at_the_start(tmp_path: Path, log: Path) -> None:
    with pytest.raises(ValueError, match="No such file"):
        run(log, tmp_path / "missing" / "anchor")


@pytest.mark.parametrize(
    ("path", "key", "anchor", "told"),
    [(None, "k", None, "no audit log"), (None, None, "a", "no audit log"), ("log", None, "a", "needs an audit key")],
)
def test_settings_that_lack_their_other_half_are_refused(
    path: str | None, key: str | None, anchor: str | None, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        open_audit(path, key, anchor)


# -- a disk that is full


@pytest.fixture(params=["plain", "chained"])
async def box(request: pytest.FixtureRequest, tmp_path: Path, log: Path) -> AsyncIterator[Sandboxes]:
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "old.txt").write_text("old")
    options = {"devboxes": (f"app=local:{tmp_path / 'box'}",), "audit_log": str(log)}
    key = {"audit_key": KEY.decode()} if request.param == "chained" else {}
    sandboxes = await Sandboxes.open(load({**options, **key}, None))
    yield sandboxes
    await sandboxes.aclose()


async def test_nothing_is_done_that_cannot_be_recorded(box: Sandboxes, tmp_path: Path, log: Path) -> None:
    directory = tmp_path / "box"
    await box.default.write(SandboxPath("first.txt"), b"1")
    with files_end_at(size_of(log) + 40):
        # its record does not fit any more; the room for it was not known to be missing
        await box.default.write(SandboxPath("second.txt"), b"2")
        for call in (
            lambda: box.default.write(SandboxPath("third.txt"), b"3"),
            lambda: box.default.write_batch([BatchItem(SandboxPath("fourth.txt"), b"4")]),
            lambda: box.default.delete(SandboxPath("old.txt")),
            lambda: box.default.read_bytes(SandboxPath("old.txt")),
        ):
            with pytest.raises(Unavailable, match="audit log cannot be written"):
                await call()
        assert sorted(os.listdir(directory)) == ["first.txt", "old.txt", "second.txt"]
    await box.default.delete(SandboxPath("old.txt"))
    found = lines_of(log)
    assert [(line["op"], line["path"]) for line in found if "path" in line] == [
        ("write", "first.txt"), ("write", "second.txt"), ("delete", "old.txt")
    ]  # fmt: skip
    if "mac" in found[0]:
        assert verify(str(log), KEY).trouble is None


async def test_a_batch_whose_log_fills_up_in_its_middle_is_recorded_whole(box: Sandboxes, log: Path) -> None:
    items = [BatchItem(SandboxPath(f"{number}.txt"), b"x") for number in range(5)]
    await box.default.stat(SandboxPath("."))
    with files_end_at(size_of(log) + 500):
        outcomes = await box.default.write_batch(items)
    assert all(outcome.error is None for outcome in outcomes)
    await box.default.stat(SandboxPath("."))
    found = lines_of(log)
    assert [line["path"] for line in found if line.get("op") == "write"] == [item.path.text for item in items]


def test_what_never_could_be_written_is_told_at_the_end(log: Path, caplog: pytest.LogCaptureFixture) -> None:
    logs: list[AuditLog] = [JsonLinesAudit(str(log))]
    with files_end_at(10):
        logs[0].write(record())
        logs[0].close()
    assert "a.txt" in caplog.text
