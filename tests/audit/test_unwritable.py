"""A log that takes nothing for a while: memory has an end, and what it lacks is told."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from devbox_mcp.audit import AuditRecord, keep, verify
from devbox_mcp.cli import app
from devbox_mcp.errors import Unavailable
from devbox_mcp.paths import SandboxPath
from devbox_mcp.sandboxes import Sandboxes
from devbox_mcp.settings import load
from tests.audit.full_disk import files_end_at, lines_of, size_of
from tests.mcp.door import http_process

KEY = b"a key that nobody guesses"
SOME = SandboxPath("some.txt")


def refused(number: int, path: str = "/nothing") -> AuditRecord:
    """What a stranger's request leaves."""
    return AuditRecord(1000.0 + number, "anonymous", "", "authenticate", path, result="unauthenticated")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture(params=["plain", "chained"])
async def box(request: pytest.FixtureRequest, tmp_path: Path, log: Path) -> AsyncIterator[Sandboxes]:
    (tmp_path / "box").mkdir()
    options = {"devboxes": (f"app=local:{tmp_path / 'box'}",), "audit_log": str(log)}
    key = {"audit_key": KEY.decode(), "audit_anchor": str(tmp_path / "anchor")} if request.param == "chained" else {}
    sandboxes = await Sandboxes.open(load({**options, **key}, None))
    yield sandboxes
    await sandboxes.aclose()


async def test_refusals_beyond_what_is_kept_are_one_line_that_says_how_many(box: Sandboxes, log: Path) -> None:
    with files_end_at(size_of(log)):
        for number in range(30_000):
            keep(box.audit, refused(number))
        with pytest.raises(Unavailable):
            await box.default.write(SOME, b"not now")
    await box.default.write(SOME, b"now")
    found = [line for line in lines_of(log) if "path" in line]
    kept = [line for line in found if line["op"] == "authenticate"]
    (lost,) = [line for line in found if line["result"] == "lost"]
    assert len(kept) + lost["records"] == 30_000
    assert len(kept) <= 2000
    assert (lost["op"], lost["caller"]) == ("audit", "devbox-mcp")
    # from when to when: the first ones are those that were kept
    first = 1000 + len(kept)
    assert lost["since"] == f"1970-01-01T{first // 3600:02d}:{first // 60 % 60:02d}:{first % 60:02d}.000Z"
    assert lost["until"] == "1970-01-01T08:36:39.000Z"
    assert [line["op"] for line in found[-2:]] == ["audit", "write"]
    if "mac" in found[0]:
        verdict = verify(str(log), KEY)
        assert (verdict.trouble, verdict.lost) == (None, lost["records"])


async def test_what_is_kept_is_bounded_in_bytes_too(box: Sandboxes, log: Path) -> None:
    before = size_of(log)
    with files_end_at(before):
        for number in range(3000):
            keep(box.audit, refused(number, "/" + "x" * 900))
    await box.default.write(SOME, b"now")
    assert size_of(log) - before < 1.1 * (1 << 20)
    (lost,) = [line for line in lines_of(log) if line.get("result") == "lost"]
    assert lost["records"] > 1000


async def test_what_was_under_way_is_kept_whatever_strangers_ask(box: Sandboxes, log: Path) -> None:
    with files_end_at(size_of(log)):
        for number in range(5000):
            keep(box.audit, refused(number))
        keep(box.audit, AuditRecord(0.0, "me", "app", "write", "under-way.txt"))
    await box.default.write(SOME, b"now")
    written = [line["path"] for line in lines_of(log) if line.get("op") == "write"]
    assert written == ["under-way.txt", "some.txt"]


async def test_a_devbox_that_is_not_there_is_no_way_around(box: Sandboxes, log: Path) -> None:
    with files_end_at(size_of(log)):
        keep(box.audit, refused(0))
        with pytest.raises(Unavailable, match="audit log"):
            box.get("gone", "write")


async def test_each_time_that_something_is_lost_has_its_line(box: Sandboxes, log: Path) -> None:
    for _ in range(2):
        with files_end_at(size_of(log)):
            for number in range(2500):
                keep(box.audit, refused(number))
        await box.default.write(SOME, b"now")
    assert [line["records"] for line in lines_of(log) if line.get("result") == "lost"] == [500, 500]


async def test_the_command_tells_what_a_log_lacks(tmp_path: Path) -> None:
    log, key, anchor = tmp_path / "log", tmp_path / "key", tmp_path / "anchor"
    key.write_bytes(KEY)
    (tmp_path / "box").mkdir()
    settings = {"devboxes": (f"app=local:{tmp_path / 'box'}",), "audit_log": str(log), "audit_key": KEY.decode()}
    sandboxes = await Sandboxes.open(load({**settings, "audit_anchor": str(anchor)}, None))
    with files_end_at(size_of(log)):
        for number in range(2007):
            keep(sandboxes.audit, refused(number))
    # nothing more is asked: the end writes what is kept, and the anchor knows of it
    await sandboxes.aclose()
    arguments = ["audit", "verify", str(log), "--key-file", str(key), "--anchor", str(anchor)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    assert "all 2002 lines hold, and the anchor knows of 2002" in done.stdout
    assert "7 records could not be kept" in done.stdout
    assert json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)["lost"] == 7


async def test_a_path_that_reads_as_such_a_line_counts_nothing(box: Sandboxes, log: Path) -> None:
    told = '"op": "audit", "path": ".", "result": "lost", "records": 5,'
    keep(box.audit, refused(0, told))
    await box.default.stat(SandboxPath("."))
    if "mac" in lines_of(log)[0]:
        assert verify(str(log), KEY).lost == 0


def test_a_server_whose_log_takes_nothing_tells_at_its_end_what_the_log_lacks(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    (tmp_path / "token").write_text("a token of this test")
    log = tmp_path / "log"
    options = [f"app={tmp_path / 'box'}", "--token-file", str(tmp_path / "token"), "--audit-log", "/dev/full"]
    with http_process(log, *options) as (_, url):
        connection = HTTPConnection(urlsplit(url).netloc, timeout=30)
        for _ in range(2500):
            connection.request("GET", "/v1/devboxes/app/files/some.txt")
            response = connection.getresponse()
            response.read()
            assert response.status == 401
        connection.close()
    said = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    first, *others = [line["event"] for line in said if "audit log" in line["event"]]
    assert "nothing is done until it can" in first
    told = "".join(others)
    lost = re.search(r"lacks ([0-9]+) records that could not be kept", told)
    assert lost is not None
    assert told.count('"op": "authenticate"') + int(lost[1]) == 2500
    assert int(lost[1]) >= 500
