"""The fsspec file system: fsspec's own tests, and the programs that people use it with."""

from __future__ import annotations

import gc
import os
import pickle
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import pandas as pd
import pytest
from fsspec.tests.abstract import (
    AbstractCopyTests,
    AbstractFixtures,
    AbstractGetTests,
    AbstractOpenTests,
    AbstractPipeTests,
    AbstractPutTests,
)

from devbox_mcp import Devbox
from devbox_mcp.filesystem import DevboxFileSystem


class Fixtures(AbstractFixtures):
    """fsspec's scenarios, in a directory of the devbox."""

    @pytest.fixture
    def fs(self, box: Devbox) -> DevboxFileSystem:
        return DevboxFileSystem(box)

    @pytest.fixture
    def fs_path(self) -> str:
        return "scenario"

    @pytest.fixture
    def fs_join(self) -> Any:
        return lambda *parts: "/".join(parts)


class TestCopy(Fixtures, AbstractCopyTests):
    pass


class TestGet(Fixtures, AbstractGetTests):
    pass


class TestPut(Fixtures, AbstractPutTests):
    pass


class TestOpen(Fixtures, AbstractOpenTests):
    pass


class TestPipe(Fixtures, AbstractPipeTests):
    pass


@pytest.fixture
def options(devbox: str) -> dict[str, Any]:
    return {"box": devbox}


@pytest.fixture
def fs(options: dict[str, Any]) -> Iterator[DevboxFileSystem]:
    fs = fsspec.filesystem("devbox", **options)
    yield fs
    fs.box.close()


def test_pandas_reads_and_writes(options: dict[str, Any], root: Path) -> None:
    frame = pd.DataFrame({"x": [1, 2], "y": ["a", "é"]})
    frame.to_csv("devbox://data/x.csv", index=False, storage_options=options)
    assert (root / "data" / "x.csv").read_text() == "x,y\n1,a\n2,é\n"
    pd.testing.assert_frame_equal(pd.read_csv("devbox://data/x.csv", storage_options=options), frame)
    pd.testing.assert_frame_equal(pd.read_csv("devbox:///data/x.csv", storage_options=options), frame)
    frame.to_csv("devbox://data/x.csv", mode="a", header=False, index=False, storage_options=options)
    assert len(pd.read_csv("devbox://data/x.csv", storage_options=options)) == 4
    frame.to_json("devbox://data/x.jsonl", orient="records", lines=True, storage_options=options)
    pd.testing.assert_frame_equal(pd.read_json("devbox://data/x.jsonl", lines=True, storage_options=options), frame)
    frame.to_csv("devbox://data/x.csv.gz", index=False, storage_options=options)
    pd.testing.assert_frame_equal(pd.read_csv("devbox://data/x.csv.gz", storage_options=options), frame)
    frame.to_pickle("devbox://data/x.pickle", storage_options=options)
    pd.testing.assert_frame_equal(pd.read_pickle("devbox://data/x.pickle", storage_options=options), frame)
    with pytest.raises(FileNotFoundError):
        pd.read_csv("devbox://missing.csv", storage_options=options)


def test_duckdb_queries_and_writes(fs: DevboxFileSystem, root: Path) -> None:
    rows = 50_000
    fs.pipe({f"data/{part}.csv": ("x,y\n" + "".join(f"{n},{part}\n" for n in range(rows))).encode() for part in "ab"})
    with duckdb.connect() as database:
        database.register_filesystem(fs)
        found = database.sql("SELECT y, count(*), sum(x) FROM 'devbox://data/*.csv' GROUP BY y ORDER BY y").fetchall()
        assert found == [(part, rows, sum(range(rows))) for part in "ab"]
        database.sql("COPY (SELECT 42 AS answer) TO 'devbox://out/answer.csv'")
        assert (root / "out" / "answer.csv").read_text() == "answer\n42\n"
        database.sql("COPY (SELECT range AS n FROM range(100000)) TO 'devbox://out/n.parquet' (FORMAT parquet)")
        assert database.sql("SELECT sum(n) FROM 'devbox://out/n.parquet'").fetchall() == [(sum(range(100_000)),)]


