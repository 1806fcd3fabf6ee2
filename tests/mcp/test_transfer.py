"""upload_batch and download_zip."""

import base64
import hashlib
import io
import json
import os
import stat
import zipfile

import mcp_types as types
import pytest

from tests.mcp.door import Answer, Door


def short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


# -- upload_batch


async def test_a_batch_is_written_with_a_result_for_each(door: Door) -> None:
    files = [
        {"path": "a/b.txt", "content": "text\n"},
        {"path": "c.bin", "content": base64.b64encode(b"\0\1").decode(), "encoding": "base64"},
        {"path": "run.sh", "content": "#!/bin/sh\n", "executable": True},
    ]
    answer = await door.call("upload_batch", files=files)
    assert answer.data == {
        "written": 3,
        "failed": 0,
        "files": [
            {"path": "a/b.txt", "ok": True, "sha256": short(b"text\n")},
            {"path": "c.bin", "ok": True, "sha256": short(b"\0\1")},
            {"path": "run.sh", "ok": True, "sha256": short(b"#!/bin/sh\n")},
        ],
    }
    assert answer.lines == [
        "3 written, 0 failed",
        *(f"{file['path']}: sha256 {file['sha256']}" for file in answer.data["files"]),
    ]
    assert (door.box / "c.bin").read_bytes() == b"\0\1"
    assert (door.box / "run.sh").stat().st_mode & 0o111


BAD = [
    ({"path": "../out.txt", "content": "x"}, "escapes_root"),
    ({"path": "", "content": "x"}, "invalid_argument"),
    ({"path": "dir", "content": "x"}, "is_directory"),
    ({"path": "a.bin", "content": "!", "encoding": "base64"}, "invalid_argument"),
    ({"path": "old.txt", "content": "x", "if_match": "0" * 12}, "conflict"),
    ({"path": "old.txt", "content": "x", "if_match": "short"}, "invalid_argument"),
    ({"path": "old.txt/x", "content": "x"}, "not_directory"),
]


@pytest.mark.parametrize(("bad", "code"), BAD)
@pytest.mark.parametrize("first", [True, False], ids=["bad first", "bad last"])
async def test_one_bad_file_does_not_stop_the_others(door: Door, bad: dict[str, str], code: str, first: bool) -> None:
    door.make({"old.txt": "old", "dir": None})
    good = {"path": "good.txt", "content": "good"}
    answer = await door.call("upload_batch", files=[bad, good] if first else [good, bad])
    assert (answer.data["written"], answer.data["failed"]) == (1, 1)
    by_path = {file["path"]: file for file in answer.data["files"]}
    assert by_path["good.txt"]["ok"] is True
    failed = by_path[bad["path"]]
    assert failed["ok"] is False
    assert f"[{code}]" in failed["error"]
    if code == "conflict":
        assert short(b"old") in failed["error"]
    assert (door.box / "good.txt").read_text() == "good"
    assert (door.box / "old.txt").read_text() == "old"


@pytest.mark.parametrize(("bad", "code"), BAD)
async def test_atomic_writes_all_or_none(door: Door, bad: dict[str, str], code: str) -> None:
    door.make({"old.txt": "old", "dir": None, "changed.txt": "before"})
    files = [{"path": "new/good.txt", "content": "good"}, {"path": "changed.txt", "content": "after"}, bad]
    answer = await door.mixed_or_refused("upload_batch", files=files, atomic=True)
    assert answer.result.is_error
    assert f"[{code}]" in answer.text
    assert sorted(os.listdir(door.box)) == ["changed.txt", "dir", "old.txt"]
    assert (door.box / "changed.txt").read_text() == "before"
    good = files[:2]
    await door.call("upload_batch", files=good, atomic=True)
    assert (door.box / "changed.txt").read_text() == "after"


async def test_when_all_fail_the_result_is_an_error_with_each_reason(door: Door) -> None:
    answer = await door.mixed("upload_batch", files=[{"path": "../a", "content": ""}, {"path": "", "content": ""}])
    assert answer.result.is_error
    assert answer.data["written"] == 0
    assert answer.data["failed"] == 2
    assert "[escapes_root]" in answer.text
    assert "[invalid_argument]" in answer.text


async def test_files_sent_as_json_text_are_taken_and_their_content_is_verbatim(door: Door) -> None:
    files = [{"path": "a.json", "content": '{"a":1}'}, {"path": "b.json", "content": "[1]"}]
    await door.call("upload_batch", files=json.dumps(files))
    assert (door.box / "a.json").read_text() == '{"a":1}'
    assert (door.box / "b.json").read_text() == "[1]"


@pytest.mark.parametrize(
    ("files", "advice"),
    [
        ([], "files"),
        ([{"path": "a"}], "files.0.content"),
        ([{"path": "a", "content": 1}], "files.0.content"),
        ([{"path": "a", "content": "", "mode": "append"}], "files.0.mode"),
        ("[not json", "files"),
    ],
)
async def test_a_batch_that_is_none_is_refused_before_anything_is_written(
    door: Door, files: object, advice: str
) -> None:
    text = await door.refused("upload_batch", files=files)
    assert "[invalid_argument]" in text
    assert advice in text


