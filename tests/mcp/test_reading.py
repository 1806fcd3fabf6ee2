"""read_file, list_dir and stat, as a model reads them."""

import base64
import hashlib
import os
import socket
import struct
import zlib

import mcp_types as types
import pytest

from tests.mcp.door import Door


def short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


def png(width: int = 1) -> bytes:
    """Return a picture, as large as its width."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, 1, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" + os.urandom(width))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


# -- read_file: text


async def test_a_small_file_comes_whole_numbered_and_with_what_an_edit_needs(door: Door) -> None:
    source = 'def hello():\n\treturn "hi"\n'
    door.make({"src/hello.py": source})
    answer = await door.call("read_file", path="src/hello.py")
    body, facts = answer.texts
    assert body == '1\tdef hello():\n2\t\treturn "hi"\n'
    assert facts == f"[2 lines · {len(source)} bytes · text/x-python · sha256 {short(source.encode())}]"


async def test_without_numbers_the_text_is_the_file(door: Door) -> None:
    source = "a\tb\n\n  c  \nlast"
    door.make({"a.txt": source})
    answer = await door.call("read_file", path="a.txt", line_numbers=False)
    assert answer.texts[0] == source


async def test_a_range_says_where_it_stands_and_how_to_go_on(door: Door) -> None:
    door.make({"a.txt": "".join(f"line {number}\n" for number in range(1, 11))})
    answer = await door.call("read_file", path="a.txt", offset=3, limit=2)
    body, facts = answer.texts
    assert body == "3\tline 3\n4\tline 4\n"
    assert "lines 3-4 of 10" in facts
    assert "truncated: continue with offset=5" in facts


async def test_a_negative_offset_counts_from_the_end(door: Door) -> None:
    door.make({"a.txt": "".join(f"line {number}\n" for number in range(1, 11))})
    answer = await door.call("read_file", path="a.txt", offset=-2)
    assert answer.texts[0] == "9\tline 9\n10\tline 10\n"
    assert "continue" not in answer.text


async def test_a_long_file_is_read_to_its_end_by_the_offsets_it_names(door: Door) -> None:
    lines = [f"{number:05d} {'x' * 60}\n" for number in range(1, 4001)]
    door.make({"long.txt": "".join(lines)})
    read: list[str] = []
    offset: int | None = 1
    calls = 0
    while offset is not None:
        answer = await door.call("read_file", path="long.txt", offset=offset)
        calls += 1
        body, facts = answer.texts
        assert len(body) < 80_000
        assert "of 4000" in facts
        read += [line.partition("\t")[2] for line in body.splitlines(keepends=True)]
        _, found, rest = facts.partition("continue with offset=")
        offset = int(rest.rstrip("]")) if found else None
    assert read == lines
    assert calls > 2


async def test_shown_lines_can_be_pasted_into_an_edit(door: Door) -> None:
    door.make({"a.py": "if True:\n\tx = 1\n\ty = 2 \n\nprint(x)\n"})
    shown = (await door.call("read_file", path="a.py", offset=2, limit=3)).texts[0]
    pasted = "".join(line.partition("\t")[2] for line in shown.splitlines(keepends=True))
    await door.call("edit_file", path="a.py", edits=[{"old_text": pasted, "new_text": "\tx = 3\n"}])
    assert (door.box / "a.py").read_text() == "if True:\n\tx = 3\nprint(x)\n"


async def test_crlf_lines_are_shown_verbatim_and_can_be_pasted(door: Door) -> None:
    door.make({"dos.txt": b"one\r\ntwo\r\nthree\r\n"})
    shown = (await door.call("read_file", path="dos.txt", line_numbers=False)).texts[0]
    assert shown == "one\r\ntwo\r\nthree\r\n"
    for pasted in ("one\r\ntwo\r\n", "one\ntwo\n"):
        door.make({"dos.txt": b"one\r\ntwo\r\nthree\r\n"})
        await door.call("edit_file", path="dos.txt", edits=[{"old_text": pasted, "new_text": "1\n2\n"}])
        assert (door.box / "dos.txt").read_bytes() == b"1\r\n2\r\nthree\r\n"


async def test_a_byte_order_mark_is_not_shown_and_stays(door: Door) -> None:
    door.make({"bom.txt": b"\xef\xbb\xbfone\ntwo\n"})
    answer = await door.call("read_file", path="bom.txt")
    assert answer.texts[0] == "1\tone\n2\ttwo\n"
    await door.call("edit_file", path="bom.txt", edits=[{"old_text": "one\n", "new_text": "1\n"}])
    assert (door.box / "bom.txt").read_bytes() == b"\xef\xbb\xbf1\ntwo\n"


async def test_no_final_newline_is_seen_and_kept(door: Door) -> None:
    door.make({"a.txt": "one\ntwo"})
    assert (await door.call("read_file", path="a.txt")).texts[0] == "1\tone\n2\ttwo"
    await door.call("edit_file", path="a.txt", edits=[{"old_text": "two", "new_text": "2"}])
    assert (door.box / "a.txt").read_text() == "one\n2"


async def test_an_empty_file_says_so(door: Door) -> None:
    door.make({"empty.txt": ""})
    answer = await door.call("read_file", path="empty.txt")
    assert answer.text.startswith("[empty file · 0 bytes · ")
    assert short(b"") in answer.text


async def test_beyond_the_end_says_how_many_lines_there_are(door: Door) -> None:
    door.make({"a.txt": "one\ntwo\n"})
    answer = await door.call("read_file", path="a.txt", offset=10)
    assert "no lines from 10 on" in answer.text
    assert "there are 2" in answer.text


async def test_a_line_longer_than_a_result_is_cut_and_the_rest_can_be_read(door: Door) -> None:
    long = "é" * 100_000
    door.make({"min.js": f"{long}\nshort\n"})
    answer = await door.call("read_file", path="min.js")
    body, facts = answer.texts
    shown = body.partition("\t")[2].rstrip("\n")
    assert long.startswith(shown)
    assert 0 < len(shown.encode()) <= 65_536
    assert "encoding=base64" in facts
    assert "offset=2" in facts
    assert (await door.call("read_file", path="min.js", offset=2)).texts[0] == "2\tshort\n"


async def test_other_line_breaks_of_unicode_end_no_line(door: Door) -> None:
    door.make({"a.txt": "one\u2028still\x0cone\x85\ntwo\n"})
    answer = await door.call("read_file", path="a.txt")
    assert answer.texts[0] == "1\tone\u2028still\x0cone\x85\n2\ttwo\n"


# -- read_file: bytes


async def test_base64_ranges_are_bytes_and_say_how_to_go_on(door: Door) -> None:
    data = bytes(range(256)) * 2
    door.make({"a.bin": data})
    answer = await door.call("read_file", path="a.bin", encoding="base64", offset=10, limit=100)
    encoded, facts = answer.texts
    assert base64.b64decode(encoded) == data[10:110]
    assert "bytes 10-109" in facts
    assert "of 512" in facts
    assert "continue with offset=110" in facts
    end = await door.call("read_file", path="a.bin", encoding="base64", offset=512)
    assert "no bytes from 512 on" in end.text


async def test_a_big_file_is_read_in_base64_to_its_end(door: Door) -> None:
    data = os.urandom(700_000)
    door.make({"big.bin": data})
    read = b""
    while True:
        encoded, facts = (await door.call("read_file", path="big.bin", encoding="base64", offset=len(read))).texts
        read += base64.b64decode(encoded)
        if "continue" not in facts:
            break
        assert f"continue with offset={len(read)}" in facts
    assert read == data


async def test_an_image_is_an_image(door: Door) -> None:
    data = png()
    door.make({"dot.png": data})
    answer = await door.call("read_file", path="dot.png")
    image = answer.only(types.ImageContent)
    assert base64.b64decode(image.data) == data
    assert image.mime_type == "image/png"
    assert short(data) in answer.text


async def test_what_is_no_image_is_not_called_one(door: Door) -> None:
    door.make({"fake.png": b"\0\1\2 not a picture"})
    answer = await door.call("read_file", path="fake.png")
    resource = answer.only(types.EmbeddedResource).resource
    assert resource.mime_type == "application/octet-stream"


async def test_other_small_bytes_are_embedded(door: Door) -> None:
    data = b"\0\1\2\xff" * 100
    door.make({"a.bin": data})
    answer = await door.call("read_file", path="a.bin")
    resource = answer.only(types.EmbeddedResource).resource
    assert isinstance(resource, types.BlobResourceContents)
    assert base64.b64decode(resource.blob) == data
    assert resource.uri == door.uri("a.bin")
    assert f"application/octet-stream · 400 bytes · sha256 {short(data)}" in answer.text


@pytest.mark.parametrize("name", ["big.bin", "big.png"])
async def test_beyond_the_inline_limit_a_link_leads_to_pieces_that_add_up(door: Door, name: str) -> None:
    data = png(700_000) if name.endswith("png") else b"\0" + os.urandom(700_000)
    door.make({name: data})
    answer = await door.call("read_file", path=name)
    link = answer.only(types.ResourceLink)
    assert link.size == len(data)
    assert link.uri == door.uri(name)
    assert "read the link in pieces of 262144 bytes" in answer.text
    pieces = []
    for offset in range(0, len(data), 262_144):
        (content,) = (await door.client.read_resource(f"{link.uri}?offset={offset}&length=262144")).contents
        assert isinstance(content, types.BlobResourceContents)
        pieces.append(base64.b64decode(content.blob))
    assert hashlib.sha256(b"".join(pieces)).digest() == hashlib.sha256(data).digest()


async def test_text_in_another_encoding_is_embedded_or_refused_as_utf8(door: Door) -> None:
    door.make({"latin.txt": "grün".encode("latin-1")})
    answer = await door.call("read_file", path="latin.txt")
    resource = answer.only(types.EmbeddedResource).resource
    assert base64.b64decode(resource.blob) == b"gr\xfcn"
    refused = await door.refused("read_file", path="latin.txt", encoding="utf-8")
    assert "[unsupported]" in refused
    assert "encoding=base64" in refused


# -- read_file: refusals


@pytest.mark.parametrize(
    ("arguments", "code", "advice"),
    [
        ({"path": "missing.txt"}, "not_found", "list_dir"),
        ({"path": "dir"}, "is_directory", "list_dir"),
        ({"path": "a.txt/b"}, "not_directory", ""),
        ({"path": ""}, "invalid_argument", "use . for the root"),
        ({"path": "a\0b"}, "invalid_argument", "NUL"),
        ({"path": "../secret.txt"}, "escapes_root", "relative to the root"),
        ({"path": "dir/../../secret.txt"}, "escapes_root", "relative to the root"),
        ({"path": "/etc/passwd"}, "escapes_root", "relative to the root"),
        ({"path": "out"}, "escapes_root", ""),
        ({"path": "loop"}, "too_many_links", ""),
        ({"path": "fifo"}, "unsupported", ""),
        ({"path": "socket"}, "unsupported", ""),
        ({"path": ".devbox-mcp-part-0"}, "invalid_argument", "reserved"),
        ({"path": "x" * 256}, "invalid_argument", "too long"),
        ({"path": "x/" * 3000}, "invalid_argument", "longer than"),
        ({"path": "a.txt", "offset": 0}, "invalid_argument", "counted from 1"),
        ({"path": "a.txt", "limit": 0}, "invalid_argument", "at least 1"),
        ({"path": "a.txt", "encoding": "base64", "offset": -1}, "invalid_argument", "negative"),
        ({"path": "a.txt", "encoding": "base64", "limit": 10_000_000}, "too_large", "in pieces"),
        ({"path": "devbox://box/../../etc/passwd"}, "escapes_root", ""),
        ({"path": "devbox://elsewhere/a.txt"}, "not_found", "the devboxes are: box"),
        ({"path": "devbox://box//etc/passwd"}, "invalid_argument", "relative"),
        ({"path": "a.txt", "devbox": "elsewhere"}, "not_found", "the devboxes are: box"),
        ({"path": "a.txt", "devbox": "local:/etc"}, "not_found", "the devboxes are: box"),
    ],
)
async def test_what_cannot_be_read_is_refused_with_a_code_and_advice(
    door: Door, arguments: dict[str, object], code: str, advice: str
) -> None:
    door.make({"a.txt": "a\n", "dir/b.txt": "b\n"})
    (door.box / "out").symlink_to("../secret.txt")
    (door.box / "loop").symlink_to("loop")
    os.mkfifo(door.box / "fifo")
    _socket(door)
    text = await door.refused("read_file", **arguments)
    assert f"[{code}]" in text
    assert advice in text
    assert "\n" not in text
    assert "\0" not in text


def _socket(door: Door) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        # the address of a socket is short, and so it is named from the directory's handle
        handle = os.open(door.box, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{handle}/socket")
        os.close(handle)


async def test_a_sibling_whose_name_begins_as_the_root_is_outside(door: Door) -> None:
    text = await door.refused("read_file", path=f"{door.box}-evil/secret.txt")
    assert "[escapes_root]" in text


@pytest.mark.parametrize("way", ["absolute", "uri", "dots", "relative link", "absolute link"])
async def test_every_way_to_write_a_path_beneath_the_root_leads_there(door: Door, way: str) -> None:
    door.make({"dir/a.txt": "here\n"})
    (door.box / "relative").symlink_to("dir/a.txt")
    (door.box / "absolute").symlink_to(door.box / "dir" / "a.txt")
    path = {
        "absolute": str(door.box / "dir" / "a.txt"),
        "uri": door.uri("dir/a.txt"),
        "dots": "./dir//x/.././a.txt",
        "relative link": "relative",
        "absolute link": "absolute",
    }[way]
    assert (await door.call("read_file", path=path)).texts[0] == "1\there\n"


# -- list_dir


async def test_a_directory_is_listed_with_its_kinds(door: Door) -> None:
    door.make({"b.txt": "b", ".hidden": "h", "a/deep.txt": "d"})
    (door.box / "link").symlink_to("a/deep.txt")
    os.mkfifo(door.box / "pipe")
    answer = await door.call("list_dir")
    assert answer.data == {
        "path": ".",
        "entries": [".hidden", "a/", "b.txt", "link -> a/deep.txt", "pipe"],
        "truncated": False,
    }
    assert answer.lines == answer.data["entries"]


async def test_depth_and_glob_choose(door: Door) -> None:
    door.make({"a/b/c.py": "", "a/d.py": "", "a/e.txt": "", "f.py": ""})
    two = await door.call("list_dir", depth=2)
    assert two.data["entries"] == ["a/", "a/b/", "a/d.py", "a/e.txt", "f.py"]
    python = await door.call("list_dir", depth=5, glob="*.py")
    assert python.data["entries"] == ["a/b/c.py", "a/d.py", "f.py"]
    below = await door.call("list_dir", path="a", depth=5, glob="b/*")
    assert below.data == {"path": "a", "entries": ["b/c.py"], "truncated": False}
    none = await door.call("list_dir", glob="*.rs")
    assert none.text == "(no entry matches)"
    assert none.data["entries"] == []


async def test_details_are_size_time_and_mode(door: Door) -> None:
    door.make({"a.txt": "12345"})
    (door.box / "a.txt").chmod(0o640)
    os.utime(door.box / "a.txt", (1_000_000_000, 1_000_000_000))
    answer = await door.call("list_dir", details=True)
    assert answer.data["details"] == [
        {"path": "a.txt", "type": "file", "size": 5, "modified": "2001-09-09T01:46:40Z", "mode": "0640"}
    ]
    assert answer.text == "a.txt\t5\t2001-09-09T01:46:40Z\t0640"
    os.mkfifo(door.box / "pipe")
    (door.box / "link").symlink_to("a.txt")
    (door.box / "sub").mkdir()
    answer = await door.call("list_dir", details=True)
    assert [row["type"] for row in answer.data["details"]] == ["file", "symlink", "fifo", "directory"]
    assert [line.split("\t")[0] for line in answer.lines] == ["a.txt", "link -> a.txt", "pipe", "sub/"]
    assert answer.lines[2].endswith("\tfifo")


async def test_an_empty_directory_says_so(door: Door) -> None:
    door.make({"empty": None})
    answer = await door.call("list_dir", path="empty")
    assert answer.text == "(no entries)"


async def test_pages_follow_their_cursors_and_give_everything_once(door: Door) -> None:
    names = sorted(f"dir{number % 3}/file {number:03d}" for number in range(100))
    door.make(dict.fromkeys(names, ""))
    seen: list[str] = []
    cursor = None
    while True:
        more = {} if cursor is None else {"cursor": cursor}
        answer = await door.call("list_dir", depth=2, limit=7, **more)
        assert len(answer.data["entries"]) <= 7
        seen += answer.data["entries"]
        cursor = answer.data.get("next_cursor")
        assert answer.data["truncated"] == (cursor is not None)
        if cursor is None:
            break
        assert f"continue with cursor={cursor}" in answer.text
    assert seen == sorted([*names, "dir0/", "dir1/", "dir2/"])


async def test_a_page_keeps_within_the_text_limit(door: Door) -> None:
    names = [f"{number:04d}{'n' * 240}" for number in range(1000)]
    door.make(dict.fromkeys(names, ""))
    seen: list[str] = []
    cursor = None
    while True:
        more = {} if cursor is None else {"cursor": cursor}
        answer = await door.call("list_dir", limit=1000, **more)
        assert len(answer.text) <= 65_536 + 500
        seen += answer.data["entries"]
        cursor = answer.data.get("next_cursor")
        if cursor is None:
            break
    assert seen == names


async def test_names_that_are_no_line_of_text_are_shown_and_accepted_as_uris(door: Door) -> None:
    door.make(dict.fromkeys(["new\nline", "tab\there", os.fsdecode(b"latin-\xfc")], "found"))
    door.make({"-rf": "dash\n", "x" * 255: "long\n"})
    entries = (await door.call("list_dir")).data["entries"]
    assert "-rf" in entries
    assert "x" * 255 in entries
    uris = [entry for entry in entries if entry.startswith("devbox://")]
    assert sorted(uris) == [door.uri("latin-%FC"), door.uri("new%0Aline"), door.uri("tab%09here")]
    for uri in uris:
        answer = await door.call("read_file", path=uri, line_numbers=False)
        assert answer.texts[0] == "found"
    assert (await door.call("read_file", path="-rf")).texts[0] == "1\tdash\n"


@pytest.mark.parametrize(
    ("arguments", "code", "advice"),
    [
        ({"path": "missing"}, "not_found", "list_dir"),
        ({"path": "a.txt"}, "not_directory", ""),
        ({"path": ".."}, "escapes_root", "relative to the root"),
        ({"path": "out"}, "escapes_root", ""),
        ({"depth": 0}, "invalid_argument", "from 1 to 64"),
        ({"depth": 65}, "invalid_argument", "from 1 to 64"),
        ({"limit": 0}, "invalid_argument", "from 1 to 1000"),
        ({"limit": 1001}, "invalid_argument", "from 1 to 1000"),
        ({"glob": ""}, "invalid_argument", "glob is empty"),
        ({"cursor": "!!"}, "invalid_argument", "without a cursor"),
        ({"cursor": "Li4vLi4"}, "invalid_argument", "without a cursor"),
    ],
)
async def test_what_cannot_be_listed_is_refused(
    door: Door, arguments: dict[str, object], code: str, advice: str
) -> None:
    door.make({"a.txt": "a\n"})
    (door.box / "out").symlink_to("..")
    text = await door.refused("list_dir", **arguments)
    assert f"[{code}]" in text
    assert advice in text


# -- stat


async def test_stat_tells_all_about_a_file(door: Door) -> None:
    door.make({"a.py": "print()\n"})
    (door.box / "a.py").chmod(0o755)
    os.utime(door.box / "a.py", (1_000_000_000, 1_000_000_000))
    answer = await door.call("stat", path="a.py")
    assert answer.data == {
        "path": "a.py",
        "type": "file",
        "size": 8,
        "modified": "2001-09-09T01:46:40Z",
        "mode": "0755",
        "mime_type": "text/x-python",
        "sha256": hashlib.sha256(b"print()\n").hexdigest(),
        "uri": door.uri("a.py"),
    }
    assert answer.lines == [f"{name}: {value}" for name, value in answer.data.items()]


async def test_stat_of_the_root_tells_where_it_is(door: Door) -> None:
    answer = await door.call("stat")
    assert answer.data["path"] == "."
    assert answer.data["type"] == "directory"
    assert answer.data["root"] == str(door.box)


async def test_stat_of_a_link_tells_its_target_and_what_it_leads_to(door: Door) -> None:
    door.make({"a.txt": "abc"})
    (door.box / "link").symlink_to("a.txt")
    answer = await door.call("stat", path="link")
    assert answer.data["target"] == "a.txt"
    assert answer.data["type"] == "file"
    assert answer.data["size"] == 3


async def test_stat_of_a_link_that_leads_nowhere_or_out_still_tells_that_it_is_one(door: Door) -> None:
    (door.box / "dangling").symlink_to("missing")
    assert "[not_found]" in await door.refused("stat", path="dangling")
    (door.box / "out").symlink_to("../secret.txt")
    assert "[escapes_root]" in await door.refused("stat", path="out")


async def test_stat_counts_hard_links(door: Door) -> None:
    door.make({"a.txt": "abc"})
    os.link(door.box / "a.txt", door.box / "b.txt")
    assert (await door.call("stat", path="b.txt")).data["hard_links"] == 2


async def test_stat_does_not_open_what_is_special(door: Door) -> None:
    os.mkfifo(door.box / "fifo")
    assert (await door.call("stat", path="fifo")).data["type"] == "fifo"


async def test_stat_refuses_what_is_not_there(door: Door) -> None:
    assert "[not_found]" in await door.refused("stat", path="missing")


@pytest.mark.parametrize("cursor", ["", "zzz", "Li4vLi4vZXRj", "YQ", "IA", "!", "é"])
async def test_what_is_no_cursor_of_this_listing_is_refused(door: Door, cursor: str) -> None:
    door.make({"a": "", "b": "", "src/c": "", "src/d": ""})
    text = await door.refused("list_dir", cursor=cursor)
    assert "cursor" in text
    assert (
        text.endswith("[invalid_argument]; start again without a cursor, or with its path")
        or "no cursor of ours" in text
    )
    elsewhere = (await door.call("list_dir", limit=1)).data["next_cursor"]
    assert "no cursor of this listing" in await door.refused("list_dir", path="src", cursor=elsewhere)
    assert (await door.call("list_dir", cursor=elsewhere)).data["entries"] == ["b", "src/"]


async def test_a_long_line_says_at_which_byte_its_rest_begins(door: Door) -> None:
    line = "é" * 40_000
    door.make({"long": "\ufeff" + line + "\nnext\n"})
    answer = await door.call("read_file", path="long", line_numbers=False)
    offset = int(answer.text.partition("encoding=base64 and offset=")[2].partition(";")[0])
    rest = await door.call("read_file", path="long", encoding="base64", offset=offset)
    assert answer.texts[0].rstrip("\n").lstrip("\ufeff") + base64.b64decode(rest.texts[0]).decode() == line + "\nnext\n"


@pytest.mark.parametrize("limit", [0, -1])
async def test_no_bytes_are_no_range(door: Door, limit: int) -> None:
    door.make({"a": "abc"})
    assert "at least 1" in await door.refused("read_file", path="a", encoding="base64", limit=limit)
