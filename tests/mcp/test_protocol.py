"""What the protocol asks of the server, whatever the tool: eras, arguments, errors, cancellation, progress."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from tests.mcp.door import EVERY_DOOR, SERVE, Door, environment
from tests.raw import MODERN_VERSION, RawClient, RpcError

DOORS = EVERY_DOOR
HANDSHAKE_VERSIONS = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]


# -- eras


@pytest.mark.parametrize("version", HANDSHAKE_VERSIONS)
def test_every_revision_with_a_handshake_is_spoken(tmp_path: Path, version: str) -> None:
    (tmp_path / "a.txt").write_text("here\n")
    with RawClient([*SERVE, str(tmp_path)], env=environment()) as client:
        answer = client.initialize(version)
        assert answer["protocolVersion"] == version
        assert answer["serverInfo"]["name"] == "devbox-mcp"
        assert str(tmp_path) in answer["instructions"]
        assert {"tools", "resources", "completions"} - {"completions" if version == "2024-11-05" else ""} <= set(
            answer["capabilities"]
        )
        assert {tool["name"] for tool in client.request("tools/list")["tools"]} >= {"read_file", "watch"}
        result = client.call("read_file", path="a.txt")
        assert result["content"][0] == {"type": "text", "text": "1\there\n"}
        listed = client.call("list_dir")
        assert listed["content"][0]["text"] == "a.txt"
        (content,) = client.request("resources/read", {"uri": f"devbox://{tmp_path.name}/a.txt"})["contents"]
        assert content["text"] == "here\n"
        assert client.request("ping") == {}


@pytest.mark.parametrize("version", ["1999-01-01", "2030-01-01"])
def test_an_unknown_revision_is_answered_with_one_that_is_spoken(tmp_path: Path, version: str) -> None:
    with RawClient([*SERVE, str(tmp_path)], env=environment()) as client:
        assert client.initialize(version)["protocolVersion"] in HANDSHAKE_VERSIONS


def test_the_modern_revision_needs_no_handshake(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("here\n")
    with RawClient([*SERVE, str(tmp_path)], env=environment()) as client:
        discovered = client.discover()
        assert MODERN_VERSION in discovered["supportedVersions"]
        assert str(tmp_path) in discovered["instructions"]
        tools = client.request("tools/list")
        assert tools["ttlMs"] > 0
        assert client.call("read_file", path="a.txt")["content"][0]["text"] == "1\there\n"


def test_a_request_before_any_era_is_chosen_is_refused(tmp_path: Path) -> None:
    with RawClient([*SERVE, str(tmp_path)], env=environment()) as client:
        with pytest.raises(RpcError):
            client.request("tools/list")
        client.initialize()
        assert client.request("tools/list")["tools"]


# -- tools and arguments


async def test_an_unknown_tool_is_an_error_of_the_protocol(door: Door) -> None:
    for name in ("no_such_tool", "", "READ_FILE", "read_file ", "x" * 1000):
        with pytest.raises(MCPError) as caught:
            await door.client.call_tool(name, {})
        assert caught.value.code == types.INVALID_PARAMS
        assert "Unknown tool" in str(caught.value)
        assert len(str(caught.value)) < 300


async def test_an_unknown_argument_is_refused_with_those_there_are(door: Door) -> None:
    door.make({"a.txt": "a"})
    text = await door.refused("read_file", path="a.txt", lines=3, start=1)
    assert "[invalid_argument]" in text
    assert "there is no argument 'lines'" in text
    assert "there is no argument 'start'" in text
    assert "read_file takes path, offset, limit, encoding, line_numbers, devbox" in text


async def test_many_unknown_arguments_are_refused_in_few_words(door: Door) -> None:
    text = await door.refused("read_file", path="a.txt", **{f"no_{number}": 1 for number in range(999)})
    assert "[invalid_argument]" in text
    assert "and 989 more" in text
    assert len(text) < 3000
    text = await door.refused("read_file", path="a.txt", **{f"no_{number}": 1 for number in range(1001)})
    assert text == "read_file: an object has more than 1000 names [invalid_argument]"
    text = await door.refused("read_file", path="a.txt", **{"k" * 100_000: 1})
    assert len(text) < 1000


@pytest.mark.parametrize(
    ("tool", "argument"), [("upload_batch", "files"), ("download_zip", "paths"), ("edit_file", "edits")]
)
async def test_of_a_list_without_sense_one_fault_is_told(door: Door, tool: str, argument: str) -> None:
    others = {"path": "a.txt"} if tool == "edit_file" else {}
    for value in ([[], [], []], "[[], [], []]"):
        text = await door.refused(tool, **{argument: value}, **others)
        assert f"{argument}.0" in text
        assert f"{argument}.1" not in text
    many = [{str(key): 1 for key in range(1001)}]
    for value in (many, json.dumps(many)):
        text = await door.refused(tool, **{argument: value}, **others)
        assert text == f"{tool}: an object has more than 1000 names [invalid_argument]"


async def test_a_missing_argument_is_named(door: Door) -> None:
    text = await door.refused("write_file", path="a.txt")
    assert text == "write_file: the argument 'content' is missing [invalid_argument]"


async def test_null_is_as_good_as_left_out(door: Door) -> None:
    door.make({"a.txt": "a\n"})
    answer = await door.call("read_file", path="a.txt", offset=None, limit=None, encoding=None, devbox=None)
    assert answer.texts[0] == "1\ta\n"
    assert "'path' is missing" in await door.refused("read_file", path=None)


@pytest.mark.parametrize(
    ("tool", "arguments", "named"),
    [
        ("read_file", {"path": 1}, "path"),
        ("read_file", {"path": ["a.txt"]}, "path"),
        ("read_file", {"path": {"a": 1}}, "path"),
        ("read_file", {"path": "a.txt", "offset": "one"}, "offset"),
        ("read_file", {"path": "a.txt", "offset": 1.5}, "offset"),
        ("read_file", {"path": "a.txt", "encoding": "latin-1"}, "encoding"),
        ("write_file", {"path": "a.txt", "content": 123}, "content"),
        ("write_file", {"path": "a.txt", "content": {"a": 1}}, "content"),
        ("write_file", {"path": "a.txt", "content": [1]}, "content"),
        ("write_file", {"path": "a.txt", "content": True}, "content"),
        ("write_file", {"path": "a.txt", "content": "x", "mode": "replace"}, "mode"),
        ("write_file", {"path": "a.txt", "content": "x", "executable": "perhaps"}, "executable"),
        ("delete", {"path": "a.txt", "recursive": "perhaps"}, "recursive"),
        ("list_dir", {"depth": "deep"}, "depth"),
        ("download_zip", {"paths": {"a": 1}}, "paths"),
        ("upload_batch", {"files": {"a.txt": "x"}}, "files"),
        ("watch", {"timeout": "soon"}, "timeout"),
    ],
)
async def test_a_wrong_type_is_refused_by_name_without_repeating_the_value(
    door: Door, tool: str, arguments: dict[str, Any], named: str
) -> None:
    door.make({"a.txt": "old"})
    text = await door.refused(tool, **arguments)
    assert "[invalid_argument]" in text
    assert f"{named}:" in text
    assert "pydantic" not in text
    assert len(text) < 400
    assert (door.box / "a.txt").read_text() == "old"


async def test_numbers_and_flags_sent_as_text_are_taken(door: Door) -> None:
    door.make({"a.txt": "one\ntwo\nthree\n", "d/e": ""})
    answer = await door.call("read_file", path="a.txt", offset="2", limit="1", line_numbers="false")
    assert answer.texts[0] == "two\n"
    await door.call("delete", path="d", recursive="true")


async def test_enormous_numbers_are_numbers(door: Door) -> None:
    door.make({"a.txt": "one\ntwo\n"})
    most = 10**30
    assert "no lines from" in (await door.call("read_file", path="a.txt", offset=most)).text
    assert (await door.call("read_file", path="a.txt", offset=-most, limit=most)).texts[0] == "1\tone\n2\ttwo\n"
    assert "no bytes from" in (await door.call("read_file", path="a.txt", offset=most, encoding="base64")).text
    for tool, arguments in [
        ("read_file", {"path": "a.txt", "limit": most, "encoding": "base64"}),
        ("list_dir", {"depth": most}),
        ("list_dir", {"limit": most}),
        ("find_files", {"pattern": "*", "limit": most}),
        ("search_text", {"pattern": "x", "context": most}),
        ("watch", {"timeout": 1e300}),
    ]:
        assert "[internal]" not in await door.refused(tool, **arguments)


async def test_a_lone_surrogate_in_a_list_that_came_as_text_harms_nothing(door: Door) -> None:
    text = await door.refused("download_zip", paths='["\\ud800"]')
    assert "[invalid_argument]" in text
    for path in ("devbox://box/\\ud800", "devbox://\\ud800/x", "/\\ud800"):
        assert "[internal]" not in await door.refused("download_zip", paths=f'["{path}"]')
    answer = await door.mixed("upload_batch", files='[{"path": "a.txt", "content": "\\ud800"}]')
    assert "lone surrogate" in answer.text
    answer = await door.mixed("upload_batch", files='[{"path": "\\ud800\\n", "content": ""}]')
    assert answer.data["files"][0]["path"] == "\\ud800\\n"
    edits = '[{"old_text": "\\ud800", "new_text": "x"}]'
    door.make({"b.txt": "b"})
    assert "lone surrogate" in await door.refused("edit_file", path="b.txt", edits=edits)
    assert not (door.box / "a.txt").exists()


async def test_text_that_looks_like_an_argument_or_a_command_is_text(door: Door) -> None:
    for name in (
        "-rf",
        "--help",
        "$(touch pwned)",
        "`id`",
        "a;b",
        "a|b",
        "a&b",
        "*",
        "?",
        "'",
        '"',
        "\\",
        "~",
        "#",
        "%20",
    ):
        await door.call("write_file", path=name, content=name)
        assert (door.box / name).read_text() == name
        answer = await door.call("read_file", path=name, line_numbers=False)
        assert answer.texts[0] == name
        assert (await door.call("search_text", pattern=name, regex=False, path=name)).lines[1] == f"  1: {name}"
        await door.call("delete", path=name)
    assert os.listdir(door.box) == []


# -- many at once, and giving up


async def test_calls_at_once_are_each_answered_with_their_own(door: Door) -> None:
    door.make({f"f{number}.txt": f"content {number}" for number in range(40)})

    async def one(number: int) -> None:
        answer = await door.call("read_file", path=f"f{number}.txt", line_numbers=False)
        assert answer.texts[0] == f"content {number}"
        await door.call("write_file", path=f"g{number}.txt", content=str(number))

    await asyncio.gather(*(one(number) for number in range(40)))
    assert all((door.box / f"g{number}.txt").read_text() == str(number) for number in range(40))


async def test_edits_at_once_of_one_file_all_arrive(door: Door) -> None:
    door.make({"a.txt": "".join(f"<{number}>\n" for number in range(30))})
    await asyncio.gather(
        *(
            door.call("edit_file", path="a.txt", edits=[{"old_text": f"<{number}>", "new_text": f"[{number}]"}])
            for number in range(30)
        )
    )
    assert (door.box / "a.txt").read_text() == "".join(f"[{number}]\n" for number in range(30))


async def test_cancelled_waits_hold_nothing_up(door: Door) -> None:
    cursor = (await door.call("watch", timeout=0)).data["cursor"]
    # more than there are threads for waiting
    for _ in range(3):
        waiting = [asyncio.create_task(door.call("watch", cursor=cursor, timeout=60)) for _ in range(30)]
        await asyncio.sleep(0.3)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
    with anyio.fail_after(20):
        answer = await door.call("watch", cursor=cursor, timeout=0)
        assert answer.data["events"] == []
        await door.call("write_file", path="a.txt", content="x")
        assert (await door.call("watch", cursor=cursor, timeout=10)).data["events"][0]["path"] == "a.txt"


async def test_a_search_that_hangs_holds_up_no_other_and_ends_when_cancelled(door: Door) -> None:
    door.make({"a.txt": "a" * 5000 + "!\n", "b/b.txt": "b\n"})
    hanging = asyncio.create_task(door.call("search_text", pattern="(a+)+$"))
    await asyncio.sleep(0.5)
    with anyio.fail_after(15):
        assert (await door.call("search_text", pattern="b", path="b")).lines == ["b/b.txt", "  1: b"]
        assert (await door.call("find_files", pattern="b.txt")).lines == ["b/b.txt"]
    assert not hanging.done()
    hanging.cancel()
    await asyncio.wait([hanging])
    with anyio.fail_after(15):
        assert (await door.call("search_text", pattern="^b$")).lines == ["b/b.txt", "  1: b"]


async def test_a_cancelled_zip_leaves_nothing_behind(door: Door) -> None:
    door.make({"big.bin": os.urandom(60_000_000)})
    packing = asyncio.create_task(door.call("download_zip", paths=["big.bin"]))
    await asyncio.sleep(0.3)
    packing.cancel()
    await asyncio.wait([packing])
    with anyio.fail_after(15):
        assert (await door.call("list_dir")).data["entries"] == ["big.bin"]


async def test_long_work_reports_progress_that_grows(door: Door) -> None:
    size = 64 * 1024 * 1024
    with (door.box / "big.bin").open("wb") as file:
        block = os.urandom(1024 * 1024)
        for _ in range(size // len(block)):
            file.write(block)
    heard: list[tuple[float, float | None, str | None]] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        heard.append((done, total, message))

    started = time.monotonic()
    result = await door.client.call_tool("download_zip", {"paths": ["big.bin"]}, progress_callback=progress)
    if time.monotonic() - started < 0.6:
        pytest.skip("this machine packs it before there is anything to report")
    assert result.content
    assert heard
    amounts = [done for done, _, _ in heard]
    assert amounts == sorted(set(amounts))
    assert 0 < amounts[-1] <= size
    assert heard[-1][2] == "download_zip"


async def test_the_root_may_be_renamed_meanwhile(door: Door) -> None:
    moved = door.box.with_name("moved-away")
    door.box.rename(moved)
    door.box.mkdir()
    try:
        # the root is a handle: it goes where its directory goes, and the path that was typed no longer counts
        (moved / "a.txt").write_text("still here\n")
        assert (await door.call("read_file", path="a.txt")).texts[0] == "1\tstill here\n"
    finally:
        door.box.rmdir()
        moved.rename(door.box)
