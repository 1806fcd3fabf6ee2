"""The chain: whatever is done to a log shows, at the line where it was done."""

from __future__ import annotations

import json
import random
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from devbox_mcp.audit import AuditRecord, ChainedAudit, JsonLinesAudit, Verdict, open_audit, verify
from devbox_mcp.cli.audit import app

KEY = b"a key that nobody guesses"
LINES = 12  # the first one names the chain


def record(number: int = 0) -> AuditRecord:
    return AuditRecord(float(number), "me", "app", "write", f"src/{number}.py", f"id-{number}", bytes=number)


def write(log: Path, anchor: Path | None = None, count: int = LINES - 1, key: bytes = KEY) -> None:
    audit = ChainedAudit(str(log), key, None if anchor is None else str(anchor))
    for number in range(count):
        audit.write(record(number))
    audit.close()


def check(log: Path, anchor: Path | None = None, key: bytes = KEY) -> Verdict:
    return verify(str(log), key, None if anchor is None else str(anchor))


def found(verdict: Verdict) -> tuple[str, int]:
    assert verdict.trouble is not None
    return verdict.trouble.kind, verdict.trouble.line


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def anchor(tmp_path: Path) -> Path:
    return tmp_path / "anchor"


@pytest.fixture
def lines(log: Path, anchor: Path) -> list[bytes]:
    """A whole log, and its lines."""
    write(log, anchor)
    return log.read_bytes().splitlines(keepends=True)


def test_a_log_as_it_was_written_holds(log: Path, anchor: Path, lines: list[bytes]) -> None:
    verdict = check(log, anchor)
    assert verdict.trouble is None
    assert (verdict.lines, verdict.anchored) == (LINES, LINES)
    assert verdict.chain == json.loads(lines[0])["chain"]
    assert [json.loads(line)["seq"] for line in lines] == list(range(LINES))
    assert json.loads(lines[3])["path"] == "src/2.py"
    assert check(log).trouble is None


@pytest.mark.parametrize("at", range(LINES))
def test_an_edited_line_shows(log: Path, anchor: Path, lines: list[bytes], at: int) -> None:
    changed = lines[at].replace(b'"time": "19', b'"time": "20').replace(b'"time": "2026', b'"time": "2025')
    assert changed != lines[at]
    log.write_bytes(b"".join([*lines[:at], changed, *lines[at + 1 :]]))
    assert found(check(log, anchor)) == ("edit", at + 1)
    assert check(log, anchor).lines == at


@pytest.mark.parametrize("at", range(LINES - 1))
def test_a_deleted_line_shows(log: Path, anchor: Path, lines: list[bytes], at: int) -> None:
    log.write_bytes(b"".join(lines[:at] + lines[at + 1 :]))
    assert found(check(log, anchor)) == ("deletion", at + 1)
    assert found(check(log)) == ("deletion", at + 1)


@pytest.mark.parametrize("left", range(LINES))
def test_a_tail_that_was_cut_off_shows_by_the_anchor_alone(
    log: Path, anchor: Path, lines: list[bytes], left: int
) -> None:
    log.write_bytes(b"".join(lines[:left]))
    assert found(check(log, anchor)) == ("truncation", left + 1)
    if left:
        assert check(log).trouble is None


def test_a_log_that_is_gone_shows_by_its_anchor(log: Path, anchor: Path, lines: list[bytes]) -> None:
    log.unlink()
    assert found(check(log, anchor)) == ("truncation", 1)


@pytest.mark.parametrize("inserted", [b"{}\n", b"\n", b"\xff\n", b'{"seq": 4, "x": 1, "mac": "' + b"0" * 64 + b'"}\n'])
@pytest.mark.parametrize("at", [1, 4, LINES - 1])
def test_an_inserted_line_shows(log: Path, anchor: Path, lines: list[bytes], at: int, inserted: bytes) -> None:
    log.write_bytes(b"".join([*lines[:at], inserted, *lines[at:]]))
    assert found(check(log, anchor))[1] == at + 1
    assert found(check(log, anchor))[0] in ("insertion", "reordering")


def test_a_line_that_stands_twice_shows(log: Path, anchor: Path, lines: list[bytes]) -> None:
    log.write_bytes(b"".join([*lines[:6], lines[2], *lines[6:]]))
    assert found(check(log, anchor)) == ("insertion", 7)
    log.write_bytes(b"".join([*lines, lines[-1]]))
    assert found(check(log, anchor)) == ("edit", LINES + 1)


@pytest.mark.parametrize(("first", "second"), [(1, 2), (3, 9), (0, 1), (LINES - 2, LINES - 1)])
def test_lines_that_changed_places_show(log: Path, anchor: Path, lines: list[bytes], first: int, second: int) -> None:
    lines[first], lines[second] = lines[second], lines[first]
    log.write_bytes(b"".join(lines))
    assert found(check(log, anchor)) == ("reordering", first + 1)


def test_another_key_shows_at_once(log: Path, anchor: Path, lines: list[bytes]) -> None:
    assert found(check(log, key=b"another")) == ("other_key", 1)
    assert found(check(log, anchor, key=b"another")) == ("anchor", 0)


