"""The express lane answers as the SDK's dispatcher does. A method written with an escaped slash is the same method, but
no line for the lane, so the dispatcher's own answer is to be had from the same server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mcp.door import SERVE, environment
from tests.raw import RawClient

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d4944415478da63fcffff3f030005fe02fea7"
    "5f81460000000049454e44ae426082"
)


class Wire(RawClient):
    """Sends lines as they are, and returns the answers that come."""

    def line(self, text: str) -> None:
        self._send(text.encode() + b"\n")

    def answer(self) -> dict[str, Any]:
        while "method" in (message := self._receive()):
            self.notifications.append(message)
        return message


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """A server for all tests that leave nothing under way."""
    box = tmp_path_factory.mktemp("express") / "box"
    box.mkdir()
    (box / "a.txt").write_text("one\ntwo\n")
    (box / "empty").touch()
    (box / "pixel.png").write_bytes(PIXEL)
    (box / "bytes.bin").write_bytes(bytes(range(256)))
    (box / "large.bin").write_bytes(bytes(range(256)) * 2048)
    (box / "sub").mkdir()
    (box / "link").symlink_to("a.txt")
    (box / "caf\xe9 \u2603").write_text("snow")
    with Wire([*SERVE, str(box)], env=environment()) as client:
        client.initialize()
        yield client


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    """A server of one's own."""
    with Wire([*SERVE, str(tmp_path)], env=environment()) as client:
        client.initialize()
        yield client


def call(name: Any, arguments: Any, request_id: Any = 7, **more: Any) -> str:
    params = {"name": name, "arguments": arguments, **more}
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params})


@pytest.mark.parametrize(
    "line",
    [
        call("read_file", {"path": "a.txt"}),
        call("read_file", {"path": "a.txt"}, request_id="seven"),
        call("read_file", {"path": "a.txt", "offset": 2, "limit": None}),
        call("read_file", {"path": "empty"}),
        call("read_file", {"path": "pixel.png"}),
        call("read_file", {"path": "bytes.bin"}),
        call("read_file", {"path": "large.bin"}),
        call("read_file", {"path": "none"}),
        call("read_file", {"path": "../out"}),
        call("read_file", {"path": "caf\xe9 \u2603"}),
        call("read_file", {}),
        call("read_file", {"path": 5}),
        call("read_file", {"path": "a.txt", "unknown": 1}),
        call("list_dir", {"details": True}),
        call("list_dir", {"limit": 2}),
        call("stat", {"path": "link"}),
        call("edit_file", {"path": "a.txt", "edits": [{"old_text": "one", "new_text": "1"}], "dry_run": True}),
        call("find_files", {"pattern": "**"}),
        call("search_text", {"pattern": "two"}),
        call("no_such_tool", {}),
        call("chmod", {"path": "a.txt", "mode": "600"}),
        call("stat", None),
        call("stat", [1]),
        call(5, {}),
        call("stat", {}, _meta={"progressToken": 1}),
        call("stat", {}, _meta=5),
        '{"jsonrpc":"2.0","id":7,"method":"tools/call"}',
        '{"jsonrpc":"1.0","id":7,"method":"tools/call","params":{"name":"stat"}}',
        '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"stat","arguments":{"path":"\\ud800"}}}',
        '{"jsonrpc":"2.0","id":7,"method":"ping","params":{"_meta":{"x":"tools/call"}}}',
        '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"stat"}',
    ],
)
def test_both_lanes_answer_the_same(shared: Wire, line: str) -> None:
    shared.line(line)
    express = shared.answer()
    shared.line(line.replace("tools/call", "tools\\/call"))
    assert express == shared.answer()


@pytest.mark.parametrize("sign", ["x", '"\\\t\x01', "\u2603", "\U0001f600\u2028"])
def test_a_text_that_goes_in_pieces_arrives_as_it_is(tmp_path: Path, sign: str) -> None:
    text = "".join(f"{number} {sign * (number % 50)}\n" for number in range(60_000))
    (tmp_path / "long.txt").write_text(text, encoding="utf-8", newline="")
    with Wire([*SERVE, str(tmp_path), "--max-text", "16M"], env=environment()) as client:
        client.initialize()
        # the one behind it waits for its end
        client.line(call("read_file", {"path": "long.txt", "line_numbers": False}, request_id=1))
        client.line(call("stat", {}, request_id=2))
        answers = {answer["id"]: answer for answer in (client.answer(), client.answer())}
        client.line(
            call("read_file", {"path": "long.txt", "line_numbers": False}, 1).replace("tools/call", "tools\\/call")
        )
        assert client.answer() == answers[1]
    assert answers[1]["result"]["content"][0]["text"] == text
    assert "directory" in json.dumps(answers[2])


