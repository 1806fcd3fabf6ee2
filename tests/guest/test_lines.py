"""Windows of lines: small files and large ones, checked against what splitting the whole file gives."""

import contextlib
import hashlib
import os
import tempfile
import tracemalloc
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devbox_mcp.guest import lines
from devbox_mcp.guest.beneath import Root
from devbox_mcp.guest.errors import GuestError, WouldBlock
from devbox_mcp.guest.job import Job
from devbox_mcp.guest.lines import LineReader

MUCH = 1 << 20


def at(root, name):
    return Path(root.path, name)


def put(root, name, data):
    path = at(root, name)
    path.write_bytes(data)
    return path


def read(root, name, first=1, count=None, max_bytes=MUCH):
    return LineReader(root).read_lines(name, Job(), first=first, count=count, max_bytes=max_bytes)


@contextlib.contextmanager
def streamed(chunk=8, racy=-1.0):
    """Take every file for a large one, read in chunks of a few bytes; trust times at once."""
    with mock.patch.multiple(lines, WHOLE=-1, CHUNK=chunk, _RACY=racy):
        yield


def expected(data, first, count, max_bytes):
    """Return (data, first, count, total, more, cut) the simple way."""
    split = data.split(b"\n")
    every = [line + b"\n" for line in split[:-1]] + ([split[-1]] if split[-1] else [])
    total = len(every)
    first = first if first > 0 else max(1, total + 1 + first)
    shown = []
    for line in every[first - 1 :]:
        if len(shown) == count or sum(map(len, shown)) + len(line) > max_bytes:
            break
        shown.append(line)
    if shown or first > total:
        return b"".join(shown), first, len(shown), total, first - 1 + len(shown) < total, False
    cut = every[first - 1][:max_bytes]
    while cut.decode("utf-8", "ignore").encode() != cut:
        cut = cut[:-1]
    return cut, first, 1, total, first < total, True


TEXTS = st.lists(st.sampled_from(["", "a", "word", "é", "€€", "\U0001f40d" * 3, "\r", "x" * 30]), max_size=12).map(
    "".join
)
FILES = st.tuples(st.lists(TEXTS, max_size=12), st.booleans()).map(
    lambda parts: ("\n".join(parts[0]) + ("\n" if parts[1] else "")).encode()
)
WINDOWS = st.tuples(
    st.one_of(st.integers(1, 15), st.integers(-15, -1)), st.one_of(st.none(), st.integers(1, 6)), st.integers(4, 80)
)


@pytest.mark.parametrize("large", [False, True])
@settings(max_examples=300, deadline=None)
@given(data=FILES, windows=st.lists(WINDOWS, min_size=1, max_size=5))
def test_windows_are_those_of_the_split_file(large, data, windows):
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        if large:
            stack.enter_context(streamed())
        root = Root(directory)
        stack.callback(root.close)
        put(root, "f", data)
        reader = LineReader(root)  # one for all windows: what it learns must not mislead it
        for first, count, max_bytes in windows:
            found = reader.read_lines("f", Job(), first=first, count=count, max_bytes=max_bytes)
            shown = tuple(found[key] for key in ("data", "first", "count", "total", "more", "cut"))
            wanted = expected(data, first, count, max_bytes)
            if large and found["total"] is None:
                wanted = (*wanted[:3], None, *wanted[4:])
            assert shown == wanted
            assert not found["binary"]
            assert found["info"].get("sha256", hashlib.sha256(data).hexdigest()) == hashlib.sha256(data).hexdigest()
            assert large or "sha256" in found["info"]


@pytest.mark.parametrize("large", [False, True])
@settings(max_examples=150, deadline=None)
@given(data=FILES, count=st.one_of(st.none(), st.integers(1, 4)), max_bytes=st.integers(200, 400))
def test_windows_concatenate_to_the_file(large, data, count, max_bytes):
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        if large:
            stack.enter_context(streamed())
        root = Root(directory)
        stack.callback(root.close)
        put(root, "f", data)
        reader = LineReader(root)
        pieces, first, more = [], 1, True
        while more:
            found = reader.read_lines("f", Job(), first=first, count=count, max_bytes=max_bytes)
            pieces.append(found["data"])
            first += found["count"]
            more = found["more"] and not found["cut"]
        if not found["cut"]:
            assert b"".join(pieces) == data
            assert found["total"] == first - 1