def test_a_log_that_was_written_anew_with_the_key_shows_by_the_anchor(tmp_path: Path, log: Path, anchor: Path) -> None:
    write(log, anchor)
    other = tmp_path / "other.jsonl"
    write(other, None)
    assert found(check(other, anchor)) == ("anchor", LINES)


def test_a_changed_or_missing_anchor_shows(log: Path, anchor: Path, lines: list[bytes]) -> None:
    document = json.loads(anchor.read_text())
    anchor.write_text(json.dumps({**document, "count": 3}))
    assert found(check(log, anchor)) == ("anchor", 0)
    anchor.write_text("[]")
    assert found(check(log, anchor)) == ("anchor", 0)
    anchor.unlink()
    assert found(check(log, anchor)) == ("anchor", 0)


def test_a_line_that_was_cut_in_its_middle_shows(log: Path, lines: list[bytes]) -> None:
    log.write_bytes(b"".join(lines)[:-5])
    assert found(check(log)) == ("torn", LINES)


def test_what_is_no_chain_is_told_as_such(log: Path) -> None:
    plain = JsonLinesAudit(str(log))
    plain.write(record())
    plain.close()
    assert found(check(log)) == ("no_chain", 1)
    log.write_bytes(b"")
    assert found(check(log)) == ("no_chain", 1)
    log.write_bytes(b"x" * 3_000_000)
    assert found(check(log)) == ("no_chain", 1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Path]:
    """A whole log's bytes, and its anchor."""
    directory = tmp_path_factory.mktemp("chain")
    write(directory / "log", directory / "anchor")
    return (directory / "log").read_bytes(), directory / "anchor"


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_edit_of_any_bytes_goes_unseen(whole: tuple[bytes, Path], tmp_path: Path, data: st.DataObject) -> None:
    original, anchor = whole
    begin = data.draw(st.integers(0, len(original)))
    end = data.draw(st.integers(begin, min(begin + 400, len(original))))
    edited = original[:begin] + data.draw(st.binary(max_size=40)) + original[end:]
    log = tmp_path / "edited"
    log.write_bytes(edited)
    verdict = check(log, anchor)
    # what was only added behind the anchored lines shows as well; the same bytes are no edit
    assert (verdict.trouble is None) == (edited == original)
    if verdict.trouble is not None:
        whole_lines = original[:begin].count(b"\n")
        assert verdict.lines == verdict.trouble.line - 1 >= whole_lines


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(LINES)), kept=st.integers(0, LINES))
def test_no_other_order_and_no_selection_of_lines_goes_unseen(
    whole: tuple[bytes, Path], tmp_path: Path, order: list[int], kept: int
) -> None:
    original, anchor = whole
    lines = original.splitlines(keepends=True)
    log = tmp_path / "shuffled"
    log.write_bytes(b"".join(lines[number] for number in order[:kept]))
    verdict = check(log, anchor)
    same = 0
    while same < kept and order[same] == same:
        same += 1
    assert verdict.lines == same
    assert (verdict.trouble is None) == (same == LINES)


def test_a_large_log_is_checked_in_little_memory(tmp_path: Path) -> None:
    log = tmp_path / "large"
    audit = ChainedAudit(str(log), KEY)
    for number in range(20_000):
        audit.write(AuditRecord(0.0, "me", "app", "write", "x" * random.Random(number).randrange(900)))
    audit.close()
    tracemalloc.start()
    try:
        assert check(log).lines == 20_001
        assert tracemalloc.get_traced_memory()[1] < 2_000_000 < log.stat().st_size
    finally:
        tracemalloc.stop()


# -- the command


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    file.write_bytes(KEY + b"\n")
    return file


def test_the_command_says_what_holds(log: Path, anchor: Path, lines: list[bytes], key_file: Path) -> None:
    arguments = ["verify", str(log), "--key-file", str(key_file), "--anchor", str(anchor)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    assert f"all {LINES} lines hold" in done.stdout
    told = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert told == {
        "holds": True, "chain": json.loads(lines[0])["chain"], "lines": LINES, "anchored": LINES, "trouble": None,
            "lost": 0,
    }  # fmt: skip


def test_the_command_says_where_it_does_not(log: Path, anchor: Path, lines: list[bytes], key_file: Path) -> None:
    log.write_bytes(b"".join(lines[:4] + lines[5:]))
    arguments = ["verify", str(log), "--key-file", str(key_file)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "deletion at line 5" in done.stdout
    told = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert (told["holds"], told["trouble"]["kind"], told["trouble"]["line"]) == (False, "deletion", 5)


def test_the_command_says_what_it_cannot_read(tmp_path: Path, log: Path, key_file: Path) -> None:
    missing = CliRunner().invoke(app, ["verify", str(log), "--key-file", str(key_file)])
    assert (missing.exit_code, missing.stderr.count("\n")) == (2, 1)
    no_key = CliRunner().invoke(app, ["verify", str(log), "--key-file", str(tmp_path / "nothing")])
    assert no_key.exit_code == 2
    assert "cannot read the key file" in no_key.stderr


def test_a_key_is_the_same_by_file_and_by_setting(log: Path, key_file: Path) -> None:
    open_audit(str(log), key_file.read_text()).close()
    done = CliRunner().invoke(app, ["verify", str(log), "--key-file", str(key_file)])
    assert done.exit_code == 0
