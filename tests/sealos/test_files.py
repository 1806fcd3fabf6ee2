"""Single files, by Sealos' routes."""

from __future__ import annotations

import base64
import os
import re

import pytest

from .conftest import Sealos


def test_a_listing(sealos: Sealos) -> None:
    (sealos.root / "d").mkdir()
    (sealos.root / "f.txt").write_bytes(b"12345")
    (sealos.root / "f.txt").chmod(0o640)
    (sealos.root / ".hidden").write_bytes(b"")
    (sealos.root / "l").symlink_to("d")
    told = sealos.ok(sealos.get("list", path="."))
    assert list(told) == ["files"]
    by_name = {entry["name"]: entry for entry in told["files"]}
    assert sorted(by_name) == ["d", "f.txt", "l"]
    file = by_name["f.txt"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", file.pop("modified"))
    path = f"{sealos.root}/f.txt"
    assert file == {"name": "f.txt", "path": path, "size": 5, "isDir": False, "permissions": "0640"}
    assert (by_name["d"]["isDir"], by_name["l"]["isDir"]) == (True, False)
    assert len(sealos.ok(sealos.get("list", path=".", showHidden="true"))["files"]) == 4
    assert sealos.ok(sealos.get("list"))["files"] == sealos.ok(sealos.get("list", path=str(sealos.root)))["files"]


def test_a_listing_goes_on_behind_an_offset(sealos: Sealos) -> None:
    for number in range(130):
        (sealos.root / f"f{number:03}").write_bytes(b"")
    names = [entry["name"] for entry in sealos.ok(sealos.get("list", path="."))["files"]]
    assert names == [f"f{number:03}" for number in range(100)]
    more = sealos.ok(sealos.get("list", path=".", limit=20, offset=120))["files"]
    assert [entry["name"] for entry in more] == [f"f{number:03}" for number in range(120, 130)]
    assert sealos.ok(sealos.get("list", path=".", offset=130))["files"] == []
    for odd in ("-1", "x", "99999999999"):
        sealos.refused(sealos.get("list", path=".", limit=odd), 1400)


@pytest.mark.parametrize("route", ["read", "download"])
def test_a_file_is_read(sealos: Sealos, route: str) -> None:
    data = os.urandom(3 << 20)
    (sealos.root / "a b.bin").write_bytes(data)
    for path in ("a b.bin", f"{sealos.root}/a b.bin", "./a b.bin"):
        answer = sealos.get(route, path=path)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-length"] == str(len(data))
        assert answer.content == data


def test_what_cannot_be_read_is_told_in_the_envelope(sealos: Sealos) -> None:
    (sealos.root / "d").mkdir()
    (sealos.root / "out").symlink_to("../secret")
    sealos.refused(sealos.get("read", path="none"), 1404)
    sealos.refused(sealos.get("read", path="d"), 1400)
    sealos.refused(sealos.get("read"), 1400)
    sealos.refused(sealos.get("read", path="nul\0"), 1400)
    for path in ("../x", "/etc/passwd", "d/../../x", "out"):
        sealos.refused(sealos.get("read", path=path), 1403)
    sealos.refused(sealos.get("list", path="none"), 1404)


def test_text_is_written(sealos: Sealos) -> None:
    told = sealos.ok(sealos.post("write", path="new/d/f.txt", content="Grüße ☃\n"))
    assert told == {"path": f"{sealos.root}/new/d/f.txt", "size": 12}
    assert (sealos.root / "new/d/f.txt").read_text() == "Grüße ☃\n"
    sealos.ok(sealos.post("write", path=f"{sealos.root}/new/d/f.txt", content=""))
    assert (sealos.root / "new/d/f.txt").read_bytes() == b""


def test_base64_is_written(sealos: Sealos) -> None:
    data = os.urandom(1000)
    sealos.ok(sealos.post("write", path="f", content=base64.b64encode(data).decode(), encoding="base64"))
    assert (sealos.root / "f").read_bytes() == data
    sealos.refused(sealos.post("write", path="f", content="!!!", encoding="base64"), 1400)
    sealos.refused(sealos.post("write", path="f", content="x", encoding="gbk"), 1400)
    assert (sealos.root / "f").read_bytes() == data


def test_bytes_are_written(sealos: Sealos) -> None:
    data = os.urandom(5 << 20)
    headers = {"Content-Type": "application/octet-stream"}
    answer = sealos.client.post("/api/v1/files/write", params={"path": "d/f"}, content=data, headers=headers)
    assert sealos.ok(answer) == {"path": f"{sealos.root}/d/f", "size": len(data)}
    assert (sealos.root / "d/f").read_bytes() == data
    sealos.refused(sealos.client.post("/api/v1/files/write", content=data, headers=headers), 1400)


def test_a_part_of_a_file_does_not_become_the_whole(sealos: Sealos) -> None:
    (sealos.root / "f").write_bytes(b"0123456789")
    part = {"Content-Range": "bytes 8-9/10"}
    for body in ({"content": b"89"}, {"json": {"path": "f", "content": "89"}}, {"files": {"file": ("f", b"89")}}):
        answer = sealos.client.post("/api/v1/files/write", params={"path": "f"}, headers=part, **body)
        assert "the whole file" in sealos.refused(answer, 1400)
    assert (sealos.root / "f").read_bytes() == b"0123456789"


def test_a_form_is_written(sealos: Sealos) -> None:
    data = os.urandom(3 << 20)
    answer = sealos.client.post("/api/v1/files/write", data={"path": "d/f"}, files={"file": ("other", data)})
    assert sealos.ok(answer) == {"path": f"{sealos.root}/d/f", "size": len(data)}
    assert (sealos.root / "d/f").read_bytes() == data
    answer = sealos.client.post("/api/v1/files/write", files={"file": ("by name", b"x")})
    assert sealos.ok(answer) == {"path": f"{sealos.root}/by name", "size": 1}
    sealos.refused(sealos.client.post("/api/v1/files/write", data={"path": "x"}, files={"odd": ("f", b"x")}), 1400)


@pytest.mark.parametrize(("behind", "said"), [("path", "path before file"), ("file", "more than one file")])
def test_what_comes_behind_the_file_of_a_form_is_refused_before_it_is_written(
    sealos: Sealos, behind: str, said: str
) -> None:
    (sealos.root / "q").write_bytes(b"old")
    for size in (3, 3 << 20):
        form = [("file", ("q", os.urandom(size))), (behind, (None, b"elsewhere"))]
        assert said in sealos.refused(sealos.client.post("/api/v1/files/write", files=form), 1400)
    assert [(path.name, path.read_bytes()) for path in sealos.root.iterdir()] == [("q", b"old")]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"nonsense"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\ncut'),
        ("multipart/form-data; boundary=x", b"--x\r\n" + b"A: " + b"b" * 40_000 + b"\r\n\r\n--x--\r\n"),
        ("multipart/form-data; boundary=" + "x" * 100, b""),
        ("application/json", b""),
        ("application/json", b"{"),
        ("application/json", b"[]"),
        ("application/json", b'{"path": 1, "content": "x"}'),
        ("application/json", b'{"content": "x"}'),
        ("application/json", b'{"path": "x"}'),
        ("application/json", b'{"path": "", "content": "x"}'),
        ("application/json", b'{"path": "x", "content": "\\ud800"}'),
        ("application/json", b"[" * 100_000),
    ],
)
def test_a_body_that_makes_no_sense_is_refused(sealos: Sealos, kind: str, data: bytes) -> None:
    answer = sealos.client.post("/api/v1/files/write", content=data, headers={"Content-Type": kind})
    sealos.refused(answer, 1400)
    assert list(sealos.root.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file(sealos: Sealos) -> None:
    (sealos.root / "f").write_bytes(b"old")
    headers = {"Content-Type": "application/octet-stream"}
    large = b"x" * ((20 << 20) + 1)
    sealos.refused(sealos.client.post("/api/v1/files/write?path=f", content=large, headers=headers), 1422)
    sealos.refused(sealos.client.post("/api/v1/files/write", data={"path": "f"}, files={"file": ("f", large)}), 1422)
    cut = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\ncut'
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    sealos.refused(sealos.client.post("/api/v1/files/write", content=cut, headers=form), 1400)
    assert (sealos.root / "f").read_bytes() == b"old"
    for path in ("../x", "/tmp/x"):
        sealos.refused(sealos.post("write", path=path, content="x"), 1403)


def test_files_are_deleted(sealos: Sealos) -> None:
    sealos.post("write", path="d/f", content="x")
    sealos.refused(sealos.post("delete", path="d"), 1409)
    assert sealos.ok(sealos.post("delete", path="d/f")) == {"success": True}
    sealos.post("write", path="d/g", content="x")
    assert sealos.ok(sealos.post("delete", path="d", recursive=True)) == {"success": True}
    sealos.refused(sealos.post("delete", path="d"), 1404)
    sealos.refused(sealos.post("delete", path=".", recursive=True), 1400)
    sealos.refused(sealos.post("delete", path="/etc/hosts"), 1403)


def test_files_are_moved_and_renamed(sealos: Sealos) -> None:
    sealos.post("write", path="a", content="a")
    sealos.post("write", path="b", content="b")
    sealos.refused(sealos.post("move", source="a", destination="b"), 1409)
    sealos.refused(sealos.post("move", source="a", destination="b", overwrite=False), 1409)
    assert sealos.ok(sealos.post("move", source="a", destination="b", overwrite=True)) == {"success": True}
    assert sealos.ok(sealos.post("rename", oldPath="b", newPath="new/c")) == {"success": True}
    assert (sealos.root / "new/c").read_bytes() == b"a"
    sealos.refused(sealos.post("rename", oldPath="b", newPath="d"), 1404)
    sealos.refused(sealos.post("rename", oldPath="new/c", newPath="../c"), 1403)
    sealos.refused(sealos.post("rename", oldpath="new/c", newPath="c"), 1400)


def test_modes_are_set(sealos: Sealos) -> None:
    sealos.post("write", path="d/f", content="x")
    for mode in ("755", "0755", "0o755"):
        (sealos.root / "d/f").chmod(0o600)
        assert sealos.ok(sealos.post("chmod", path="d/f", mode=mode)) == {"success": True}
        assert (sealos.root / "d/f").stat().st_mode & 0o777 == 0o755
    sealos.ok(sealos.post("chmod", path="d", mode="700", recursive=True))
    assert (sealos.root / "d/f").stat().st_mode & 0o777 == 0o700
    for mode in ("", "rwx", "999", "-1", "777777"):
        sealos.refused(sealos.post("chmod", path="d/f", mode=mode), 1400)
    sealos.refused(sealos.post("chmod", path="none", mode="755"), 1404)
    # nobody's files are given away
    sealos.refused(sealos.post("chmod", path="d/f", mode="755", owner="0:0"), 1422)
    assert (sealos.root / "d/f").stat().st_mode & 0o777 == 0o700
