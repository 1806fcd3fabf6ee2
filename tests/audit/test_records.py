"""The audit record: every operation leaves a line, its content never."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from devbox_mcp.audit import AuditRecord, JsonLinesAudit, NoAudit, audited
from devbox_mcp.callers import OPERATOR
from devbox_mcp.edits import Edit
from devbox_mcp.errors import DevboxError, NotFound
from devbox_mcp.models import BatchItem
from devbox_mcp.paths import SandboxPath
from devbox_mcp.sandbox import Sandbox
from devbox_mcp.sandboxes import Sandboxes
from devbox_mcp.settings import load

at = SandboxPath
SECRET = "correct horse battery staple"


class Memory:
    """Keeps the records."""

    def __init__(self) -> None:
        self.records: list[AuditRecord] = []

    def check(self, op: str, path: str) -> None:
        """Always ready."""

    def write(self, record: AuditRecord) -> None:
        self.records.append(record)

    def close(self) -> None:
        """Nothing to release."""


@pytest.fixture
async def audited_box(tmp_path: Path) -> AsyncIterator[tuple[Sandbox, Path, Path]]:
    """A sandbox on an empty directory, the directory, and its log."""
    (tmp_path / "box").mkdir()
    log = tmp_path / "audit.jsonl"
    settings = load({"devboxes": (f"app=local:{tmp_path / 'box'}",), "audit_log": str(log), "deny": (".env",)}, None)
    sandboxes = await Sandboxes.open(settings)
    yield sandboxes.default, tmp_path / "box", log
    await sandboxes.aclose()


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


async def test_every_operation_leaves_one_line(audited_box: tuple[Sandbox, Path, Path]) -> None:
    sandbox, _, log = audited_box
    await sandbox.write(at("a.txt"), SECRET.encode())
    await sandbox.edit(at("a.txt"), [Edit("horse", "cow")])
    await sandbox.stat(at("a.txt"))
    await sandbox.list(at("."))
    await sandbox.read_lines(at("a.txt"))
    await (await sandbox.read_bytes(at("a.txt"))).read()
    await sandbox.make_dir(at("d"))
    await sandbox.move(at("a.txt"), at("d/b.txt"))
    await sandbox.copy(at("d/b.txt"), at("c.txt"))
    await sandbox.chmod(at("c.txt"), 0o600)
    await sandbox.find(at("."), "*.txt")
    await sandbox.search(at("."), "horse")
    await sandbox.write_batch([BatchItem(at("e.txt"), b"1"), BatchItem(at("f.txt"), b"22")])
    _ = [chunk async for chunk in await sandbox.archive([at("d"), at("c.txt")])]
    await sandbox.watch(at("."), timeout=0)
    await sandbox.delete(at("c.txt"))
    found = lines(log)
    assert [(line["op"], line["path"], line["result"]) for line in found] == [
        ("write", "a.txt", "ok"), ("edit", "a.txt", "ok"), ("stat", "a.txt", "ok"), ("list", ".", "ok"),
        ("read", "a.txt", "ok"), ("read", "a.txt", "ok"), ("mkdir", "d", "ok"), ("move", "a.txt", "ok"),
        ("copy", "d/b.txt", "ok"), ("chmod", "c.txt", "ok"), ("find", ".", "ok"), ("search", ".", "ok"),
        ("write", "e.txt", "ok"), ("write", "f.txt", "ok"), ("archive", "d c.txt", "ok"), ("watch", ".", "ok"),
        ("delete", "c.txt", "ok"),
    ]  # fmt: skip
    assert all(line["devbox"] == "app" and line["ms"] >= 0 and line["time"].endswith("Z") for line in found)
    assert found[7]["destination"] == "d/b.txt"
    assert found[8]["destination"] == "c.txt"


async def test_a_line_tells_bytes_and_hash_and_never_content(audited_box: tuple[Sandbox, Path, Path]) -> None:
    sandbox, _, log = audited_box
    written = await sandbox.write(at("a.txt"), SECRET.encode())
    edited = await sandbox.edit(at("a.txt"), [Edit("horse", "cow")])
    with pytest.raises(DevboxError):
        await sandbox.edit(at("a.txt"), [Edit("staple gun", "cow")])
    with pytest.raises(DevboxError):
        await sandbox.write(at("a.txt"), b"horse staple", if_match="0" * 12)
    await sandbox.search(at("."), "battery")
    await sandbox.read_lines(at("a.txt"))
    write, edit, *_ = lines(log)
    assert (write["bytes"], write["sha256"]) == (len(SECRET), written.info.sha256)
    assert edited.written is not None
    assert (edit["bytes"], edit["sha256"]) == (len(SECRET) - 2, edited.written.info.sha256)
    for word in ("horse", "battery", "staple"):
        assert word not in log.read_text()


async def test_what_failed_is_recorded_with_its_code(audited_box: tuple[Sandbox, Path, Path]) -> None:
    sandbox, box, log = audited_box
    (box / "out").symlink_to("../..")
    (box / ".env").write_text(SECRET)
    calls = [
        (sandbox.stat(at("missing")), "not_found"),
        (sandbox.write(at("out/x"), b""), "escapes_root"),
        (sandbox.read_lines(at(".env")), "denied"),
        (sandbox.delete(at(".")), "invalid_argument"),
        (sandbox.list(at("."), limit=0), "invalid_argument"),
        (sandbox.write(at("x"), b"", if_match="0" * 12), "conflict"),
    ]
    for call, _ in calls:
        with pytest.raises(DevboxError):
            await call
    await sandbox.write_batch([BatchItem(at("ok.txt"), b""), BatchItem(at("out/x"), b"")])
    assert [line["result"] for line in lines(log)] == [*(code for _, code in calls), "ok", "escapes_root"]


async def test_what_was_cancelled_is_recorded(audited_box: tuple[Sandbox, Path, Path]) -> None:
    sandbox, _, log = audited_box
    waiting = asyncio.create_task(sandbox.watch(at("."), timeout=30))
    await asyncio.sleep(0.2)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert [(line["op"], line["result"]) for line in lines(log)] == [("watch", "cancelled")]


async def test_a_name_with_a_line_break_does_not_forge_a_line(audited_box: tuple[Sandbox, Path, Path]) -> None:
    sandbox, _, log = audited_box
    name = 'a\n{"op":"forged"}\udcff\x1b[2J'
    await sandbox.write(at(name), b"x")
    await sandbox.move(at(name), at("b\r\nc"))
    text = log.read_bytes()
    assert text.count(b"\n") == 2
    assert b"\x1b" not in text
    assert [line["op"] for line in lines(log)] == ["write", "move"]
    assert lines(log)[0]["path"] == 'a\\n{"op":"forged"}\\udcff\\x1b[2J'


async def test_the_servers_own_looking_is_no_operation(audited_box: tuple[Sandbox, Path, Path]) -> None:
    sandbox, _, log = audited_box
    await sandbox.poll(at("."), None)
    assert lines(log) == []


def test_the_log_is_private_and_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    before = os.umask(0)
    try:
        for number in range(2):
            log = JsonLinesAudit(str(path))
            log.write(AuditRecord(float(number), "me", "app", "stat", "a.txt"))
            log.close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first, second = lines(path)
    assert first == {"time": "1970-01-01T00:00:00.000Z", "caller": "me", "devbox": "app", "op": "stat", "path": "a.txt",
                     "result": "ok", "ms": 0.0}  # fmt: skip
    assert second["time"] == "1970-01-01T00:00:01.000Z"


def test_lines_of_several_writers_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    logs = [JsonLinesAudit(str(path)) for _ in range(4)]
    for number in range(200):
        logs[number % 4].write(AuditRecord(0.0, "me", "app", "stat", "x" * number))
    for log in logs:
        log.close()
    assert [len(line["path"]) for line in lines(path)] == list(range(200))


@pytest.mark.parametrize(
    ("error", "result"),
    [(NotFound("stat", "a"), "not_found"), (RuntimeError("x"), "internal"), (asyncio.CancelledError(), "cancelled")],
)
def test_the_result_is_the_code_of_what_was_raised(error: BaseException, result: str) -> None:
    memory = Memory()
    with pytest.raises(type(error)), audited(memory, OPERATOR, "app", "stat", "a.txt"):
        raise error
    (record,) = memory.records
    assert record.result == result


def test_of_a_text_too_long_to_look_for_secrets_in_only_the_mark_is_shown(tmp_path: Path) -> None:
    log = JsonLinesAudit(str(tmp_path / "log"))
    for length in (64 * 1024, 64 * 1024 + 1):
        log.write(AuditRecord(0.0, "agent", "app", "read", "p" * length, "id", "ok"))
    log.close()
    whole, mark = (json.loads(line)["path"] for line in (tmp_path / "log").read_text().splitlines())
    assert whole.startswith("p" * 4000)
    assert re.fullmatch("… \\(cut: 65537 characters, sha256 [0-9a-f]{16}\\)", mark)


def test_without_a_log_nothing_is_kept() -> None:
    log = NoAudit()
    with audited(log, OPERATOR, "app", "stat", "a.txt") as record:
        record.bytes = 1
    log.close()


async def test_a_download_that_breaks_off_is_recorded_with_what_went(audited_box: tuple[Sandbox, Path, Path]) -> None:
    sandbox, box, log = audited_box
    await sandbox.write(at("large"), b"x" * 10_000_000)
    whole = await sandbox.read_bytes(at("large"))
    assert len(await whole.read()) == 10_000_000
    await whole.aclose()
    part = await sandbox.read_bytes(at("large"))
    went = len(await anext(aiter(part)))
    await part.aclose()
    unread = await sandbox.read_bytes(at("large"), offset=1)
    await unread.aclose()
    cut = await sandbox.read_bytes(at("large"))
    taken = [len(await anext(aiter(cut)))]
    os.truncate(box / "large", 5)

    async def rest() -> None:
        async for chunk in cut:
            taken.append(len(chunk))

    with pytest.raises(DevboxError) as broken:
        await rest()
    reads = [(line["result"], line["bytes"]) for line in lines(log) if line["op"] == "read"]
    assert reads == [
        ("ok", 10_000_000), ("ok", 10_000_000), ("cancelled", went), ("ok", 9_999_999), ("ok", 10_000_000),
        (broken.value.code, sum(taken)),
    ]  # fmt: skip
