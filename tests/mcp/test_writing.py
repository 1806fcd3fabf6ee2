"""write_file and edit_file."""

import base64
import hashlib
import os
import stat

import pytest

from tests.mcp.door import Door


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# -- write_file


async def test_a_file_is_written_with_its_parents_and_the_hash_comes_back(door: Door) -> None:
    answer = await door.call("write_file", path="a/b/c.txt", content="hello\n")
    assert (door.box / "a/b/c.txt").read_bytes() == b"hello\n"
    assert answer.data == {"path": "a/b/c.txt", "sha256": sha256(b"hello\n"), "size": 6, "created": True}
    assert answer.text == f"created a/b/c.txt [6 bytes · sha256 {sha256(b'hello' + bytes([10]))}]"
    again = await door.call("write_file", path="a/b/c.txt", content="bye\n")
    assert again.data["created"] is False
    assert again.text.startswith("replaced a/b/c.txt")


@pytest.mark.parametrize(
    "content",
    [
        '{"a":1}',
        "[1]",
        '["x"]',
        "null",
        "123",
        "true",
        '"quoted"',
        "",
        "no newline",
        "\r\nmixed\n\rends",
        "\ufeffmark",
        "naïve ☃ 𝄞",
        "a\0b",
        "$(touch pwned) `id` \"'; rm -rf /",
        "trailing \t\n\n",
    ],
)
async def test_content_is_written_exactly_as_given(door: Door, content: str) -> None:
    await door.call("write_file", path="a.txt", content=content)
    assert (door.box / "a.txt").read_bytes() == content.encode()


async def test_bytes_come_as_base64_with_line_breaks_allowed(door: Door) -> None:
    data = os.urandom(300)
    await door.call("write_file", path="a.bin", content=base64.encodebytes(data).decode(), encoding="base64")
    assert (door.box / "a.bin").read_bytes() == data


@pytest.mark.parametrize("content", ["!!!", "YQ", "YQ=", "a", "YWJj=", "gr\u00fcn"])
async def test_what_is_not_base64_is_refused(door: Door, content: str) -> None:
    text = await door.refused("write_file", path="a.bin", content=content, encoding="base64")
    assert "not valid base64" in text
    assert "[invalid_argument]" in text
    assert not (door.box / "a.bin").exists()


async def test_create_leaves_what_is_there(door: Door) -> None:
    door.make({"a.txt": "old"})
    text = await door.refused("write_file", path="a.txt", content="new", mode="create")
    assert "[exists]" in text
    assert (door.box / "a.txt").read_text() == "old"
    assert (await door.call("write_file", path="b.txt", content="new", mode="create")).data["created"] is True


async def test_append_adds_at_the_end_and_hashes_the_whole(door: Door) -> None:
    door.make({"log.txt": "one\n"})
    answer = await door.call("write_file", path="log.txt", content="two\n", mode="append")
    assert (door.box / "log.txt").read_text() == "one\ntwo\n"
    assert answer.data == {"path": "log.txt", "sha256": sha256(b"one\ntwo\n"), "size": 8, "created": False}
    assert answer.text.startswith("appended to log.txt")
    assert (await door.call("write_file", path="new.txt", content="x", mode="append")).data["created"] is True


@pytest.mark.parametrize("digits", [12, 20, 64])
async def test_if_match_takes_a_prefix_of_what_is_there(door: Door, digits: int) -> None:
    door.make({"a.txt": "old"})
    await door.call("write_file", path="a.txt", content="new", if_match=sha256(b"old")[:digits])
    assert (door.box / "a.txt").read_text() == "new"


async def test_a_stale_if_match_tells_the_current_hash_and_the_difference(door: Door) -> None:
    door.make({"a.txt": "mine\ncommon\n"})
    text = await door.refused("write_file", path="a.txt", content="yours\ncommon\n", if_match=sha256(b"stale"))
    assert "[conflict]" in text
    assert f"if_match of what is there now: {sha256(b'mine' + bytes([10]) + b'common' + bytes([10]))[:12]}" in text
    assert "-mine\n+yours\n common" in text
    assert (door.box / "a.txt").read_text() == "mine\ncommon\n"


@pytest.mark.parametrize("if_match", ["", "abc", "0" * 11, "0" * 65, "g" * 12, "A" * 12, "*"])
async def test_what_cannot_be_an_if_match_is_refused(door: Door, if_match: str) -> None:
    door.make({"a.txt": "old"})
    for tool, arguments in [
        ("write_file", {"content": "new"}),
        ("edit_file", {"edits": [{"old_text": "old", "new_text": "new"}]}),
        ("delete", {}),
    ]:
        text = await door.refused(tool, path="a.txt", if_match=if_match, **arguments)
        assert "[invalid_argument]" in text
        assert "12 to 64" in text
    assert (door.box / "a.txt").read_text() == "old"