def test_open_and_urls(options: dict[str, Any], root: Path) -> None:
    with fsspec.open("devbox://d/a.txt", "w", **options) as file:
        file.write("hé\n")
    with fsspec.open("devbox://d/a.txt", "rt", encoding="utf-8", **options) as file:
        assert file.read() == "hé\n"
    with fsspec.open("devbox://d/a.txt", "rb", **options) as file:
        assert file.size == 4
    files = fsspec.open_files("devbox://d/*.txt", **options)
    assert [file.path for file in files] == ["d/a.txt"]
    fs, path = fsspec.url_to_fs("devbox://d/a.txt", **options)
    assert (path, fs.cat(path)) == ("d/a.txt", "hé\n".encode())
    assert fs.unstrip_protocol(path) == "devbox://d/a.txt"
    with zipfile.ZipFile(root / "z.zip", "w") as archive:
        archive.writestr("x.csv", "x\n1\n")
    frame = pd.read_csv("zip://x.csv::devbox://z.zip", storage_options={"devbox": options})
    assert frame["x"].tolist() == [1]


def test_the_usual_operations(fs: DevboxFileSystem, root: Path) -> None:
    fs.makedirs("a/b")
    with pytest.raises(FileExistsError):
        fs.makedirs("a/b")
    fs.makedirs("a/b", exist_ok=True)
    with pytest.raises(FileNotFoundError):
        fs.mkdir("no/parent", create_parents=False)
    fs.pipe_file("a/b/c", b"0123456789")
    with fs.open("a/b/c", "ab") as file:
        assert file.tell() == 10
        file.write(b"x")
    assert fs.cat_file("a/b/c", 2, 5) == b"234"
    assert fs.cat_file("a/b/c", -3) == b"89x"
    assert fs.cat_file("a/b/c", 3, -5) == b"345"
    assert fs.cat_file("a/b/c", 5, 3) == b""
    got = fs.cat_ranges(["a/b/c", "missing", "a/b/c"], [0, 0, 5], [2, 2, 7])
    assert (got[0], type(got[1]), got[2]) == (b"01", FileNotFoundError, b"56")
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges(["missing"], 0, 2, on_error="raise")
    os.symlink("b", root / "a" / "link")
    os.symlink("nowhere", root / "a" / "dangling")
    assert fs.ls("a", detail=False) == ["a/b", "a/dangling", "a/link"]
    assert {entry["name"]: (entry["type"], entry["islink"]) for entry in fs.ls("a")} == {
        "a/b": ("directory", False), "a/dangling": ("symlink", True), "a/link": ("directory", True),
    }  # fmt: skip


def test_finding_moving_and_removing(fs: DevboxFileSystem, root: Path) -> None:
    fs.pipe_file("a/b/c", b"0123456789x")
    os.symlink("nowhere", root / "a" / "dangling")
    assert fs.ls("a/b/c", detail=False) == ["a/b/c"]
    info = fs.info("a/b/c")
    assert (info["name"], info["type"], info["size"]) == ("a/b/c", "file", 11)
    assert fs.info("")["type"] == "directory"
    assert fs.glob("**/c") == ["a/b/c"]
    assert fs.find("") == ["a/b/c", "a/dangling"]
    assert fs.du("a/b") == 11
    assert fs.exists("a/b/c")
    assert not fs.exists("nothing")
    fs.mv("a/b/c", "a/d")
    fs.mv("a/d", "a/b/")
    fs.mv("a/b", "moved", recursive=True)
    assert fs.cat("moved/d") == b"0123456789x"
    fs.cp("moved", "copied", recursive=True)
    assert fs.cat("copied/d") == b"0123456789x"
    with pytest.raises(OSError, match="not empty"):
        fs.rmdir("moved")
    fs.rm("moved", recursive=True)
    fs.rm("copied/*")
    fs.rmdir("copied")
    fs.rm("a", recursive=True)
    assert fs.ls("") == []
    fs.touch("empty")
    assert fs.size("empty") == 0
    assert fs.modified("empty").timestamp() == pytest.approx((root / "empty").stat().st_mtime)
    before = fs.ukey("empty")
    fs.pipe_file("empty", b"x")
    assert fs.ukey("empty") != before
    assert len(fs.checksum("empty")) == 64