def test_names_that_are_no_utf8_are_answered_and_harm_nobody(wire: Wire, tmp_path: Path) -> None:
    (tmp_path / "d\udcff").mkdir()
    (tmp_path / "link").symlink_to("d\udcff")
    uri = f"devbox://{tmp_path.name}/none%FF/f"
    read = {"jsonrpc": "2.0", "id": 7, "method": "resources/read", "params": {"uri": uri}}
    for line in (call("read_file", {"path": uri}), call("stat", {"path": "link"}), json.dumps(read)):
        wire.line(line)
        wire.line(line.replace("tools/call", "tools\\/call"))
        first, second = wire.answer(), wire.answer()
        assert first == second
        assert "\\udcff" in json.dumps(first)
        assert "Internal" not in json.dumps(first)


@pytest.mark.parametrize("request_id", [None, True, 1.5])
def test_a_call_whose_id_is_none_is_refused_in_either_lane(shared: Wire, request_id: Any) -> None:
    unidentified = call("make_dir", {"path": "made"}, request_id=request_id)
    for line in (unidentified, unidentified.replace("tools/call", "tools\\/call")):
        shared.line(line)
        answer = shared.answer()
        assert (answer["id"], answer["error"]["code"]) == (None, -32600)
    shared.line(call("find_files", {"pattern": "made"}))
    answer = shared.answer()
    assert answer["id"] == 7
    assert "made" not in answer["result"]["content"][0]["text"]


def test_a_call_before_the_handshake_is_refused(tmp_path: Path) -> None:
    with Wire([*SERVE, str(tmp_path)], env=environment()) as client:
        client.line(call("stat", {}))
        assert client.answer()["error"]["code"] == -32602
        client.initialize()
        client.line(call("stat", {}))
        assert not client.answer()["result"].get("isError")


def test_a_call_in_the_same_breath_as_the_handshake_is_answered_after_it(tmp_path: Path) -> None:
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "eager", "version": "0"}}
    opening = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello})
    with Wire([*SERVE, str(tmp_path)], env=environment()) as client:
        client.line(f"{opening}\n{call('stat', {})}")
        assert client.answer()["id"] == 1
        assert client.answer()["result"]["structuredContent"]["type"] == "directory"


def test_a_cancelled_call_stops_and_is_not_answered(wire: Wire) -> None:
    wire.line(call("watch", {"timeout": 50}, request_id=1))
    wire.line(call("watch", {"timeout": 50}, request_id="2"))
    for request_id in ("1", 2):  # clients are known to turn one into the other
        cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": request_id}}
        wire.line(json.dumps(cancelled))
    wire.line(call("make_dir", {"path": "after"}, request_id=3))
    assert wire.answer()["id"] == 3
    assert wire.close() == 0  # at once: neither of them is still waited for


def test_an_id_may_be_used_again_while_its_first_call_runs(wire: Wire) -> None:
    wire.line(call("watch", {"timeout": 50}, request_id=1))
    wire.line(call("stat", {}, request_id=1))
    assert wire.answer()["id"] == 1
    wire.line(call("stat", {}, request_id=2))
    assert wire.answer()["id"] == 2


def test_what_is_cancelled_though_nobody_knows_it_harms_nothing(wire: Wire) -> None:
    wire.line(call("watch", {"timeout": 50}, request_id=1))
    for params in ({"requestId": 99}, {"requestId": None}, {}, None):
        wire.line(json.dumps({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}))
    wire.line(call("stat", {}, request_id=2))
    assert wire.answer()["id"] == 2


def test_progress_reaches_who_asked_for_it(shared: Wire) -> None:
    shared.line(call("watch", {"timeout": 1.5}, _meta={"progressToken": "slow"}))
    assert shared.answer()["id"] == 7
    progress = [one["params"] for one in shared.notifications if one["method"] == "notifications/progress"]
    assert [one["progressToken"] for one in progress] == ["slow"] * len(progress)
    assert len(progress) >= 2
    assert progress[0]["progress"] < progress[1]["progress"]


def test_many_calls_at_once_are_all_answered(shared: Wire) -> None:
    for number in range(300):
        shared.line(call("write_file", {"path": f"many/{number % 10}", "content": str(number)}, request_id=number))
    assert sorted(shared.answer()["id"] for _ in range(300)) == list(range(300))