async def test_if_match_never_matches_what_is_not_there(door: Door) -> None:
    text = await door.refused("write_file", path="a.txt", content="new", if_match="0" * 12)
    assert "[conflict]" in text
    assert "does not exist" in text


async def test_executable_sets_and_clears_the_bit_and_otherwise_the_mode_stays(door: Door) -> None:
    await door.call("write_file", path="run.sh", content="#!/bin/sh\n", executable=True)
    assert (door.box / "run.sh").stat().st_mode & 0o111
    (door.box / "run.sh").chmod(0o750)
    await door.call("write_file", path="run.sh", content="#!/bin/sh\necho\n")
    assert stat.S_IMODE((door.box / "run.sh").stat().st_mode) == 0o750
    await door.call("write_file", path="run.sh", content="text\n", executable=False)
    assert not (door.box / "run.sh").stat().st_mode & 0o111


async def test_a_write_through_a_link_writes_its_target(door: Door) -> None:
    door.make({"real.txt": "old"})
    (door.box / "link").symlink_to("real.txt")
    await door.call("write_file", path="link", content="new")
    assert (door.box / "link").is_symlink()
    assert (door.box / "real.txt").read_text() == "new"


async def test_a_broken_hard_link_is_told_and_in_place_keeps_it(door: Door) -> None:
    door.make({"a.txt": "old"})
    os.link(door.box / "a.txt", door.box / "b.txt")
    kept = await door.call("write_file", path="a.txt", content="kept", in_place=True)
    assert (door.box / "b.txt").read_text() == "kept"
    assert "note" not in kept.data
    broken = await door.call("write_file", path="a.txt", content="new")
    assert (door.box / "b.txt").read_text() == "kept"
    assert "1 other hard link" in broken.data["note"]
    assert broken.data["note"] in broken.text


@pytest.mark.parametrize(
    ("arguments", "code", "advice"),
    [
        ({"path": "dir"}, "is_directory", ""),
        ({"path": "."}, "is_directory", ""),
        ({"path": "a.txt/b"}, "not_directory", ""),
        ({"path": ""}, "invalid_argument", "use . for the root"),
        ({"path": "../pwned"}, "escapes_root", "relative to the root"),
        ({"path": "/tmp/pwned-by-devbox"}, "escapes_root", "relative to the root"),
        ({"path": "out/pwned"}, "escapes_root", ""),
        ({"path": "outfile"}, "escapes_root", ""),
        ({"path": "fifo"}, "unsupported", ""),
        ({"path": "x" * 256}, "invalid_argument", "too long"),
        ({"path": "dir/"}, "is_directory", ""),
    ],
)
async def test_what_cannot_be_written_is_refused(
    door: Door, arguments: dict[str, object], code: str, advice: str
) -> None:
    door.make({"a.txt": "a\n", "dir/b.txt": "b\n"})
    (door.box / "out").symlink_to("..")
    (door.box / "outfile").symlink_to("../pwned")
    os.mkfifo(door.box / "fifo")
    before = sorted(os.listdir(door.box.parent))
    text = await door.refused("write_file", content="x", **arguments)
    assert f"[{code}]" in text
    assert advice in text
    assert sorted(os.listdir(door.box.parent)) == before
    assert sorted(os.listdir(door.box)) == ["a.txt", "dir", "fifo", "out", "outfile"]


async def test_too_much_at_once_is_refused_with_the_way_that_works(door: Door) -> None:
    part = "x" * (6 * 1024 * 1024)
    text = await door.refused("write_file", path="big.txt", content=part + part)
    assert "[too_large]" in text
    assert "10485760" in text
    assert "mode=append" in text
    await door.call("write_file", path="big.txt", content=part)
    answer = await door.call("write_file", path="big.txt", content=part, mode="append")
    assert answer.data["size"] == 2 * len(part)
    assert answer.data["sha256"] == sha256((part + part).encode())


# -- edit_file


async def test_an_edit_answers_with_a_diff_and_the_new_hash(door: Door) -> None:
    door.make({"a.py": "one\ntwo\nthree\n"})
    answer = await door.call("edit_file", path="a.py", edits=[{"old_text": "two", "new_text": "2"}])
    new = b"one\n2\nthree\n"
    assert (door.box / "a.py").read_bytes() == new
    assert answer.data["replacements"] == 1
    assert answer.data["dry_run"] is False
    assert answer.data["sha256"] == sha256(new)
    assert "-two\n+2\n three" in answer.data["diff"]
    assert "@@ -1,3 +1,3 @@" in answer.data["diff"]
    assert answer.text == f"{answer.data['diff']}\n[1 replacement · sha256 {sha256(new)[:12]}]"


