"""Limits and other settings as a client meets them: small ones, read-only, denied paths, bare text."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from pathlib import Path

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from tests.mcp.door import Door, empty, http_door, http_server, stdio_door

SMALL = [
    "--max-text", "1K", "--max-inline", "2K", "--max-inline-zip", "1K", "--max-write-size", "3K",
    "--max-file-size", "5K", "--max-batch-size", "12K",
]  # fmt: skip


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ground = tmp_path_factory.mktemp("limits")
    (ground / "box").mkdir()
    return ground


@pytest.fixture(scope="module")
async def small_door(ground: Path) -> AsyncIterator[Door]:
    async with stdio_door(ground / "box", ground / "log", *SMALL) as door:
        yield door


@pytest.fixture
def small(small_door: Door) -> Door:
    empty(small_door.box)
    return small_door


async def test_text_is_shown_within_the_limit_by_whole_lines(small: Door) -> None:
    small.make({"a.txt": "".join(f"{number:03d} {'x' * 95}\n" for number in range(1, 101))})
    answer = await small.call("read_file", path="a.txt", line_numbers=False)
    assert len(answer.texts[0]) <= 1024
    assert answer.texts[0].count("\n") == 10
    assert "continue with offset=11" in answer.text


async def test_bytes_over_the_inline_limit_are_a_link(small: Door) -> None:
    small.make({"a.bin": b"\0" * 2048, "b.bin": b"\0" * 2049})
    (await small.call("read_file", path="a.bin")).only(types.EmbeddedResource)
    answer = await small.call("read_file", path="b.bin")
    answer.only(types.ResourceLink)
    assert "pieces of 2048 bytes" in answer.text
    text = await small.refused("read_file", path="b.bin", encoding="base64", limit=2049)
    assert "[too_large]" in text
    assert "2048" in text


async def test_a_write_over_its_limit_goes_by_appending_until_the_file_is_full(small: Door) -> None:
    text = await small.refused("write_file", path="a.txt", content="x" * 3073)
    assert "3072" in text
    assert "mode=append" in text
    await small.call("write_file", path="a.txt", content="x" * 3072)
    text = await small.refused("write_file", path="a.txt", content="x" * 3072, mode="append")
    assert "[too_large]" in text
    assert "5120" in text
    assert "--max-file-size" in text
    assert (small.box / "a.txt").stat().st_size == 3072
    await small.call("write_file", path="a.txt", content="x" * 2048, mode="append")


async def test_an_edit_cannot_grow_a_file_beyond_the_limit(small: Door) -> None:
    small.make({"a.txt": "x\n" * 1000})
    text = await small.refused(
        "edit_file", path="a.txt", edits=[{"old_text": "x", "new_text": "y" * 10, "replace_all": True}]
    )
    assert "[too_large]" in text
    assert (small.box / "a.txt").read_text() == "x\n" * 1000


async def test_one_file_too_large_does_not_stop_a_batch_unless_atomic(small: Door) -> None:
    files = [{"path": "big.txt", "content": "x" * 5121}, {"path": "a.txt", "content": "x"}]
    atomic = await small.mixed_or_refused("upload_batch", files=files, atomic=True)
    assert atomic.result.is_error
    assert "[too_large]" in atomic.text
    assert os.listdir(small.box) == []
    answer = await small.call("upload_batch", files=files)
    assert [file["ok"] for file in answer.data["files"]] == [False, True]
    assert "[too_large]" in answer.data["files"][0]["error"]
    assert os.listdir(small.box) == ["a.txt"]


async def test_a_batch_over_its_limit_is_refused(small: Door) -> None:
    files = [{"path": f"{number}.txt", "content": "x" * 4500} for number in range(3)]
    text = await small.refused("upload_batch", files=files)
    assert "12288" in text
    assert "several batches" in text
    assert os.listdir(small.box) == []


async def test_a_zip_over_its_inline_limit_is_a_link(small: Door) -> None:
    small.make({"a.bin": os.urandom(500), "b.bin": os.urandom(5000)})
    (await small.call("download_zip", paths=["a.bin"])).only(types.EmbeddedResource)
    link = (await small.call("download_zip", paths=["b.bin"])).only(types.ResourceLink)
    with pytest.raises(MCPError) as caught:
        await small.client.read_resource(link.uri)
    assert "?offset=0&length=2048" in str(caught.value)
    (piece,) = (await small.client.read_resource(f"{link.uri}?offset=0&length=2048")).contents
    assert isinstance(piece, types.BlobResourceContents)
    assert base64.b64decode(piece.blob)[:2] == b"PK"
    with pytest.raises(MCPError):
        await small.client.read_resource(f"{link.uri[:-3]}abc?offset=0&length=10")


async def test_a_resource_over_the_limit_is_refused_with_its_pieces(small: Door) -> None:
    small.make({"b.txt": "x" * 2049})
    with pytest.raises(MCPError) as caught:
        await small.client.read_resource(small.uri("b.txt"))
    assert f"{small.uri('b.txt')}?offset=0&length=2048" in str(caught.value)


# -- read-only


@pytest.fixture(scope="module", params=["stdio", "http"])
async def read_only(request: pytest.FixtureRequest, ground: Path) -> AsyncIterator[Door]:
    box = ground / "box"
    options = ("--read-only", "--toolsets", "all", "--deny", ".env", "--deny", "secrets/**")
    if request.param == "stdio":
        async with stdio_door(box, ground / "ro.log", *options) as door:
            yield door
    else:
        with http_server(ground / "ro.log", str(box), *options) as url:
            async with http_door(box, url) as door:
                yield door


CHANGES = {
    "write_file": {"path": "a.txt", "content": "x"},
    "edit_file": {"path": "a.txt", "edits": [{"old_text": "a", "new_text": "b"}]},
    "make_dir": {"path": "d"},
    "delete": {"path": "a.txt"},
    "move": {"source": "a.txt", "destination": "b.txt"},
    "copy": {"source": "a.txt", "destination": "b.txt"},
    "chmod": {"path": "a.txt", "mode": "600"},
    "upload_batch": {"files": [{"path": "a.txt", "content": "x"}]},
    "upload_file": {"local_path": "a.txt", "path": "a.txt"},
}


async def test_read_only_publishes_what_reads(read_only: Door) -> None:
    reading = {"download_file", "download_zip", "find_files", "list_dir", "read_file", "search_text", "stat", "watch"}
    assert set(read_only.tools) == reading | ({"signed_url"} if read_only.kind == "http" else set())
    assert "read-only" in (read_only.client.instructions or "")


@pytest.mark.parametrize("tool", CHANGES)
async def test_a_hidden_tool_called_all_the_same_is_refused_at_the_call(read_only: Door, tool: str) -> None:
    empty(read_only.box)
    read_only.make({"a.txt": "a"})
    with pytest.raises(MCPError) as caught:
        await read_only.client.call_tool(tool, CHANGES[tool])
    assert caught.value.code == types.INVALID_PARAMS
    assert f"{tool} is disabled" in str(caught.value)
    assert "read-only" in str(caught.value)
    assert os.listdir(read_only.box) == ["a.txt"]
    assert (read_only.box / "a.txt").read_text() == "a"


async def test_denied_paths_are_hidden_and_refused(read_only: Door) -> None:
    empty(read_only.box)
    read_only.make({".env": "needle", "sub/.env": "needle", "secrets/key": "needle", "a.txt": "needle"})
    (read_only.box / "way").symlink_to(".env")
    (read_only.box / "door").symlink_to("secrets")
    entries = (await read_only.call("list_dir", depth=3)).data["entries"]
    assert not {".env", "sub/.env", "secrets/key"} & set(entries)
    assert (await read_only.call("find_files", pattern="{.env,key}")).text == "(nothing matches)"
    assert (await read_only.call("search_text", pattern="needle")).lines == ["a.txt", "  1: needle"]
    for path in (".env", "sub/.env", "secrets/key", "way", "door/key", "./secrets/../.env"):
        for tool in ("read_file", "stat"):
            text = await read_only.refused(tool, path=path)
            assert "[denied]" in text
            assert "needle" not in text
        with pytest.raises(MCPError) as caught:
            await read_only.client.read_resource(read_only.uri(path))
        assert "denied" in str(caught.value)
    assert "[denied]" in await read_only.refused("download_zip", paths=[".env"])
    answer = await read_only.call("download_zip", paths=["."])
    packed = base64.b64decode(answer.only(types.EmbeddedResource).resource.blob)
    assert b"a.txt" in packed
    assert b"key" not in packed
    assert b".env/" not in packed


# -- toolsets and other settings


async def test_toolsets_choose_and_the_default_leaves_chmod_out(ground: Path) -> None:
    box = ground / "box"
    async with stdio_door(box, ground / "default.log") as door:
        assert "chmod" not in door.tools
        assert len(door.tools) == 16
        with pytest.raises(MCPError) as caught:
            await door.client.call_tool("chmod", CHANGES["chmod"])
        assert "--toolsets" in str(caught.value)
        assert "permissions" in str(caught.value)


async def test_a_few_tools_and_no_line_numbers(ground: Path) -> None:
    box = ground / "box"
    empty(box)
    (box / "a.txt").write_text("one\n")
    options = ("--toolsets", "read, permissions", "--no-line-numbers")
    async with stdio_door(box, ground / "some.log", *options) as door:
        assert sorted(door.tools) == ["chmod", "list_dir", "read_file", "stat"]
        with pytest.raises(MCPError):
            await door.client.call_tool("write_file", CHANGES["write_file"])
        assert (await door.call("read_file", path="a.txt")).texts[0] == "one\n"
        assert (await door.call("read_file", path="a.txt", line_numbers=True)).texts[0] == "1\tone\n"
