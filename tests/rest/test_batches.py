"""Many files in one request, and archives of many."""

from __future__ import annotations

import base64
import gzip
import io
import os
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.rest.served import Answer, Client

TAR, GZIP, ZIP = "application/x-tar", "application/gzip", "application/zip"


def form(parts: Mapping[str, bytes], boundary: str = "b0und") -> tuple[bytes, dict[str, str]]:
    body = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="f"; filename="{name}"\r\n\r\n'.encode() + data + b"\r\n"
        for name, data in parts.items()
    )
    return body + f"--{boundary}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def tar(add: Callable[[tarfile.TarFile], None], mode: Any = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        add(archive)
    return buffer.getvalue()


def member(name: str, data: bytes = b"", **fields: Any) -> Callable[[tarfile.TarFile], None]:
    def add(archive: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        for field, value in fields.items():
            setattr(info, field, value)
        archive.addfile(info, io.BytesIO(data))

    return add


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def sent(ask: Client, body: bytes, kind: str, query: str = "") -> Answer:
    return ask("POST", f"files{query}", body, {"Content-Type": kind})


def files(box: Any) -> dict[str, bytes]:
    return {str(path.relative_to(box)): path.read_bytes() for path in box.rglob("*") if path.is_file()}


def codes(answer: Answer) -> dict[str, str | None]:
    found = answer.json()
    results = found["data"]["files"] if "data" in found else found["files"]
    return {one["path"]: one["error"]["code"] if "error" in one else None for one in results}


FILES = {"a.txt": b"one", "sub/b": b"\0\xff", "c d": b""}


@pytest.mark.parametrize("kind", ["form", "tar", "tar.gz", "zip"])
def test_many_files_arrive_in_a_directory(ask: Client, kind: str) -> None:
    if kind == "form":
        body, headers = form(FILES)
        found = ask("POST", "files?path=in", body, headers)
    elif kind == "zip":
        found = sent(ask, zipped(FILES), ZIP, "?path=in")
    else:
        body = tar(lambda archive: [member(name, data)(archive) for name, data in FILES.items()] and None)
        packed = gzip.compress(body) if kind == "tar.gz" else body
        found = sent(ask, packed, GZIP if kind == "tar.gz" else TAR, "?path=in")
    told = found.json()
    assert (found.status, told["written"], told["failed"]) == (200, 3, 0)
    assert [one["path"] for one in told["files"]] == ["in/a.txt", "in/sub/b", "in/c d"]
    assert files(ask.box) == {f"in/{name}": data for name, data in FILES.items()}


def test_json_takes_text_and_base64_and_conditions(ask: Client) -> None:
    ask("PUT", "files/old", b"old")
    found = ask.post(
        "files",
        {
            "files": [
                {"path": "a", "content": "é\n"},
                {
                    "path": "b",
                    "content": base64.b64encode(b"\0\xff").decode(),
                    "encoding": "base64",
                    "executable": True,
                },
                {"path": "c", "content": "no base64!", "encoding": "base64"},
                {"path": "old", "content": "new", "if_match": "0" * 12},
                {"path": "../out", "content": ""},
                {"path": "devbox://main/%FF", "content": "raw"},
            ]
        },
    )
    assert codes(found) == {
        "a": None, "b": None, "c": "invalid_argument", "old": "conflict", "../out": "escapes_root",
        "devbox://main/%FF": None,
    }  # fmt: skip
    assert (ask.box / "a").read_bytes() == "é\n".encode()
    assert os.stat(ask.box / "b").st_mode & 0o100
    assert (ask.box / "old").read_bytes() == b"old"
    assert b"\xff" in os.listdir(os.fsencode(ask.box))


def test_atomic_writes_all_or_none(ask: Client) -> None:
    ask("PUT", "files/old", b"old")
    batch = [{"path": "new", "content": "1"}, {"path": "old", "content": "2", "if_match": "0" * 12}]
    found = ask.post("files", {"files": batch, "atomic": True})
    assert (found.status, found.code) == (409, "conflict")
    assert codes(found) == {"new": "cancelled", "old": "conflict"}
    assert files(ask.box) == {"old": b"old"}
    body, headers = form({"new": b"1", "../x": b"2"})
    found = ask("POST", "files?atomic=true", body, headers)
    assert (found.status, found.code, files(ask.box)) == (409, "escapes_root", {"old": b"old"})
    body, headers = form({"new": b"1", "newer": b"2"})
    assert ask("POST", "files?atomic=true", body, headers).json()["written"] == 2


def test_modes_and_empty_directories_of_archives_are_kept(ask: Client) -> None:
    def add(archive: tarfile.TarFile) -> None:
        member("./run", b"#!", mode=0o755)(archive)
        member("empty/", type=tarfile.DIRTYPE)(archive)

    assert sent(ask, tar(add), TAR).json()["written"] == 2
    assert os.stat(ask.box / "run").st_mode & 0o100
    assert (ask.box / "empty").is_dir()


def test_hostile_members_of_a_tar_are_refused_one_by_one(ask: Client) -> None:
    hostile = [
        member("/abs", b"1"), member("../up", b"1"), member("a/../../up", b"1"), member("good", b"1"),
        member("link", type=tarfile.SYMTYPE, linkname="../../secret.txt"), member("link/through", b"1"),
        member("hard", type=tarfile.LNKTYPE, linkname="good"), member("dev", type=tarfile.CHRTYPE),
        member("fifo", type=tarfile.FIFOTYPE), member(".devbox-mcp-x", b"1"), member("odd\udcff", b"1"),
    ]  # fmt: skip
    found = sent(ask, tar(lambda archive: [add(archive) for add in hostile] and None), TAR)
    told = codes(found)
    assert found.status == 200
    assert {name for name, code in told.items() if code is None} == {"good", "link/through", "devbox://main/odd%FF"}
    assert told["link"] == told["hard"] == told["dev"] == told["fifo"] == "unsupported"
    assert told["/abs"] == told["../up"] == told["a/../../up"] == "escapes_root"
    assert (ask.box / "link").is_dir()
    assert (ask.box.parent / "secret.txt").read_text() == "not yours"
    assert sorted(os.listdir(ask.box.parent)) == ["audit", "box", "log", "other", "secret.txt"]


def test_hostile_members_of_a_zip_are_refused_one_by_one(ask: Client) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "../secret.txt")
        for name in ("/abs", "../up", "good", "empty/"):
            archive.writestr(name, b"" if name.endswith("/") else b"1")
        archive.writestr("packed", b"x", zipfile.ZIP_LZMA)
    data = buffer.getvalue().replace(b"good1", b"goodX")  # its checksum is now another one's
    assert codes(sent(ask, data, ZIP)) == {
        "link": "unsupported", "/abs": "escapes_root", "../up": "escapes_root", "good": "integrity", "empty": None,
        "packed": "unsupported",
    }  # fmt: skip
    assert os.listdir(ask.box) == ["empty"]