async def test_edits_apply_in_order_each_to_what_the_ones_before_left(door: Door) -> None:
    door.make({"a.txt": "a b\n"})
    edits = [{"old_text": "a", "new_text": "b"}, {"old_text": "b b", "new_text": "c"}]
    await door.call("edit_file", path="a.txt", edits=edits)
    assert (door.box / "a.txt").read_text() == "c\n"


async def test_all_edits_or_none(door: Door) -> None:
    door.make({"a.txt": "one\ntwo\n"})
    edits = [{"old_text": "one", "new_text": "1"}, {"old_text": "absent", "new_text": "x"}]
    text = await door.refused("edit_file", path="a.txt", edits=edits)
    assert "[edit_mismatch]" in text
    assert (door.box / "a.txt").read_text() == "one\ntwo\n"


async def test_what_is_not_found_is_answered_with_the_closest_place(door: Door) -> None:
    door.make({"a.py": "import os\n\n\ndef greet(name):\n    return f'hello {name}'\n"})
    old = "def greet(nam):\n    return f'hello {nam}'\n"
    text = await door.refused("edit_file", path="a.py", edits=[{"old_text": old, "new_text": ""}])
    assert "[edit_mismatch]" in text
    assert "def greet(name):" in text
    assert "4" in text


async def test_what_is_found_more_than_once_is_answered_with_how_often_and_where(door: Door) -> None:
    door.make({"a.txt": "x = 1\ny = 2\nx = 1\nz\nx = 1\n"})
    text = await door.refused("edit_file", path="a.txt", edits=[{"old_text": "x = 1", "new_text": "x = 2"}])
    assert "[edit_mismatch]" in text
    assert "3" in text
    for line in ("1", "3", "5"):
        assert line in text
    assert "replace_all" in text
    answer = await door.call(
        "edit_file", path="a.txt", edits=[{"old_text": "x = 1", "new_text": "x = 2", "replace_all": True}]
    )
    assert answer.data["replacements"] == 3
    assert (door.box / "a.txt").read_text() == "x = 2\ny = 2\nx = 2\nz\nx = 2\n"


async def test_a_dry_run_shows_and_changes_nothing(door: Door) -> None:
    door.make({"a.txt": "one\n"})
    before = (door.box / "a.txt").stat()
    answer = await door.call("edit_file", path="a.txt", edits=[{"old_text": "one", "new_text": "1"}], dry_run=True)
    assert answer.data["dry_run"] is True
    assert "sha256" not in answer.data
    assert "-one\n+1" in answer.data["diff"]
    assert f"would make 1 replacement · unchanged, sha256 {sha256(b'one' + bytes([10]))[:12]}" in answer.text
    after = (door.box / "a.txt").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_stale_if_match_stops_an_edit_and_tells_hash_and_difference(door: Door, dry_run: bool) -> None:
    door.make({"a.txt": "one\ntwo\n"})
    before = (door.box / "a.txt").stat()
    text = await door.refused(
        "edit_file",
        path="a.txt",
        edits=[{"old_text": "one", "new_text": "1"}],
        if_match=sha256(b"stale")[:12],
        dry_run=dry_run,
    )
    assert "[conflict]" in text
    assert f"if_match of what is there now: {sha256(b'one' + bytes([10]) + b'two' + bytes([10]))[:12]}" in text
    assert "-one\n+1\n two" in text
    after = (door.box / "a.txt").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


async def test_mode_and_links_survive_an_edit(door: Door) -> None:
    door.make({"real.sh": "one\n"})
    (door.box / "real.sh").chmod(0o751)
    (door.box / "link").symlink_to("real.sh")
    await door.call("edit_file", path="link", edits=[{"old_text": "one", "new_text": "1"}])
    assert (door.box / "link").is_symlink()
    assert (door.box / "real.sh").read_text() == "1\n"
    assert stat.S_IMODE((door.box / "real.sh").stat().st_mode) == 0o751


async def test_new_text_takes_the_dominant_line_ending(door: Door) -> None:
    door.make({"dos.txt": b"a\r\nb\r\nc\r\n"})
    await door.call("edit_file", path="dos.txt", edits=[{"old_text": "b\n", "new_text": "x\ny\n"}])
    assert (door.box / "dos.txt").read_bytes() == b"a\r\nx\r\ny\r\nc\r\n"


