"""Many files at once, and what is found in them."""

from __future__ import annotations

import email
import email.policy
import io
import os
import tarfile

import httpx2
import pytest

from .conftest import Sealos


def upload(sealos: Sealos, files: list[tuple[str, bytes]], field: str = "files") -> httpx2.Response:
    """Upload as the SDK does: first a field that the server does not need, then every file by its path."""
    parts = [(field, (name, data, "application/octet-stream")) for name, data in files]
    return sealos.client.post("/api/v1/files/batch-upload", data={"targetDir": "src"}, files=parts)


@pytest.mark.parametrize("field", ["files", "file"])
def test_many_files_are_uploaded(sealos: Sealos, field: str) -> None:
    large = os.urandom(3 << 20)
    told = sealos.ok(upload(sealos, [("src/a.txt", b"a"), (f"{sealos.root}/src/d/b", large), ("empty", b"")], field))
    assert told == {
        "results": [
            {"path": f"{sealos.root}/src/a.txt", "success": True, "size": 1},
            {"path": f"{sealos.root}/src/d/b", "success": True, "size": len(large)},
            {"path": f"{sealos.root}/empty", "success": True, "size": 0},
        ],
        "totalFiles": 3,
        "successCount": 3,
    }
    assert (sealos.root / "src/d/b").read_bytes() == large


def test_one_that_fails_leaves_the_others_alone(sealos: Sealos) -> None:
    (sealos.root / "d").mkdir()
    large = b"x" * ((20 << 20) + 1)
    told = sealos.ok(upload(sealos, [("../out", b"x"), ("d", b"x"), ("huge", large), ("good", b"x")]))
    assert [result["success"] for result in told["results"]] == [False, False, False, True]
    assert (told["totalFiles"], told["successCount"]) == (4, 1)
    assert all(result["error"] for result in told["results"] if not result["success"])
    assert sorted(path.name for path in sealos.root.iterdir()) == ["d", "good"]
    assert not (sealos.root.parent / "out").exists()


@pytest.mark.parametrize("name", ["ümlaut ☃", 'quo"te', "semi;colon", "percent%20", "back\\slash"])
def test_odd_names_are_uploaded(sealos: Sealos, name: str) -> None:
    written = name.replace('"', "%22")  # as FormData writes it
    body = (
        f'--x\r\nContent-Disposition: form-data; name="files"; filename="{written}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\ndata\r\n--x--\r\n"
    ).encode()
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    sealos.ok(sealos.client.post("/api/v1/files/batch-upload", content=body, headers=headers))
    assert [path.name for path in sealos.root.iterdir()] == [name]


def test_what_is_no_form_is_refused(sealos: Sealos) -> None:
    sealos.refused(sealos.post("batch-upload", files=[]), 1400)
    sealos.refused(sealos.client.post("/api/v1/files/batch-upload", content=b"x"), 1400)
    assert sealos.ok(upload(sealos, [("x", b"")], "odd"))["totalFiles"] == 0


@pytest.fixture
def tree(sealos: Sealos) -> dict[str, bytes]:
    files = {"a.txt": b"a", "d/b.bin": os.urandom(700_000), "d/e/c": b"", "beside": b"x"}
    for path, data in files.items():
        (sealos.root / path).parent.mkdir(parents=True, exist_ok=True)
        (sealos.root / path).write_bytes(data)
    (sealos.root / "d/b.bin").chmod(0o640)
    (sealos.root / "d/l").symlink_to("../a.txt")
    return files


@pytest.mark.parametrize(
    ("wanted", "kind"),
    [
        (None, "application/gzip"),
        ("tar.gz", "application/gzip"),
        ("direct", "application/gzip"),
        ("tar", "application/x-tar"),
    ],
)
def test_many_files_are_downloaded_as_a_tar(
    sealos: Sealos, tree: dict[str, bytes], wanted: str | None, kind: str
) -> None:
    answer = sealos.post("batch-download", paths=["a.txt", f"{sealos.root}/d"], format=wanted)
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    with tarfile.open(fileobj=io.BytesIO(answer.content), mode="r:gz" if "gzip" in kind else "r:") as packed:
        members = {member.name: member for member in packed}
        assert sorted(members) == ["a.txt", "d", "d/b.bin", "d/e", "d/e/c", "d/l"]
        for name in ("a.txt", "d/b.bin", "d/e/c"):
            read = packed.extractfile(members[name])
            assert read is not None
            assert read.read() == tree[name]
        assert members["d/b.bin"].mode == 0o640
        assert members["d/l"].linkname == "../a.txt"


@pytest.mark.parametrize("wanted", ["multipart", "mixed"])
def test_many_files_are_downloaded_as_parts(sealos: Sealos, tree: dict[str, bytes], wanted: str) -> None:
    answer = sealos.post("batch-download", paths=["d", "a.txt"], format=wanted)
    assert answer.headers["content-type"].startswith("multipart/mixed; boundary=")
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.content, policy=email.policy.HTTP)
    got = {part.get_filename(): part.get_payload(decode=True) for part in message.iter_parts()}
    assert got == {f"{sealos.root}/{name}": tree[name] for name in ("a.txt", "d/b.bin", "d/e/c")}