def bomb() -> bytes:
    return gzip.compress(tar(member("zeros", bytes(64 << 20))))


def tar_of_a_great_header() -> bytes:
    """A header that says it is itself followed by 64 MiB of headers."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 64 << 20
    return gzip.compress(info.tobuf() + bytes(64 << 20))


def zip_that_lies_about_its_directory() -> bytes:
    return zipped({"a": b"1"})[:-10] + struct.pack("<IIH", 1 << 30, 0, 0)


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        (GZIP, bomb(), "too_large"),
        (GZIP, tar_of_a_great_header(), "too_large"),
        (ZIP, zipped({"zeros": bytes(64 << 20)}), "too_large"),
        (ZIP, zip_that_lies_about_its_directory(), "too_large"),
        (TAR, tar(lambda archive: [member(f"f{n}")(archive) for n in range(1001)] and None), "too_large"),
        (ZIP, zipped({f"f{n}": b"" for n in range(1001)}), "too_large"),
        (TAR, b"x" * (5 << 20), "too_large"),
        (TAR, b"nonsense" * 100, "invalid_argument"),
        (TAR, b"", "invalid_argument"),
        (TAR, tar(member("a", b"x" * 2000))[:1500], "invalid_argument"),
        (GZIP, b"nonsense", "invalid_argument"),
        (GZIP, gzip.compress(tar(member("a", b"x" * 2000)))[:-30], "invalid_argument"),
        # between two members, in a head, and where only what gzip says of the whole is missing
        (TAR, tar(lambda archive: [member(name, b"x")(archive) for name in "ab"] and None)[:1024], "invalid_argument"),
        (TAR, tar(lambda archive: [member(name, b"x")(archive) for name in "ab"] and None)[:1300], "invalid_argument"),
        (GZIP, gzip.compress(tar(member("a", b"x" * 2000)))[:-6], "invalid_argument"),
        (ZIP, b"nonsense" * 10, "invalid_argument"),
        (ZIP, b"", "invalid_argument"),
        (ZIP, zipped({"a": b"1"})[:-5], "invalid_argument"),
        ("multipart/form-data", b"x", "invalid_argument"),
        ("multipart/form-data; boundary=b", b"nonsense", "invalid_argument"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: a; filename=a\r\n\r\nx", "invalid_argument"),
        ("multipart/form-data; boundary=b", b"--b\r\n" + b"A: b\r\n" * 1000, "invalid_argument"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\n\r\n" * 1002 + b"--b--", "too_large"),
    ],
    # archives hold the time they were made at, and a test has to have one name
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)  # fmt: skip
def test_what_is_no_batch_or_too_much_of_one_writes_nothing(ask: Client, kind: str, body: bytes, code: str) -> None:
    found = sent(ask, body, kind)
    assert found.code == code
    assert os.listdir(ask.box) == []


def test_another_kind_of_body_is_415(ask: Client) -> None:
    found = sent(ask, b"x", "text/plain")
    assert (found.status, found.code) == (415, "invalid_argument")


def test_a_part_without_a_name_is_refused_by_itself(ask: Client) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n'
    body += b'--b\r\nContent-Disposition: form-data; filename="q%22uote"\r\n\r\n2\r\n--b--\r\n'
    found = sent(ask, body, "multipart/form-data; boundary=b")
    assert codes(found) == {"": "invalid_argument", 'q"uote': None}


# -- archives


@pytest.fixture
def tree(ask: Client) -> Client:
    (ask.box / "d" / "e").mkdir(parents=True)
    (ask.box / "d" / "run").write_bytes(b"#!")
    (ask.box / "d" / "run").chmod(0o750)
    (ask.box / "d" / "e" / "large").write_bytes(os.urandom(1_500_000))
    (ask.box / "d" / "out").symlink_to("../../secret.txt")
    os.utime(ask.box / "d" / "run", (1_700_000_000, 1_700_000_000))
    with open(os.fsencode(ask.box) + b"/d/\xff", "wb") as odd:
        odd.write(b"odd")
    os.mkfifo(ask.box / "d" / "fifo")
    return ask


def test_a_tar_gz_keeps_links_modes_times_and_names(tree: Client) -> None:
    found = tree("GET", "archive?path=d&path=d/e&format=tar.gz")
    assert found.headers["content-type"] == "application/gzip"
    with tarfile.open(fileobj=io.BytesIO(found.body), mode="r:gz", errors="surrogateescape") as archive:
        members = {one.name: one for one in archive.getmembers()}
        assert sorted(members) == ["d", "d/e", "d/e/large", "d/out", "d/run", "d/\udcff"]
        assert (members["d/run"].mode, members["d/run"].mtime) == (0o750, 1_700_000_000)
        assert (members["d/out"].issym(), members["d/out"].linkname) == (True, "../../secret.txt")
        large = archive.extractfile("d/e/large")
        assert large is not None
        assert large.read() == (tree.box / "d/e/large").read_bytes()


def test_a_zip_keeps_them_too(tree: Client) -> None:
    found = tree.post("archive", {"paths": ["d"]})
    assert found.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(found.body)) as archive:
        assert archive.read("d/run") == b"#!"
        assert stat.S_ISLNK(archive.getinfo("d/out").external_attr >> 16)
        assert archive.read("d/out") == b"../../secret.txt"


@pytest.mark.parametrize(("kind", "media"), [("zip", ZIP), ("tar.gz", GZIP)])
def test_what_was_archived_can_be_sent_back(tree: Client, kind: str, media: str) -> None:
    (tree.box / "d" / "e" / "large").write_bytes(b"not that large")
    if kind == "zip":  # in which no name is other than text
        os.unlink(os.fsencode(tree.box) + b"/d/\xff")
    before = {name: data for name, data in files(tree.box).items() if name != "d/out"}
    found = tree("GET", f"archive?path=d&format={kind}")
    tree("DELETE", "files/d?recursive=true")
    assert {name for name, code in codes(sent(tree, found.body, media)).items() if code} == {"d/out"}
    assert files(tree.box) == before
    assert os.stat(tree.box / "d" / "run").st_mode & 0o100


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_what_cannot_be_archived_is_told_before_anything_comes(tree: Client, kind: str) -> None:
    assert tree("GET", f"archive?path=nothing&format={kind}").code == "not_found"
    assert tree("GET", f"archive?path=..&format={kind}").code == "escapes_root"
    assert tree("GET", "archive?format=zip").code == "invalid_argument"
    assert tree("GET", "archive?path=d&format=rar").code == "invalid_argument"
    (tree.box / "huge").write_bytes(bytes(7 << 20))
    assert tree("GET", f"archive?path=huge&format={kind}").code == "too_large"