async def test_an_edit_of_a_file_that_is_not_utf8_keeps_its_other_bytes_or_refuses(door: Door) -> None:
    old = b"gr\xfcn\nblue\n"
    door.make({"latin.txt": old})
    result = await door.client.call_tool(
        "edit_file", {"path": "latin.txt", "edits": [{"old_text": "blue", "new_text": "red"}]}
    )
    wanted = old if result.is_error else b"gr\xfcn\nred\n"
    assert (door.box / "latin.txt").read_bytes() == wanted


async def test_edits_sent_as_json_text_are_taken(door: Door) -> None:
    door.make({"a.txt": "one\n"})
    await door.call("edit_file", path="a.txt", edits='[{"old_text": "one", "new_text": "{\\"a\\":1}"}]')
    assert (door.box / "a.txt").read_text() == '{"a":1}\n'


@pytest.mark.parametrize(
    ("arguments", "code", "advice"),
    [
        ({"path": "missing.txt"}, "not_found", "list_dir"),
        ({"path": "dir"}, "is_directory", "list_dir"),
        ({"path": "fifo"}, "unsupported", ""),
        ({"path": "../secret.txt"}, "escapes_root", "relative to the root"),
        ({"path": "a.txt", "edits": []}, "invalid_argument", "edits"),
        ({"path": "a.txt", "edits": [{"old_text": "", "new_text": "x"}]}, "", "old_text"),
        ({"path": "a.txt", "edits": [{"old_text": "a"}]}, "invalid_argument", "edits.0.new_text"),
        ({"path": "a.txt", "edits": [{"old_text": "a", "new_text": "b", "all": True}]}, "invalid_argument", "all"),
        ({"path": "a.txt", "edits": "not json"}, "invalid_argument", "edits"),
        ({"path": "a.txt", "edits": [{"old_text": "a", "new_text": "a"}]}, "", ""),
    ],
)
async def test_what_cannot_be_edited_is_refused(
    door: Door, arguments: dict[str, object], code: str, advice: str
) -> None:
    door.make({"a.txt": "a\n", "dir": None})
    os.mkfifo(door.box / "fifo")
    text = await door.refused("edit_file", **{"edits": [{"old_text": "a", "new_text": "b"}], **arguments})
    assert f"{code}]" in text
    assert advice in text
    assert (door.box / "a.txt").read_text() == "a\n"


async def test_a_file_too_large_to_edit_is_refused_with_the_way_that_works(door: Door) -> None:
    door.make({"big.txt": "x" * (10 * 1024 * 1024 + 1)})
    text = await door.refused("edit_file", path="big.txt", edits=[{"old_text": "x", "new_text": "y"}])
    assert "[too_large]" in text
    assert "10485760" in text
    assert "program in the sandbox" in text


async def test_a_long_diff_is_cut_and_says_so(door: Door) -> None:
    door.make({"a.txt": "".join(f"old {number}\n" for number in range(20_000))})
    answer = await door.call(
        "edit_file", path="a.txt", edits=[{"old_text": "old", "new_text": "new", "replace_all": True}]
    )
    assert answer.data["replacements"] == 20_000
    assert len(answer.text) < 80_000
    assert "more lines of diff" in answer.text


async def test_a_path_that_says_directory_is_not_made_a_file(door: Door) -> None:
    for path in ("d/", "a/b//", f"{door.box}/d/", "devbox://box/d/"):
        text = await door.refused("write_file", path=path, content="x")
        assert "a path that ends in / names a directory [is_directory]; leave the / out" in text
    answer = await door.call("upload_batch", files=[{"path": "d/", "content": "x"}, {"path": "e", "content": "y"}])
    assert answer.data["failed"] == 1
    assert "names a directory" in answer.data["files"][0]["error"]
    assert os.listdir(door.box) == ["e"]


async def test_an_error_of_an_edit_speaks_of_the_edit(door: Door) -> None:
    edits = [{"old_text": "a", "new_text": "b"}]
    assert (await door.refused("edit_file", path="none", edits=edits)).startswith("edit none: ")
    (door.box / "d").mkdir()
    assert (await door.refused("edit_file", path="d", edits=edits)).startswith("edit d: ")


async def test_an_unknown_name_within_an_edit_is_answered_with_those_that_it_has(door: Door) -> None:
    door.make({"a": "x"})
    text = await door.refused("edit_file", path="a", edits=[{"oldText": "x", "newText": "y"}])
    assert "there is no argument 'edits.0.oldText'; one of edits takes old_text, new_text, replace_all" in text
    text = await door.refused("upload_batch", files=[{"path": "a", "content": "x", "bogus": 1}])
    assert "one of files takes path, content, encoding, executable, if_match" in text
    text = await door.refused("edit_file", path="a", edits=[{"old_text": "x", "new_text": "y"}], bogus=1)
    assert "there is no argument 'bogus'; edit_file takes path, edits, if_match" in text
