"""make_dir, delete, move, copy and chmod."""

import hashlib
import os
import stat

import pytest

from tests.mcp.door import Door


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def names(door: Door) -> list[str]:
    return sorted(os.path.relpath(os.path.join(base, name), door.box) for base, directories, files in os.walk(door.box)
                  for name in (*directories, *files))  # fmt: skip


# -- make_dir


async def test_a_directory_is_made_with_its_parents_once(door: Door) -> None:
    first = await door.call("make_dir", path="a/b/c")
    assert first.data == {"path": "a/b/c", "created": True}
    assert first.text == "created a/b/c"
    again = await door.call("make_dir", path="a/b/c")
    assert again.data == {"path": "a/b/c", "created": False}
    assert again.text == "was there: a/b/c"
    assert (door.box / "a/b/c").is_dir()


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("a.txt", "exists"),
        ("a.txt/b", "not_directory"),
        ("../made", "escapes_root"),
        ("out/made", "escapes_root"),
        ("", "invalid_argument"),
        (".devbox-mcp-x", "invalid_argument"),
    ],
)
async def test_what_cannot_be_made_is_refused(door: Door, path: str, code: str) -> None:
    door.make({"a.txt": ""})
    (door.box / "out").symlink_to("..")
    assert f"[{code}]" in await door.refused("make_dir", path=path)
    assert not (door.box.parent / "made").exists()


# -- delete


async def test_a_file_a_link_and_an_empty_directory_are_deleted(door: Door) -> None:
    door.make({"a.txt": "a", "empty": None, "kept.txt": "k"})
    (door.box / "link").symlink_to("kept.txt")
    (door.box / "out").symlink_to("..")
    for path in ("a.txt", "empty", "link", "out"):
        answer = await door.call("delete", path=path)
        assert answer.data == {"path": path, "entries": 1}
        assert answer.text == f"deleted {path}"
    assert names(door) == ["kept.txt"]
    assert (door.box.parent / "secret.txt").exists()


async def test_a_directory_with_entries_needs_recursive(door: Door) -> None:
    door.make({"d/a.txt": "a", "d/e/b.txt": "b"})
    (door.box / "d/out").symlink_to("..")
    text = await door.refused("delete", path="d")
    assert "[not_empty]" in text
    assert "recursive=true" in text
    assert len(names(door)) == 5
    answer = await door.call("delete", path="d", recursive=True)
    assert answer.data == {"path": "d", "entries": 5}
    assert "5 entries" in answer.text
    assert names(door) == []
    assert (door.box.parent / "secret.txt").exists()


async def test_delete_compares_the_version(door: Door) -> None:
    door.make({"a.txt": "now"})
    text = await door.refused("delete", path="a.txt", if_match=sha256(b"then"))
    assert "[conflict]" in text
    assert f"if_match of what is there now: {sha256(b'now')[:12]}" in text
    await door.call("delete", path="a.txt", if_match=sha256(b"now")[:12])
    assert names(door) == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"path": "."}, "invalid_argument"),
        ({"path": ".", "recursive": True}, "invalid_argument"),
        ({"path": "missing"}, "not_found"),
        ({"path": ".."}, "escapes_root"),
        ({"path": "../secret.txt"}, "escapes_root"),
        ({"path": "out/secret.txt"}, "escapes_root"),
        ({"path": ""}, "invalid_argument"),
    ],
)
async def test_what_cannot_be_deleted_is_refused(door: Door, arguments: dict[str, object], code: str) -> None:
    door.make({"a.txt": ""})
    (door.box / "out").symlink_to("..")
    assert f"[{code}]" in await door.refused("delete", **arguments)
    assert names(door) == ["a.txt", "out"]
    assert (door.box.parent / "secret.txt").exists()


async def test_the_root_by_its_absolute_path_is_not_deleted_either(door: Door) -> None:
    door.make({"a.txt": ""})
    assert "[invalid_argument]" in await door.refused("delete", path=str(door.box), recursive=True)
    assert names(door) == ["a.txt"]


# -- move and copy


async def test_a_move_makes_the_parents_and_says_both_names(door: Door) -> None:
    door.make({"a.txt": "a"})
    answer = await door.call("move", source="a.txt", destination="x/y/b.txt")
    assert answer.data == {"source": "a.txt", "destination": "x/y/b.txt", "type": "file"}
    assert answer.text == "moved file a.txt to x/y/b.txt"
    assert names(door) == ["x", "x/y", "x/y/b.txt"]


async def test_a_directory_moves_whole_and_a_link_itself(door: Door) -> None:
    door.make({"d/e/a.txt": "a"})
    (door.box / "link").symlink_to("../secret.txt")
    assert (await door.call("move", source="d", destination="f")).data["type"] == "directory"
    assert (await door.call("move", source="link", destination="l")).data["type"] == "symlink"
    assert names(door) == ["f", "f/e", "f/e/a.txt", "l"]