@pytest.mark.parametrize("large", [False, True])
class TestBothWays:
    @pytest.fixture(autouse=True)
    def _size(self, large):
        with streamed() if large else contextlib.nullcontext():
            yield

    def test_empty_file(self, root):
        put(root, "f", b"")
        for first in (1, 7, -3):
            found = read(root, "f", first)
            assert (found["data"], found["count"], found["total"], found["more"]) == (b"", 0, 0, False)
        assert found["info"]["sha256"] == hashlib.sha256().hexdigest()

    def test_beyond_the_end(self, root):
        put(root, "f", b"one\ntwo")
        found = read(root, "f", 3)
        assert (found["data"], found["first"], found["count"], found["total"]) == (b"", 3, 0, 2)
        assert not found["more"]

    def test_only_lf_ends_a_line(self, root):
        put(root, "f", "a\rb\x0bc\x0cd\x85e\u2028f\r\ng".encode())
        assert read(root, "f", 2)["data"] == b"g"

    def test_bytes_that_are_not_utf8_are_told_as_they_are(self, root):
        put(root, "f", b"\x80" * 40 + b"\n")
        found = read(root, "f", max_bytes=10)
        assert (found["data"], found["cut"], found["more"]) == (b"\x80" * 10, True, False)

    def test_a_cut_ends_on_a_character(self, root):
        put(root, "f", "a€€€\nnext".encode())
        for max_bytes, shown in ((4, "a€"), (5, "a€"), (6, "a€"), (7, "a€€"), (9, "a€€"), (10, "a€€€")):
            found = read(root, "f", max_bytes=max_bytes)
            assert (found["data"].decode(), found["cut"], found["more"]) == (shown, True, True)
        assert read(root, "f", max_bytes=11)["cut"] is False

    @pytest.mark.parametrize(
        "data", [b"a\0b\n", b"x\n" * 4000 + b"\0\nx\n", "漢字".encode("utf-16"), b"\xfe\xff\x6f\x22"]
    )
    def test_binary(self, root, data):
        put(root, "f", data)
        for first in (1, -1):
            found = read(root, "f", first, count=1)
            assert (found["binary"], found["data"], found["count"], found["more"]) == (True, b"", 0, False)

    def test_a_nul_far_behind_is_met_where_it_is_shown(self, root):
        put(root, "f", b"line\n" * 2000 + b"nul\0\n" + b"line\n")
        assert not read(root, "f", count=10)["binary"]
        assert not read(root, "f", -1)["binary"]
        assert read(root, "f", -2)["binary"]

    def test_keys_are_those_of_the_model(self, root):
        put(root, "f", b"one\n")
        found = read(root, "f")
        assert list(found) == ["info", "data", "first", "count", "total", "more", "cut", "binary"]
        assert found["info"]["path"] == "f"
        assert type(found["data"]) is bytes

    def test_a_link_is_followed_and_keeps_its_name(self, root):
        put(root, "f", b"one\n")
        at(root, "link").symlink_to("f")
        found = read(root, "link")
        assert (found["data"], found["info"]["path"], found["info"]["type"]) == (b"one\n", "link", "file")

    @pytest.mark.parametrize(
        ("options", "detail"),
        [
            ({"first": 0}, "from 1"),
            ({"count": 0}, "less than 1"),
            ({"count": -1}, "less"),
            ({"max_bytes": 3}, "smaller"),
        ],
    )
    def test_what_is_no_window(self, root, options, detail):
        put(root, "f", b"one\n")
        with pytest.raises(GuestError) as caught:
            read(root, "f", **options)
        assert caught.value.code == "invalid_argument"
        assert detail in caught.value.detail

    def test_what_is_no_file(self, root):
        at(root, "d").mkdir()
        os.mkfifo(str(at(root, "fifo")))
        for name, code in (
            ("d", "is_directory"),
            ("fifo", "unsupported"),
            ("none", "not_found"),
            (".", "is_directory"),
        ):
            with pytest.raises(GuestError) as caught:
                read(root, name)
            assert caught.value.code == code

    def test_handles_are_closed(self, root):
        put(root, "f", b"one\n" * 100)
        read(root, "f")
        before = open_handles()
        read(root, "f", 3, 5)
        with pytest.raises(GuestError):
            read(root, "f", 0)
        assert open_handles() == before


