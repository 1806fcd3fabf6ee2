"""Files as resources: the template, lists, reads, completion."""

from __future__ import annotations

import base64
import os

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from tests.mcp.door import EVERY_DOOR, Door

DOORS = EVERY_DOOR


async def one(door: Door, uri: str) -> types.TextResourceContents | types.BlobResourceContents:
    (content,) = (await door.client.read_resource(uri)).contents
    assert content.uri == uri
    return content


async def test_the_template_and_the_root_are_listed(door: Door) -> None:
    (template,) = (await door.client.list_resource_templates()).resource_templates
    assert template.uri_template == "devbox://{devbox}/{+path}{?offset,length}"
    (root,) = (await door.client.list_resources()).resources
    assert root.uri == door.uri("")
    assert root.name == "box"


async def test_text_comes_as_text(door: Door) -> None:
    door.make({"src/a.py": "print('ü')\r\n"})
    content = await one(door, door.uri("src/a.py"))
    assert isinstance(content, types.TextResourceContents)
    assert content.text == "print('ü')\r\n"
    assert content.mime_type == "text/x-python"


async def test_bytes_come_as_bytes(door: Door) -> None:
    door.make({"a.bin": b"\0\xff"})
    content = await one(door, door.uri("a.bin"))
    assert isinstance(content, types.BlobResourceContents)
    assert base64.b64decode(content.blob) == b"\0\xff"
    assert content.mime_type == "application/octet-stream"


async def test_a_byte_order_mark_is_not_lost(door: Door) -> None:
    door.make({"bom.txt": b"\xef\xbb\xbfone\n"})
    content = await one(door, door.uri("bom.txt"))
    data = content.text.encode() if isinstance(content, types.TextResourceContents) else base64.b64decode(content.blob)
    assert data == b"\xef\xbb\xbfone\n"


@pytest.mark.parametrize(("query", "expected"), [
    ("?offset=2&length=3", b"234"), ("?offset=8", b"89"), ("?length=2", b"01"), ("?offset=10&length=5", b""),
    ("?offset=99", b""), ("?length=0", b""),
])  # fmt: skip
async def test_pieces_are_bytes(door: Door, query: str, expected: bytes) -> None:
    door.make({"a.txt": "0123456789"})
    content = await one(door, door.uri("a.txt") + query)
    assert isinstance(content, types.BlobResourceContents)
    assert base64.b64decode(content.blob) == expected


async def test_a_directory_is_the_uris_of_its_entries_which_can_be_read(door: Door) -> None:
    names = ["a b.txt", "c#d?e.txt", "new\nline", "per%cent", "ü", os.fsdecode(b"\xff")]
    door.make({**dict.fromkeys(names, "here"), "dir/f.txt": "here"})
    content = await one(door, door.uri(""))
    assert isinstance(content, types.TextResourceContents)
    assert content.mime_type == "text/uri-list"
    uris = content.text.split("\n")
    assert len(uris) == 7
    for uri in uris:
        found = await one(door, uri)
        assert isinstance(found, types.TextResourceContents)
        assert found.text == (door.uri("dir/f.txt") if uri.endswith("/") else "here")


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("devbox://box/missing.txt", "not_found"),
        ("devbox://other/a.txt", "not_found"),
        ("devbox://box/../secret.txt", "escapes_root"),
        ("devbox://box/%2e%2e/secret.txt", "escapes_root"),
        ("devbox://box//etc/passwd", "invalid_argument"),
        ("devbox://box/%2Fetc/passwd", "invalid_argument"),
        ("devbox://box/a%00b", "invalid_argument"),
        ("devbox://box/out", "escapes_root"),
        ("devbox://box/out-dir/secret.txt", "escapes_root"),
        ("devbox://box/fifo", "unsupported"),
        ("devbox://box/a.txt?offset=-1", "invalid_argument"),
        ("devbox://box/a.txt?offset=x", "invalid_argument"),
        ("devbox://box/a.txt?lines=3", "invalid_argument"),
        ("devbox://box/a.txt?offset=1&offset=2", "invalid_argument"),
        ("devbox://box/a.txt?length=99999999", "too_large"),
        ("devbox://box/a.txt?offset=" + "9" * 5000, "invalid_argument"),
        ("devbox-zip://guessed", "not_found"),
        ("devbox-zip://../../etc/passwd?offset=0&length=10", "not_found"),
        ("file:///etc/passwd", "invalid_argument"),
        ("http://127.0.0.1/", "invalid_argument"),
        ("a.txt", "invalid_argument"),
    ],
)
async def test_what_cannot_be_read_is_an_error_with_its_code(door: Door, uri: str, code: str) -> None:
    door.make({"a.txt": "a"})
    (door.box / "out").symlink_to("../secret.txt")
    (door.box / "out-dir").symlink_to("..")
    os.mkfifo(door.box / "fifo")
    with pytest.raises(MCPError) as caught:
        await door.client.read_resource(uri)
    assert caught.value.code == types.INVALID_PARAMS
    assert f"[{code}]" in str(caught.value)
    assert caught.value.error.data == {"uri": uri, "code": code}


async def complete(door: Door, argument: str, begun: str, context: dict[str, str] | None = None) -> list[str]:
    (template,) = (await door.client.list_resource_templates()).resource_templates
    reference = types.ResourceTemplateReference(uri=template.uri_template)
    answer = await door.client.complete(reference, {"name": argument, "value": begun}, context)
    return answer.completion.values


async def test_the_template_completes(door: Door) -> None:
    door.make({"src/app.py": "", "src/apple/x": "", "src/b.py": "", "setup.py": "", "a b.txt": "", "[ab]": ""})
    assert await complete(door, "devbox", "b") == ["box"]
    assert await complete(door, "devbox", "x") == []
    assert await complete(door, "path", "s") == ["setup.py", "src/"]
    assert await complete(door, "path", "src/ap", {"devbox": "box"}) == ["src/app.py", "src/apple/"]
    assert await complete(door, "path", "a") == ["a%20b.txt"]
    assert await complete(door, "path", "[") == ["%5Bab%5D"]
    assert await complete(door, "path", "src/app.py/") == []
    assert await complete(door, "path", "../") == []
    assert await complete(door, "path", "/etc/pass") == []
    assert await complete(door, "path", "s", {"devbox": "nope"}) == []
    assert await complete(door, "other", "s") == []


async def test_a_completed_path_makes_a_uri_that_can_be_read(door: Door) -> None:
    door.make({"d e/ü #1.txt": "here"})
    (directory,) = await complete(door, "path", "d")
    (path,) = await complete(door, "path", directory)
    content = await one(door, f"devbox://box/{path}")
    assert isinstance(content, types.TextResourceContents)
    assert content.text == "here"


async def test_completion_finds_what_comes_late_in_a_large_directory(door: Door) -> None:
    door.make(dict.fromkeys([*(f"a{number:04d}" for number in range(1500)), "zebra", "z*[x"], ""))
    assert await complete(door, "path", "ze") == ["zebra"]
    assert await complete(door, "path", "z*") == ["z*%5Bx"]
    first = await complete(door, "path", "a")
    assert len(first) == 100
