"""Zips: read back by Python and by unzip, compared with the tree that they were made of."""

import io
import os
import shutil
import socket
import stat
import subprocess
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from devbox_mcp.guest.archive import Zip
from devbox_mcp.guest.beneath import Root
from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.job import Job
from devbox_mcp.guest.policy import Policy

MUCH = 1 << 30


@pytest.fixture
def top(root):
    return Path(root.path)


def pack(root, *paths, max_bytes=MUCH, max_files=1000, job=None):
    made = Zip(root, paths or (".",), job or Job(), max_bytes=max_bytes, max_files=max_files)
    made.data = b"".join(made)
    return made


def opened(made):
    return zipfile.ZipFile(io.BytesIO(made.data))


def names(made):
    with opened(made) as archive:
        assert archive.testzip() is None
        return archive.namelist()


def contents(made):
    with opened(made) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def mode_of(info):
    return info.external_attr >> 16


def fill(top):
    (top / "src" / "deep").mkdir(parents=True)
    (top / "src" / "app.py").write_bytes(b"print()\n" * 100)
    (top / "src" / "deep" / "data.bin").write_bytes(os.urandom(300_000))
    (top / "src" / "deep" / "empty").write_bytes(b"")
    (top / "src" / "void").mkdir()
    (top / "notes.txt").write_bytes(b"notes\n")


def test_everything_beneath_the_root_in_order(root, top):
    fill(top)
    made = pack(root)
    assert names(made) == [
        "notes.txt", "src/", "src/app.py", "src/deep/", "src/deep/data.bin", "src/deep/empty", "src/void/",
    ]  # fmt: skip
    for name, data in contents(made).items():
        assert data == (b"" if name.endswith("/") else (top / name).read_bytes())
    assert made.files == 4
    assert made.bytes == 6 + 800 + 300_000
    assert made.skipped == []
    assert pack(root).data == made.data


def test_an_empty_root(root):
    made = pack(root)
    assert names(made) == []
    assert (made.files, made.bytes) == (0, 0)


def test_what_is_selected_twice_or_within_is_packed_once(root, top):
    fill(top)
    (top / "link").symlink_to("src")
    made = pack(root, "src/deep/empty", "src", "notes.txt", "src", "link/app.py", "src/deep")
    assert names(made) == [
        "notes.txt", "src/", "src/app.py", "src/deep/", "src/deep/data.bin", "src/deep/empty", "src/void/",
    ]  # fmt: skip
    assert made.skipped == []
    assert names(pack(root, "src/deep/empty", "link/app.py")) == ["src/app.py", "src/deep/empty"]
    made = pack(root, ".", "src")
    assert names(made) == names(pack(root))
    assert made.skipped == []


def test_a_name_that_only_begins_like_a_selected_one(root, top):
    for name in ("a", "a-b", "ab"):
        (top / name).mkdir()
        (top / name / "f").write_bytes(b"")
    assert names(pack(root, "a", "ab/f", "a-b")) == ["a/", "a/f", "a-b/", "a-b/f", "ab/f"]


def test_modes_and_kinds(root, top):
    (top / "run").write_bytes(b"#!/bin/sh\n")
    (top / "run").chmod(0o755)
    (top / "secret").write_bytes(b"")
    (top / "secret").chmod(0o600)
    (top / "d").mkdir()
    (top / "d").chmod(0o750)
    (top / "link").symlink_to("run")
    with opened(pack(root)) as archive:
        assert mode_of(archive.getinfo("run")) == stat.S_IFREG | 0o755
        assert mode_of(archive.getinfo("secret")) == stat.S_IFREG | 0o600
        assert mode_of(archive.getinfo("d/")) == stat.S_IFDIR | 0o750
        assert archive.getinfo("d/").external_attr & 0x10
        assert stat.S_ISLNK(mode_of(archive.getinfo("link")))