def open_handles():
    return len(list(Path("/proc/self/fd").iterdir()))


class Meddler(Job):
    """A job during which, at some of its checks, something happens to the file."""

    def __init__(self, happen, times):
        super().__init__()
        self.happen = happen
        self.times = times
        self.checks = 0

    def check(self, path="."):
        self.checks += 1
        super().check(path)
        if self.times:
            self.times -= 1
            self.happen()


class TestLarge:
    @pytest.fixture(autouse=True)
    def _size(self):
        with streamed():
            yield

    def test_hash_and_total_are_told_once_the_end_is_reached_from_the_start(self, root):
        data = b"a line\n" * 50
        put(root, "f", data)
        reader = LineReader(root)

        def window(first, count):
            found = reader.read_lines("f", Job(), first=first, count=count, max_bytes=MUCH)
            return found["total"], found["info"].get("sha256")

        assert window(1, 5) == (None, None)
        assert window(30, 5) == (None, None)
        assert window(40, None) == (50, None)  # from a mark on: the lines are counted, the hash is not
        assert window(2, 2) == (50, None)
        assert window(1, None) == (50, hashlib.sha256(data).hexdigest())
        assert window(2, 2) == (50, hashlib.sha256(data).hexdigest())
        put(root, "f", data + b"more\n")
        assert window(2, 2) == (None, None)

    def test_a_young_file_is_not_remembered(self, root):
        put(root, "f", b"a line\n" * 50)
        reader = LineReader(root)
        with streamed(racy=1.0):
            assert reader.read_lines("f", Job(), first=1, count=None, max_bytes=MUCH)["total"] == 50
            assert reader.read_lines("f", Job(), first=1, count=1, max_bytes=MUCH)["total"] is None

    def test_paging_goes_on_where_it_was(self, root):
        put(root, "f", b"seven..\n" * 3000)
        reader = LineReader(root)
        job = Meddler(None, 0)
        with streamed(chunk=800):
            for first in range(1, 3001, 10):
                found = reader.read_lines("f", job, first=first, count=10, max_bytes=MUCH)
                assert found["data"] == b"seven..\n" * 10
        assert job.checks == 300  # one chunk a page, and none to look for its beginning

    def test_marks_lead_back_close(self, root):
        put(root, "f", b"seven..\n" * 3000)
        reader = LineReader(root)
        reader.read_lines("f", Job(), first=-1, count=None, max_bytes=MUCH)
        job = Meddler(None, 0)
        found = reader.read_lines("f", job, first=1500, count=1, max_bytes=MUCH)
        assert found["first"] == 1500
        assert job.checks < 10

    def test_a_file_changed_meanwhile_is_read_again(self, root):
        path = put(root, "f", b"old....\n" * 20)
        job = Meddler(lambda: put(root, "f", b"newer..\n" * 30), 1)
        found = LineReader(root).read_lines("f", job, first=1, count=None, max_bytes=MUCH)
        assert found["data"] == b"newer..\n" * 30
        assert path.stat().st_size == found["info"]["size"]

    def test_a_file_that_shrinks_is_read_again(self, root):
        path = put(root, "f", b"old....\n" * 20)
        job = Meddler(lambda: os.truncate(path, 12), 1)
        found = LineReader(root).read_lines("f", job, first=-1, count=None, max_bytes=MUCH)
        assert (found["data"], found["total"]) == (b"old.", 2)

    def test_a_file_that_never_holds_still_is_a_conflict(self, root):
        path = put(root, "f", b"old....\n" * 20)

        def grow():
            with path.open("ab") as file:
                file.write(b"more\n")

        with pytest.raises(GuestError) as caught:
            LineReader(root).read_lines("f", Meddler(grow, 1000), first=1, count=None, max_bytes=MUCH)
        assert caught.value.code == "conflict"

    def test_the_job_stops_it(self, root):
        put(root, "f", b"line\n" * 1000)
        job = Job()
        job.cancel()
        with pytest.raises(GuestError) as caught:
            LineReader(root).read_lines("f", job, first=900, count=None, max_bytes=MUCH)
        assert caught.value.code == "cancelled"

    def test_what_is_remembered_is_bounded(self, root):
        reader = LineReader(root)
        for number in range(50):
            put(root, f"f{number}", b"line\n" * 100)
            reader.read_lines(f"f{number}", Job(), first=1, count=None, max_bytes=MUCH)
        assert len(reader._index._versions) == 32
        assert reader.read_lines("f49", Job(), first=1, count=1, max_bytes=MUCH)["total"] == 100
        assert reader.read_lines("f0", Job(), first=1, count=1, max_bytes=MUCH)["total"] is None