def test_nothing_as_parts_is_a_message_too(sealos: Sealos) -> None:
    (sealos.root / "d").mkdir()
    answer = sealos.post("batch-download", paths=["d"], format="multipart")
    boundary = answer.headers["content-type"].partition("boundary=")[2]
    assert answer.content == f"--{boundary}--\r\n".encode()


def test_a_download_of_what_is_missing_is_refused(sealos: Sealos, tree: dict[str, bytes]) -> None:
    sealos.refused(sealos.post("batch-download", paths=["a.txt", "none"]), 1404)
    sealos.refused(sealos.post("batch-download", paths=[]), 1400)
    sealos.refused(sealos.post("batch-download", paths=["a.txt", "/etc"]), 1403)


# -- searching


def test_files_are_searched_by_name(sealos: Sealos) -> None:
    for path in ("src/Main.py", "src/main_test.py", "docs/domain.md", "other", "a*b", "[x]", "Ünder"):
        sealos.post("write", path=path, content="")
    (sealos.root / "link-main").symlink_to("other")
    (sealos.root / "main").mkdir()

    def search(pattern: str, directory: str = ".") -> list[str]:
        files = sealos.ok(sealos.post("search", dir=directory, pattern=pattern))["files"]
        return sorted(path.removeprefix(f"{sealos.root}/") for path in files)

    assert search("main") == ["docs/domain.md", "src/Main.py", "src/main_test.py"]
    assert search("MAIN", "src") == search("main", f"{sealos.root}/src") == ["src/Main.py", "src/main_test.py"]
    assert (search("*"), search("[x"), search("üN"), search("a/b")) == (["a*b"], ["[x]"], ["Ünder"], [])
    assert search(".py", "") == ["src/Main.py", "src/main_test.py"]
    sealos.refused(sealos.post("search", dir=".", pattern=""), 1400)
    sealos.refused(sealos.post("search", dir="none", pattern="x"), 1404)
    sealos.refused(sealos.post("search", dir="other", pattern="x"), 1400)
    sealos.refused(sealos.post("search", dir="..", pattern="x"), 1403)


def test_files_are_found_by_what_is_in_them(sealos: Sealos) -> None:
    sealos.post("write", path="a", content="one\nneedle (x)\nneedle (x)\n")
    sealos.post("write", path="d/b", content="needle (x)")
    sealos.post("write", path="c", content="needle")
    (sealos.root / "binary").write_bytes(b"\0needle (x)")
    found = sealos.ok(sealos.post("find", dir=".", keyword="needle (x)"))["files"]
    assert sorted(found) == [f"{sealos.root}/a", f"{sealos.root}/d/b"]
    assert sealos.ok(sealos.post("find", dir="d", keyword="NEEDLE")) == {"files": []}
    sealos.refused(sealos.post("find", dir=".", keyword=""), 1400)


def test_a_file_with_more_matches_than_a_page_is_found_once(sealos: Sealos) -> None:
    sealos.post("write", path="many", content="needle\n" * 2500)
    sealos.post("write", path="one", content="needle\n")
    assert len(sealos.ok(sealos.post("find", dir=".", keyword="needle"))["files"]) == 2


def test_texts_are_replaced(sealos: Sealos) -> None:
    sealos.post("write", path="a", content="old old\nold\n")
    sealos.post("write", path="b", content="nothing")
    (sealos.root / "binary").write_bytes(b"\xff\xfeold")
    files = ["a", f"{sealos.root}/b", "binary", "none"]
    body = {"files": files, "from": "old", "to": "new"}
    results = sealos.ok(sealos.post("replace", **body))["results"]
    assert [(one["file"], one["status"], one["replacements"]) for one in results] == [
        ("a", "success", 3),
        (files[1], "skipped", 0),
        ("binary", "skipped", 0),
        ("none", "error", 0),
    ]
    assert "error" in results[2]
    assert "error" in results[3]
    assert (sealos.root / "a").read_text() == "new new\nnew\n"
    assert (sealos.root / "binary").read_bytes() == b"\xff\xfeold"
    again = sealos.ok(sealos.post("replace", **{**body, "from": "new", "to": "new", "files": ["a", "none"]}))["results"]
    assert [one["status"] for one in again] == ["skipped", "error"]


def test_a_replacement_that_makes_no_sense_changes_nothing(sealos: Sealos) -> None:
    sealos.post("write", path="a", content="old")
    sealos.refused(sealos.post("replace", **{"files": ["a"], "from": "", "to": "new"}), 1400)
    sealos.refused(sealos.post("replace", **{"files": ["a", "../b"], "from": "old", "to": "new"}), 1403)
    sealos.refused(sealos.post("replace", files=["a"], to="new"), 1400)
    assert (sealos.root / "a").read_text() == "old"


def test_json_of_more_values_than_anything_takes_is_refused_unread(sealos: Sealos) -> None:
    answer = sealos.client.post(
        "/api/v1/files/replace",
        content=b'{"files": [' + b"[]," * 100_000 + b"[]]}",
        headers={"Content-Type": "application/json"},
    )
    assert "more than 100000 values" in sealos.refused(answer, 1400)