def test_errors_are_those_that_fsspec_users_expect(fs: DevboxFileSystem, root: Path) -> None:
    (root / "d").mkdir()
    for path, error in {"missing": FileNotFoundError, "d": IsADirectoryError, "../x": PermissionError}.items():
        with pytest.raises(error) as caught:
            fs.open(path)
        assert caught.value.__cause__ is not None
        assert caught.value.filename == path
    with pytest.raises(ValueError, match="which devbox"):
        fsspec.filesystem("devbox")
    with pytest.raises(NotImplementedError):
        fs.start_transaction()
    with pytest.raises(NotImplementedError), fs.transaction:
        raise AssertionError("the block is not begun")


@pytest.mark.parametrize("mode", ["w", "wb"])
def test_a_block_that_raises_leaves_the_old_file(fs: DevboxFileSystem, root: Path, mode: str) -> None:
    (root / "a").write_text("old")

    def write_half() -> None:
        with fs.open("a", mode) as file:
            file.write(b"half" if "b" in mode else "half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert (root / "a").read_text() == "old"


@pytest.mark.parametrize("how", [{"mode": "w"}, {"mode": "wb"}, {"mode": "w", "compression": "gzip"}])
def test_a_block_of_fsspec_that_raises_leaves_the_old_file(
    options: dict[str, Any], root: Path, how: dict[str, Any]
) -> None:
    (root / "a").write_text("old")

    def write(text: str, error: type[Exception] | None) -> None:
        with fsspec.open("devbox://a", **how, **options) as file:
            file.write(text.encode() if how["mode"] == "wb" else text)
            if error is not None:
                raise error

    with pytest.raises(ZeroDivisionError):
        write("half", ZeroDivisionError)
    assert (root / "a").read_text() == "old"
    try:
        write("half", ZeroDivisionError)
    except ZeroDivisionError:
        write("whole", None)  # while another error is looked after
    with fsspec.open("devbox://a", "r", compression=how.get("compression"), **options) as file:
        assert file.read() == "whole"


def test_instances_do_not_outlive_their_credentials(devbox: str) -> None:
    first = fsspec.filesystem("devbox", box=devbox, api_key="one-secret")
    second = fsspec.filesystem("devbox", box=devbox, api_key="one-secret")
    assert first is not second
    assert "one-secret" not in repr(first) + str(first) + first.fsid
    assert "one-secret" not in first.to_json(include_password=False)


def test_a_file_system_goes_with_its_last_file_and_nobody_is_warned(options: dict[str, Any], root: Path) -> None:
    (root / "a").write_bytes(b"x" * 1_000_000)
    before = set(threading.enumerate())
    file = fsspec.open("devbox://a", **options).open()
    gc.collect()
    assert len(file.read()) == 1_000_000
    ours = set(threading.enumerate()) - before
    assert ours
    del file
    gc.collect()
    for thread in ours:
        thread.join(timeout=30)
    assert not [thread for thread in ours if thread.is_alive()]


def test_other_processes_make_their_own(options: dict[str, Any], root: Path) -> None:
    fs = fsspec.filesystem("devbox", **options)
    fs.pipe_file("a", b"x")
    assert pickle.loads(pickle.dumps(fs)).cat_file("a") == b"x"