async def test_too_many_files_or_bytes_are_refused_with_the_way_that_works(door: Door) -> None:
    many = [{"path": f"f{number}", "content": ""} for number in range(1001)]
    text = await door.refused("upload_batch", files=many)
    assert "[too_large]" in text
    assert "1000" in text
    assert "several batches" in text
    big = [{"path": f"f{number}", "content": "x" * (11 * 1024 * 1024)} for number in range(3)]
    assert "[too_large]" in await door.refused("upload_batch", files=big)
    assert os.listdir(door.box) == []


async def test_a_full_batch_is_written(door: Door) -> None:
    files = [{"path": f"d{number % 10}/f{number}", "content": str(number)} for number in range(1000)]
    answer = await door.call("upload_batch", files=files)
    assert answer.data["written"] == 1000
    assert all((door.box / file["path"]).read_text() == file["content"] for file in files)


# -- download_zip


def opened(data: bytes) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.testzip() is None
    return archive


def embedded(answer: Answer) -> bytes:
    resource = answer.only(types.EmbeddedResource).resource
    assert isinstance(resource, types.BlobResourceContents)
    assert resource.mime_type == "application/zip"
    return base64.b64decode(resource.blob)


async def test_a_small_zip_comes_in_the_result_with_modes_times_and_links(door: Door) -> None:
    door.make({"src/a.py": "print()\n", "src/sub/run.sh": "#!/bin/sh\n", "src/empty": None, "other.txt": "no"})
    (door.box / "src/sub/run.sh").chmod(0o755)
    os.utime(door.box / "src/a.py", (1_000_000_000, 1_000_000_000))
    (door.box / "src/inside").symlink_to("a.py")
    (door.box / "src/outside").symlink_to("../../secret.txt")
    answer = await door.call("download_zip", paths=["src"])
    with opened(embedded(answer)) as archive:
        files = {info.filename: info for info in archive.infolist()}
        assert sorted(files) == ["src/", "src/a.py", "src/empty/", "src/inside", "src/outside", "src/sub/",
                                 "src/sub/run.sh"]  # fmt: skip
        assert archive.read("src/a.py") == b"print()\n"
        assert files["src/sub/run.sh"].external_attr >> 16 & 0o777 == 0o755
        for name, target in [("src/inside", b"a.py"), ("src/outside", b"../../secret.txt")]:
            assert stat.S_ISLNK(files[name].external_attr >> 16)
            assert archive.read(name) == target
        assert files["src/a.py"].date_time[0] == 2001
    assert "zip of 4 files" in answer.text
    assert b"not yours" not in embedded(answer)


async def test_everything_and_several_paths_can_be_packed(door: Door) -> None:
    door.make({"a.txt": "a", "d/b.txt": "b", "e/c.txt": "c"})
    with opened(embedded(await door.call("download_zip", paths=["."]))) as archive:
        assert [name for name in archive.namelist() if not name.endswith("/")] == ["a.txt", "d/b.txt", "e/c.txt"]
    with opened(embedded(await door.call("download_zip", paths=["a.txt", "e"]))) as archive:
        assert [name for name in archive.namelist() if not name.endswith("/")] == ["a.txt", "e/c.txt"]
    with opened(embedded(await door.call("download_zip", paths='["d/b.txt"]'))) as archive:
        assert archive.namelist()[-1] == "d/b.txt"


async def test_the_same_path_twice_or_within_another_is_packed_once(door: Door) -> None:
    door.make({"d/b.txt": "b"})
    with opened(embedded(await door.call("download_zip", paths=["d", "d", "d/b.txt", "./d/"]))) as archive:
        assert archive.namelist().count("d/b.txt") == 1


async def test_what_is_special_is_left_out_and_named(door: Door) -> None:
    door.make({"d/a.txt": "a"})
    os.mkfifo(door.box / "d/pipe")
    answer = await door.call("download_zip", paths=["d"])
    assert "1 left out" in answer.text
    assert "d/pipe" in answer.text
    with opened(embedded(answer)) as archive:
        assert "d/pipe" not in archive.namelist()


async def test_a_bigger_zip_is_a_link_that_is_read_in_pieces(door: Door) -> None:
    data = os.urandom(900_000)
    door.make({"big/data.bin": data})
    answer = await door.call("download_zip", paths=["big"])
    link = answer.only(types.ResourceLink)
    assert link.mime_type == "application/zip"
    assert link.size is not None
    assert "?offset=0&length=262144" in answer.text
    pieces = []
    for offset in range(0, link.size, 262_144):
        (piece,) = (await door.client.read_resource(f"{link.uri}?offset={offset}&length=262144")).contents
        assert isinstance(piece, types.BlobResourceContents)
        pieces.append(base64.b64decode(piece.blob))
    whole = b"".join(pieces)
    assert len(whole) == link.size
    with opened(whole) as archive:
        assert archive.read("big/data.bin") == data


@pytest.mark.parametrize(
    ("paths", "code"),
    [
        ([], "invalid_argument"),
        (["missing"], "not_found"),
        (["a.txt", "../secret.txt"], "escapes_root"),
        (["out/secret.txt"], "escapes_root"),
        ([""], "invalid_argument"),
        ("a.txt", "invalid_argument"),
        ([1], "invalid_argument"),
    ],
)
async def test_what_cannot_be_packed_is_refused(door: Door, paths: object, code: str) -> None:
    door.make({"a.txt": "a"})
    (door.box / "out").symlink_to("..")
    assert f"[{code}]" in await door.refused("download_zip", paths=paths)
