"""Two devboxes behind one server: which one a call means."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from pathlib import Path

import mcp_types as types
import pytest

from tests.mcp.door import Door, empty, http_door, http_server, stdio_door


@pytest.fixture(scope="module", params=["stdio", "http"])
async def two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    ground = tmp_path_factory.mktemp("two")
    for name in ("app", "data dir"):
        (ground / name).mkdir()
    directories = [str(ground / "app"), f"data=local:{ground / 'data dir'}"]
    if request.param == "stdio":
        async with stdio_door(ground / "app", ground / "log", directories=directories) as door:
            yield door
    else:
        with http_server(ground / "log", *directories) as url:
            async with http_door(ground / "app", url) as door:
                yield door


@pytest.fixture
def door(two: Door) -> Door:
    empty(two.box)
    empty(other(two))
    return two


def other(door: Door) -> Path:
    return door.box.parent / "data dir"


async def test_the_first_is_the_default_and_the_argument_chooses(door: Door) -> None:
    await door.call("write_file", path="a.txt", content="app")
    await door.call("write_file", path="a.txt", content="data", devbox="data")
    assert (door.box / "a.txt").read_text() == "app"
    assert (other(door) / "a.txt").read_text() == "data"
    assert (await door.call("read_file", path="a.txt", devbox="app", line_numbers=False)).texts[0] == "app"


@pytest.mark.parametrize("tool", ["read_file", "list_dir", "stat", "delete", "watch", "make_dir"])
async def test_an_unknown_devbox_is_answered_with_the_names_there_are(door: Door, tool: str) -> None:
    for name in ("nope", "", "DATA", "local:/etc", str(door.box), "devbox://data"):
        text = await door.refused(tool, path="x", devbox=name)
        assert "[not_found]" in text
        assert "the devboxes are: app, data" in text


async def test_an_absolute_path_chooses_the_devbox_that_contains_it(door: Door) -> None:
    await door.call("write_file", path=str(other(door) / "b.txt"), content="data")
    assert (other(door) / "b.txt").read_text() == "data"
    answer = await door.call("stat", path=str(other(door) / "b.txt"))
    assert answer.data["uri"] == "devbox://data/b.txt"
    assert answer.data["path"] == "b.txt"
    text = await door.refused("read_file", path=str(door.box.parent / "log"))
    assert "[escapes_root]" in text
    assert "every devbox" in text


async def test_an_absolute_path_with_another_devbox_is_refused(door: Door) -> None:
    door.make({"a.txt": "app"})
    text = await door.refused("read_file", path=str(door.box / "a.txt"), devbox="data")
    assert "[escapes_root]" in text
    text = await door.refused("read_file", path="devbox://app/a.txt", devbox="data")
    assert "[invalid_argument]" in text
    assert "another devbox" in text


async def test_a_uri_chooses_its_devbox(door: Door) -> None:
    (other(door) / "b.txt").write_text("data")
    assert (await door.call("read_file", path="devbox://data/b.txt", line_numbers=False)).texts[0] == "data"
    (content,) = (await door.client.read_resource("devbox://data/b.txt")).contents
    assert isinstance(content, types.TextResourceContents)
    assert content.text == "data"


@pytest.mark.parametrize("tool", ["move", "copy"])
async def test_source_and_destination_are_of_one_devbox(door: Door, tool: str) -> None:
    door.make({"a.txt": "app"})
    text = await door.refused(tool, source="a.txt", destination="devbox://data/a.txt")
    assert "[invalid_argument]" in text
    assert "this is in the devbox data, and what comes before it in app" in text
    (other(door) / "b.txt").write_text("data")
    (other(door) / "c.txt").write_text("precious")
    for source in ("devbox://data/b.txt", str(other(door) / "b.txt")):
        text = await door.refused(tool, source=source, destination="c.txt", overwrite=True)
        assert "this is in the devbox app, and what comes before it in data" in text
        assert "devbox://data/" in text
    assert (other(door) / "c.txt").read_text() == "precious"
    answer = await door.call(tool, source="devbox://data/b.txt", destination="devbox://data/d.txt")
    assert answer.data["destination"] == "d.txt"
    assert (other(door) / "d.txt").read_text() == "data"
    await door.call(tool, source="a.txt", destination="d.txt", devbox="app")
    assert (door.box / "d.txt").exists()


async def test_a_batch_and_a_zip_are_of_one_devbox(door: Door) -> None:
    files = [{"path": "a.txt", "content": "x"}, {"path": "b.txt", "content": "y"}]
    await door.call("upload_batch", files=files, devbox="data")
    assert sorted(os.listdir(other(door))) == ["a.txt", "b.txt"]
    answer = await door.call("download_zip", paths=[str(other(door) / "a.txt"), "devbox://data/b.txt"])
    assert base64.b64decode(answer.only(types.EmbeddedResource).resource.blob)[:2] == b"PK"
    for second in ("b.txt", "devbox://app/b.txt", str(door.box / "b.txt")):
        text = await door.refused("download_zip", paths=["devbox://data/a.txt", second])
        assert "this is in the devbox app" in text


@pytest.mark.parametrize("atomic", [False, True])
async def test_a_batch_never_writes_into_a_devbox_that_a_path_does_not_mean(door: Door, atomic: bool) -> None:
    (other(door) / "b.txt").write_text("precious")
    files = [{"path": str(other(door) / "a.txt"), "content": "x"}, {"path": "b.txt", "content": "y"}]
    answer = await door.client.call_tool("upload_batch", {"files": files, "atomic": atomic})
    assert "b.txt: this is in the devbox app, and what comes before it in data" in str(answer.content)
    assert (other(door) / "b.txt").read_text() == "precious"
    assert not (door.box / "b.txt").exists()
    assert (other(door) / "a.txt").exists() is not atomic


async def test_instructions_and_resources_name_both(door: Door) -> None:
    instructions = door.client.instructions or ""
    assert f"devbox app (default): root {door.box}" in instructions
    assert f"devbox data: root {other(door)}" in instructions
    listed = await door.client.list_resources()
    assert [resource.uri for resource in listed.resources] == ["devbox://app/", "devbox://data/"]


async def test_a_watch_of_one_does_not_tell_of_the_other(door: Door) -> None:
    cursor = (await door.call("watch", timeout=0, devbox="data")).data["cursor"]
    (door.box / "x").mkdir()
    (other(door) / "y").mkdir()
    events = []
    while not events:
        answer = await door.call("watch", cursor=cursor, timeout=5, devbox="data")
        events += answer.data["events"]
    assert [event["path"] for event in events] == ["y/"]