async def test_a_copy_leaves_the_source_and_keeps_modes_and_links(door: Door) -> None:
    door.make({"d/run.sh": "#!/bin/sh\n"})
    (door.box / "d/run.sh").chmod(0o750)
    (door.box / "d/out").symlink_to("../../secret.txt")
    answer = await door.call("copy", source="d", destination="e")
    assert answer.data == {"source": "d", "destination": "e", "type": "directory"}
    assert answer.text == "copied directory d to e"
    assert stat.S_IMODE((door.box / "e/run.sh").stat().st_mode) == 0o750
    assert os.readlink(door.box / "e/out") == "../../secret.txt"
    assert (door.box / "d/run.sh").exists()


@pytest.mark.parametrize("tool", ["move", "copy"])
async def test_what_is_at_the_destination_stays_unless_told(door: Door, tool: str) -> None:
    door.make({"a.txt": "a", "b.txt": "b"})
    text = await door.refused(tool, source="a.txt", destination="b.txt")
    assert "[exists]" in text
    assert "overwrite" in text
    assert (door.box / "b.txt").read_text() == "b"
    await door.call(tool, source="a.txt", destination="b.txt", overwrite=True)
    assert (door.box / "b.txt").read_text() == "a"


@pytest.mark.parametrize("tool", ["move", "copy"])
@pytest.mark.parametrize(
    ("source", "destination", "code"),
    [
        ("missing", "b", "not_found"),
        ("d", "d/e", "invalid_argument"),
        (".", "x", "invalid_argument"),
        ("a.txt", "../pwned", "escapes_root"),
        ("../secret.txt", "stolen", "escapes_root"),
        ("a.txt", "out/pwned", "escapes_root"),
        ("out/secret.txt", "stolen", "escapes_root"),
        ("a.txt", "d/b.txt/c", "not_directory"),
        ("a.txt", "", "invalid_argument"),
    ],
)
async def test_what_cannot_be_moved_or_copied_is_refused(
    door: Door, tool: str, source: str, destination: str, code: str
) -> None:
    door.make({"a.txt": "a", "d/b.txt": "b"})
    (door.box / "out").symlink_to("..")
    before = names(door)
    assert f"[{code}]" in await door.refused(tool, source=source, destination=destination)
    assert names(door) == before
    assert not (door.box.parent / "pwned").exists()


async def test_move_compares_the_version(door: Door) -> None:
    door.make({"a.txt": "now"})
    text = await door.refused("move", source="a.txt", destination="b.txt", if_match=sha256(b"then")[:12])
    assert "[conflict]" in text
    assert sha256(b"now")[:12] in text
    await door.call("move", source="a.txt", destination="b.txt", if_match=sha256(b"now")[:12])
    assert names(door) == ["b.txt"]


# -- chmod


@pytest.mark.parametrize(("mode", "bits"), [("644", 0o644), ("0755", 0o755), ("0o600", 0o600)])
async def test_the_mode_is_set(door: Door, mode: str, bits: int) -> None:
    door.make({"a.txt": "a"})
    (door.box / "a.txt").chmod(0o777)
    answer = await door.call("chmod", path="a.txt", mode=mode)
    assert answer.data == {"path": "a.txt", "mode": f"{bits:04o}", "changed": 1}
    assert answer.text == f"mode {bits:04o}: a.txt"
    assert stat.S_IMODE((door.box / "a.txt").stat().st_mode) == bits
    assert (await door.call("chmod", path="a.txt", mode=mode)).data["changed"] == 0


async def test_recursive_chmod_counts_and_never_follows_links(door: Door) -> None:
    door.make({"d/a.txt": "a", "d/e/b.txt": "b"})
    (door.box / "d/out").symlink_to("../../secret.txt")
    before = (door.box.parent / "secret.txt").stat().st_mode
    answer = await door.call("chmod", path="d", mode="700", recursive=True)
    assert answer.data["changed"] == 4
    assert "4 entries" in answer.text
    assert (door.box.parent / "secret.txt").stat().st_mode == before


@pytest.mark.parametrize("mode", ["", "u+x", "999", "7", "4755", "2755", "77777", "-644", "0x1ff", "644\n"])
async def test_what_is_no_mode_is_refused(door: Door, mode: str) -> None:
    door.make({"a.txt": "a"})
    before = (door.box / "a.txt").stat().st_mode
    text = await door.refused("chmod", path="a.txt", mode=mode)
    assert "[invalid_argument]" in text
    assert (door.box / "a.txt").stat().st_mode == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("tool", ["move", "copy"])
async def test_a_directory_at_the_destination_is_said_with_the_way_into_it(
    door: Door, tool: str, *, overwrite: bool
) -> None:
    door.make({"a.txt": "x", "d/keep": "y"})
    text = await door.refused(tool, source="a.txt", destination="d", overwrite=overwrite)
    assert text.endswith("a directory is there; to put a.txt into it, the destination is d/a.txt")
    await door.call(tool, source="a.txt", destination="d/a.txt", overwrite=overwrite)


@pytest.mark.parametrize("tool", ["move", "copy"])
async def test_a_file_does_not_go_where_the_path_says_directory(door: Door, tool: str) -> None:
    door.make({"a.txt": "x", "d/f": "y"})
    for destination in ("q/", f"{door.box}/q/"):
        text = await door.refused(tool, source="a.txt", destination=destination)
        assert text.endswith(f"to put it there, the destination is {destination}a.txt")
    assert not (door.box / "q").exists()
    await door.call(tool, source="d", destination="q/")
    assert (door.box / "q/f").read_text() == "y"
