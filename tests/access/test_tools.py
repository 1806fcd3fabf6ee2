"""Every tool for every caller on every devbox; a tool that is new has to say here how it is called."""

from __future__ import annotations

from typing import Any

import pytest

from devbox_mcp.callers import Scope
from devbox_mcp.servers.mcp.registry import Tool
from devbox_mcp.servers.mcp.tools import TOOLS
from tests.access.asking import Reply, rpc
from tests.access.matrix import DEVBOXES, HOLDERS, Ground, Holder, Outcome, expected

#: Arguments with which a tool does its work on a devbox as it is laid out.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "read_file": {"path": "a.txt"},
    "list_dir": {},
    "stat": {"path": "a.txt"},
    "write_file": {"path": "new.txt", "content": "new"},
    "edit_file": {"path": "a.txt", "edits": [{"old_text": "one", "new_text": "1"}]},
    "make_dir": {"path": "made"},
    "delete": {"path": "a.txt"},
    "move": {"source": "a.txt", "destination": "moved.txt"},
    "copy": {"source": "a.txt", "destination": "copied.txt"},
    "chmod": {"path": "run.sh", "mode": "755"},
    "find_files": {"pattern": "*.txt"},
    "search_text": {"pattern": "one"},
    "upload_batch": {"files": [{"path": "new.txt", "content": "new"}]},
    "download_zip": {"paths": ["a.txt"]},
    "signed_url": {"path": "a.txt"},
    "upload_file": {"local_path": "local.txt", "path": "uploaded.txt"},
    "download_file": {"path": "a.txt", "local_path": "downloaded.txt"},
    "watch": {"timeout": 0},
}
#: Permissions do not show in a tree.
CHANGES_NO_CONTENT = {"chmod"}

NAMED = [pytest.param(tool, id=tool.name) for tool in TOOLS]
EVERYBODY = [pytest.param(holder, id=holder.name) for holder in HOLDERS]


def outcome(reply: Reply) -> Outcome:
    if reply.status == 401:
        return "unauthenticated"
    assert reply.status == 200, reply.body
    result = reply.message()["result"]
    if not result.get("isError"):
        return "ok"
    text = result["content"][0]["text"]
    for code in ("forbidden", "not_found"):
        if f"[{code}]" in text:
            return code  # type: ignore[return-value]  # one of the outcomes
    raise AssertionError(text)


@pytest.mark.parametrize("holder", EVERYBODY)
@pytest.mark.parametrize("tool", NAMED)
def test_a_tool_does_what_the_caller_may_and_nothing_else(ground: Ground, url: str, tool: Tool, holder: Holder) -> None:
    for devbox in DEVBOXES:
        ground.reset()
        arguments = {**ARGUMENTS[tool.name], "devbox": devbox}
        reply = rpc(url, ground.headers(holder), "tools/call", name=tool.name, arguments=arguments)
        found = outcome(reply)
        assert found == expected(holder, devbox, tool.scope), reply.body
        for other in DEVBOXES:
            if other != devbox or found != "ok" or tool.reads_only:
                assert ground.untouched(other)
        if found == "ok" and not tool.reads_only and tool.name not in CHANGES_NO_CONTENT:
            assert not ground.untouched(devbox)
        if found == "not_found" and holder.known:
            # nothing tells it apart from one that is not there
            absent = {**arguments, "devbox": "absent"}
            other_reply = rpc(url, ground.headers(holder), "tools/call", name=tool.name, arguments=absent)
            assert other_reply.body.replace(b"absent", devbox.encode()) == reply.body


@pytest.mark.parametrize("holder", [holder for holder in HOLDERS if holder.known], ids=lambda holder: holder.name)
def test_tools_are_listed_to_whoever_could_use_them(ground: Ground, url: str, holder: Holder) -> None:
    result = rpc(url, ground.headers(holder), "tools/list").message()["result"]
    assert [tool["name"] for tool in result["tools"]] == [tool.name for tool in TOOLS if tool.scope in holder.scopes]
    assert result["cacheScope"] == "private"


@pytest.mark.parametrize("holder", [holder for holder in HOLDERS if holder.known], ids=lambda holder: holder.name)
def test_nobody_hears_of_what_he_does_not_reach(ground: Ground, url: str, holder: Holder) -> None:
    reached = [devbox for devbox in DEVBOXES if expected(holder, devbox, next(iter(holder.scopes))) == "ok"]
    hidden = [devbox for devbox in DEVBOXES if devbox not in reached]
    headers = ground.headers(holder)
    introduced = rpc(url, headers, "server/discover").message()["result"]
    listed = rpc(url, headers, "resources/list").message()["result"]
    completed = rpc(
        url,
        headers,
        "completion/complete",
        ref={"type": "ref/resource", "uri": "devbox://{devbox}/{+path}{?offset,length}"},
        argument={"name": "devbox", "value": ""},
    ).message()["result"]
    assert introduced["cacheScope"] == "private"
    assert [resource["name"] for resource in listed["resources"]] == reached
    assert completed["completion"]["values"] == reached
    told = {
        line.split()[1].rstrip(":") for line in introduced["instructions"].splitlines() if line.startswith("devbox ")
    }
    assert told == set(reached)
    for devbox in hidden:
        assert str(ground.directory / "boxes" / devbox) + "\n" not in introduced["instructions"] + "\n"


@pytest.mark.parametrize("holder", EVERYBODY)
def test_a_resource_is_read_by_whoever_may_read(ground: Ground, url: str, holder: Holder) -> None:
    for devbox in DEVBOXES:
        reply = rpc(url, ground.headers(holder), "resources/read", uri=f"devbox://{devbox}/a.txt")
        wanted = expected(holder, devbox, Scope.READ)
        if reply.status == 401:
            assert wanted == "unauthenticated"
            continue
        message = reply.message()
        found = message["error"]["data"]["code"] if "error" in message else "ok"
        assert found == wanted