@pytest.mark.parametrize("size", [(8 << 20), (8 << 20) + 1])
def test_up_to_8_mib_hash_and_total_are_always_told(tmp_path, size):
    root = Root(str(tmp_path))
    try:
        data = (b"x" * 99 + b"\n") * (size // 100 + 1)
        put(root, "f", data[:size])
        found = read(root, "f", 10, 5)
        assert ("sha256" in found["info"], found["total"] is not None) == ((size == 8 << 20),) * 2
        assert found["data"] == data[:500]
    finally:
        root.close()


def test_memory_is_flat(tmp_path):
    root = Root(str(tmp_path))
    try:
        with (tmp_path / "f").open("wb") as file:
            file.writelines((b"x" * 99 + b"\n") * 10486 for _ in range(64))
        tracemalloc.start()
        try:
            found = read(root, "f", -20, max_bytes=64 << 10)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert found["count"] == 20
        assert found["total"] == 64 * 10486
        assert peak < 4 << 20
    finally:
        root.close()


def now(root, name, first=1, count=None, max_bytes=MUCH):
    return LineReader(root).read_lines_now(name, first=first, count=count, max_bytes=max_bytes)


class TestNow:
    @pytest.fixture
    def quick(self, tmp_path):
        """A root on a file system and kernel that answer without blocking."""
        root = Root(str(tmp_path))
        put(root, "f", b"one\ntwo\n")
        try:
            now(root, "f")
        except WouldBlock:
            root.close()
            pytest.skip("this system always blocks")
        yield root
        root.close()

    @pytest.mark.parametrize("data", [b"", b"one\n", b"one\ntwo", b"a\0b", b"x" * 4096, b"line\n" * 13107])
    def test_answers_as_read_lines_does(self, quick, data):
        at(quick, "d").mkdir()
        put(quick, "d/f", data)
        for first, count in ((1, None), (2, 1), (-1, None)):
            assert now(quick, "d/f", first, count) == read(quick, "d/f", first, count)

    def test_large_files_and_links_are_left_to_where_blocking_is_allowed(self, quick):
        put(quick, "large", b"x" * (64 * 1024 + 1))
        at(quick, "link").symlink_to("f")
        for name in ("large", "link"):
            with pytest.raises(WouldBlock):
                now(quick, name)

    def test_what_is_not_in_memory_is_left_too(self, quick):
        path = put(quick, "cold", b"x" * 8192)
        fd = os.open(path, os.O_RDWR)
        try:
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)
        try:
            now(quick, "cold")
        except WouldBlock:
            return
        pytest.skip("this file system keeps everything in memory")

    def test_errors_are_told_at_once(self, quick):
        at(quick, "d").mkdir()
        for name, code in (("d", "is_directory"), ("none", "not_found"), ("f/x", "not_directory")):
            with pytest.raises((GuestError, WouldBlock)) as caught:
                now(quick, name)
            assert isinstance(caught.value, WouldBlock) or caught.value.code == code
        with pytest.raises(GuestError):
            now(quick, "f", 0)

    def test_a_system_without_it_always_blocks(self, quick):
        with mock.patch.object(lines, "_RWF_NOWAIT", None), pytest.raises(WouldBlock):
            now(quick, "f")