def test_links_are_stored_and_never_followed(root, top, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret").write_bytes(b"secret")
    (top / "d").mkdir()
    (top / "d" / "out").symlink_to(outside)
    (top / "d" / "file").symlink_to(outside / "secret")
    (top / "d" / "loop").symlink_to("../d")
    (top / "d" / "dangling").symlink_to("gr\u00fcn")
    made = pack(root)
    assert contents(made) == {
        "d/": b"",
        "d/dangling": "gr\u00fcn".encode(),
        "d/file": str(outside / "secret").encode(),
        "d/loop": b"../d",
        "d/out": str(outside).encode(),
    }
    assert made.files == 4
    named = pack(root, "d/loop", "d/out")
    assert contents(named) == {"d/loop": b"../d", "d/out": str(outside).encode()}
    with pytest.raises(GuestError) as caught:
        pack(root, "d/out/secret")
    assert caught.value.code == "escapes_root"


def timestamp(info):
    """Return the seconds of the extended timestamp, None without one."""
    extra = info.extra
    while extra:
        kind, length = int.from_bytes(extra[:2], "little"), int.from_bytes(extra[2:4], "little")
        if kind == 0x5455:
            assert extra[4] == 1
            return int.from_bytes(extra[5:9], "little", signed=True)
        extra = extra[4 + length :]
    return None


@pytest.mark.parametrize(
    ("seconds", "local"),
    [
        (1_700_000_001, None),
        (0, (1980, 1, 1, 0, 0, 0)),
        (-86_400 * 365, (1980, 1, 1, 0, 0, 0)),
        (2**31 + 2, None),
        (4_400_000_000, (2107, 12, 31, 23, 59, 58)),
    ],
)
def test_times(root, top, seconds, local):
    (top / "f").write_bytes(b"")
    os.utime(str(top / "f"), (seconds, seconds))
    if (top / "f").stat().st_mtime != seconds:
        pytest.skip("this file system cannot hold such a time")
    with opened(pack(root)) as archive:
        info = archive.getinfo("f")
    year, month, day, hour, minute, second = time.localtime(seconds)[:6]
    assert info.date_time == (local or (year, month, day, hour, minute, second // 2 * 2))
    assert timestamp(info) == (seconds if seconds < 2**31 else None)


def test_special_and_unreadable_files_are_skipped(root, top):
    (top / "d").mkdir()
    (top / "d" / "f").write_bytes(b"f")
    os.mkfifo(str(top / "d" / "fifo"))
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(str(top / "d"), os.O_RDONLY)
        try:
            server.bind("/proc/self/fd/%d/socket" % here)
        finally:
            os.close(here)
    made = pack(root)
    assert contents(made) == {"d/": b"", "d/f": b"f"}
    assert made.skipped == ["d/fifo", "d/socket"]
    named = pack(root, "d/fifo", "d/f")
    assert (names(named), named.skipped) == (["d/f"], ["d/fifo"])


@pytest.fixture
def nobody():
    """Give up root's power to read everything, for a while."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.fixture
def forbidden(top):
    """Make a file and a directory that only their owner may read, the way to them open."""
    for directory in (top, top.parent, top.parent.parent):
        if not os.geteuid():
            directory.chmod(0o755)
    (top / "hidden").mkdir()
    (top / "hidden" / "f").write_bytes(b"")
    (top / "f").write_bytes(b"f")
    (top / "g").write_bytes(b"g")
    (top / "hidden").chmod(0)
    (top / "f").chmod(0)
    yield
    (top / "hidden").chmod(0o755)


def test_what_may_not_be_read_is_skipped(root, top, forbidden, nobody):
    made = pack(root)
    assert names(made) == ["g", "hidden/"]
    assert made.skipped == ["f", "hidden"]
    made = pack(root, "hidden", "f")
    assert names(made) == ["hidden/"]
    assert sorted(made.skipped) == ["f", "hidden"]


def test_denied_and_own_names_are_left_out(tmp_path):
    root = Root(str(tmp_path), Policy(deny=["*.key", "private"]))
    try:
        (tmp_path / "private").mkdir()
        for name in ("a.key", "private/f", "b", ".devbox-mcp-part-1"):
            (tmp_path / name).write_bytes(b"")
        made = pack(root)
        assert names(made) == ["b"]
        assert made.skipped == []
        for name in ("a.key", "private/f"):
            with pytest.raises(GuestError) as caught:
                pack(root, name)
            assert caught.value.code == "denied"
    finally:
        root.close()


def test_names(root, top):
    odd = ["-n", "a b", "gr\u00fcn", "\u6f22\u5b57", "new\nline", "per%cent", "q'\"", "x" * 255, "\U0001f40d"]
    for name in odd:
        (top / name).write_bytes(name.encode())
    made = pack(root)
    assert contents(made) == {name: name.encode() for name in odd}
    with opened(made) as archive:
        for info in archive.infolist():
            assert bool(info.flag_bits & 0x800) == (not info.filename.isascii())


def test_names_that_are_not_utf8_are_percent_encoded(root, top):
    for name in (b"d\xff/100%\xe9", b"d\xff/gr\xc3\xbcn", b"plain\xfe"):
        path = os.path.join(os.fsencode(root.path), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(os.fsdecode(path)).write_bytes(name)
    made = pack(root)
    assert names(made) == ["d%FF/", "d%FF/100%25%E9", "d%FF/gr\u00fcn", "plain%FE"]
    assert made.skipped == []


def test_a_name_that_another_one_took_is_skipped(root, top):
    (top / "a%FF").write_bytes(b"literal")
    Path(os.fsdecode(os.fsencode(root.path) + b"/a\xff")).write_bytes(b"encoded")
    made = pack(root)
    assert contents(made) == {"a%FF": b"literal"}
    assert made.skipped == ["a\udcff"]


def test_what_is_compressed_already_is_not_compressed_again(root, top):
    for name in ("a.PNG", "b.zip", "c.txt", "gz"):
        (top / name).write_bytes(b"the same again " * 1000)
    with opened(pack(root)) as archive:
        sizes = {info.filename: info.compress_size for info in archive.infolist()}
    assert sizes["a.PNG"] >= 15_000
    assert sizes["b.zip"] >= 15_000
    assert sizes["c.txt"] < 1000
    assert sizes["gz"] < 1000


@pytest.mark.parametrize("paths", [("none",), ("notes.txt", "src/none"), ("notes.txt/x",)])
def test_a_path_where_nothing_is(root, top, paths):
    fill(top)
    with pytest.raises(GuestError) as caught:
        Zip(root, paths, Job(), max_bytes=MUCH, max_files=1000)
    assert caught.value.code in {"not_found", "not_directory"}


def test_the_limits_are_exact(root, top):
    fill(top)
    size = 6 + 800 + 300_000
    assert pack(root, max_bytes=size, max_files=7).bytes == size
    with pytest.raises(GuestError) as caught:
        pack(root, max_bytes=size - 1)
    assert caught.value.code == "too_large"
    assert str(size - 1) in caught.value.detail
    assert caught.value.hint
    with pytest.raises(GuestError) as caught:
        pack(root, max_files=6)
    assert caught.value.code == "too_large"
    assert "6 entries" in caught.value.detail


def test_a_file_over_the_limit_is_not_read(root, top):
    (top / "big").write_bytes(b"x" * 500_000)
    job = Job()
    with pytest.raises(GuestError):
        pack(root, max_bytes=400_000, job=job)
    assert job.done == 0


class Meddler(Job):
    """A job during which something happens once so many bytes are read."""

    def __init__(self, at, happen):
        super().__init__()
        self.at = at
        self.happen = happen

    def advance(self, count):
        super().advance(count)
        if self.done >= self.at and self.happen:
            happen, self.happen = self.happen, None
            happen()


def test_a_file_that_grows_is_packed_as_long_as_it_was(root, top):
    path = top / "f"
    path.write_bytes(b"x" * 600_000)

    def grow():
        with path.open("ab") as file:
            file.write(b"more" * 100_000)

    made = pack(root, job=Meddler(1, grow))
    assert contents(made) == {"f": b"x" * 600_000}


def test_a_file_that_changes_does_not_corrupt_the_zip(root, top):
    path = top / "f"
    path.write_bytes(b"x" * 600_000)

    def change():
        with path.open("r+b") as file:
            file.write(b"y" * 600_000)

    found = contents(pack(root, job=Meddler(1, change)))["f"]
    assert len(found) == 600_000
    assert found.startswith(b"x")
    assert found.endswith(b"y")


def test_a_file_that_shrinks_is_a_conflict(root, top):
    (top / "f").write_bytes(b"x" * 600_000)
    with pytest.raises(GuestError) as caught:
        pack(root, job=Meddler(1, lambda: os.truncate(str(top / "f"), 300_000)))
    assert caught.value.code == "conflict"


def test_what_goes_meanwhile_is_left_out(root, top):
    for name in ("a", "b", "c"):
        (top / name).write_bytes(name.encode())
    made = pack(root, job=Meddler(1, (top / "b").unlink))
    assert contents(made) == {"a": b"a", "c": b"c"}
    assert made.skipped == []


def test_what_becomes_a_link_meanwhile_is_not_followed(root, top, tmp_path_factory):
    secret = tmp_path_factory.mktemp("outside") / "secret"
    secret.write_bytes(b"secret")
    for name in ("a", "b"):
        (top / name).write_bytes(name.encode())

    def swap():
        (top / "b").unlink()
        (top / "b").symlink_to(secret)

    made = pack(root, job=Meddler(1, swap))
    assert contents(made) == {"a": b"a"}
    assert made.skipped == ["b"]


def test_what_becomes_a_file_meanwhile_is_skipped(root, top):
    (top / "a").write_bytes(b"a")
    (top / "b").mkdir()
    (top / "c").symlink_to("a")

    def swap():
        (top / "b").rmdir()
        (top / "c").unlink()
        (top / "b").write_bytes(b"b")
        (top / "c").write_bytes(b"c")

    made = pack(root, job=Meddler(1, swap))
    assert contents(made) == {"a": b"a"}
    assert made.skipped == ["b", "c"]


def test_the_job_counts_and_stops(root, top):
    fill(top)
    job = Job()
    made = pack(root, job=job)
    assert job.done == made.bytes
    (top / "a-big-one").write_bytes(b"x" * 2_000_000)
    job = Meddler(1, None)
    job.happen = job.cancel
    with pytest.raises(GuestError) as caught:
        pack(root, job=job)
    assert caught.value.code == "cancelled"
    assert job.done < 500_000


def test_giving_up_leaves_nothing_open(root, top):
    fill(top)
    before = len(list(Path("/proc/self/fd").iterdir()))
    pieces = iter(Zip(root, (".",), Job(), max_bytes=MUCH, max_files=1000))
    assert next(pieces)
    assert len(list(Path("/proc/self/fd").iterdir())) > before
    pieces.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_pieces_are_neither_empty_nor_big(root, top):
    (top / "big.zip").write_bytes(os.urandom(3_000_000))
    for number in range(1500):  # with long names, for a long central directory
        (top / ("%d-" % number + "x" * 240)).write_bytes(b"x")
    pieces = list(Zip(root, (".",), Job(), max_bytes=MUCH, max_files=2000))
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert len(archive.infolist()) == 1501
    sizes = [len(piece) for piece in pieces]
    assert min(sizes) > 0
    assert max(sizes) < 400_000
    assert min(sizes[:-2]) >= 64 << 10


def test_memory_is_flat(tmp_path):
    with (tmp_path / "big").open("wb") as file:
        file.truncate(256 << 20)
    with (tmp_path / "noise.gz").open("wb") as file:
        file.writelines([os.urandom(1 << 20)] * 64)
    root = Root(str(tmp_path))
    tracemalloc.start()
    try:
        size = sum(len(piece) for piece in Zip(root, (".",), Job(), max_bytes=MUCH, max_files=10))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        root.close()
    assert size > 64 << 20
    assert peak < 8 << 20


def test_unzip_restores_the_tree(root, top, tmp_path_factory):
    unzip = shutil.which("unzip")
    if unzip is None:
        pytest.skip("unzip is not installed")
    fill(top)
    (top / "src" / "run").write_bytes(b"#!/bin/sh\n")
    (top / "src" / "run").chmod(0o711)
    (top / "src" / "link").symlink_to("app.py")
    (top / "src" / "gr\u00fcn \U0001f40d").write_bytes(b"")
    os.utime(str(top / "notes.txt"), (1_234_567_891, 1_234_567_891))
    target = tmp_path_factory.mktemp("target")
    (target / "made.zip").write_bytes(pack(root).data)
    environment = dict(os.environ, LC_ALL="C.UTF-8", TZ="Asia/Tokyo")
    subprocess.run([unzip, "-q", "made.zip", "-d", "out"], cwd=str(target), env=environment, check=True)
    found = sorted(str(path.relative_to(target / "out")) for path in (target / "out").rglob("*"))
    assert found == sorted(str(path.relative_to(top)) for path in top.rglob("*"))
    for name in found:
        before, after = (top / name).lstat(), (target / "out" / name).lstat()
        assert after.st_mode == before.st_mode
        if stat.S_ISREG(before.st_mode):
            assert (target / "out" / name).read_bytes() == (top / name).read_bytes()
            assert int(after.st_mtime) == int(before.st_mtime)
    assert os.readlink(str(target / "out" / "src" / "link")) == "app.py"


@pytest.mark.slow
def test_what_needs_zip64(tmp_path):
    size = (2 << 30) + 5  # the standard library takes these fields from 2 GiB on, and for 65536 entries
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(size)
    (tmp_path / "z").mkdir()
    for number in range(66_000):
        (tmp_path / "z" / str(number)).touch()
    root = Root(str(tmp_path))
    try:
        made = pack(root, max_bytes=size, max_files=70_000)
    finally:
        root.close()
    with opened(made) as archive:
        assert len(archive.infolist()) == made.files + 1 == 66_002
        assert archive.getinfo("sparse").file_size == made.bytes == size
        assert archive.read("z/7") == b""
        with archive.open("sparse") as member:
            assert member.read(1 << 20) == bytes(1 << 20)
