"""Files that say that they are empty, and are not. Runs on Python 3.8 too."""

import sys
from contextlib import closing

import pytest

from devbox_mcp.guest import info as room
from devbox_mcp.guest.beneath import Root
from devbox_mcp.guest.cached import Cached
from devbox_mcp.guest.errors import GuestError, WouldBlock
from devbox_mcp.guest.job import Job
from devbox_mcp.guest.lines import LineReader
from devbox_mcp.guest.reading import Reader

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux makes such files up")


@pytest.fixture
def proc():
    root = Root("/proc")
    yield root
    root.close()


@pytest.fixture
def content():
    with open("/proc/version", "rb") as file:
        return file.read()


@pytest.mark.parametrize(("offset", "length"), [(0, None), (3, None), (3, 4), (0, 0), (1 << 20, None), (2, 1 << 20)])
def test_what_a_kernel_makes_up_is_read(proc, content, offset, length):
    with closing(Reader(proc, "version", Job(), offset, length)) as reader:
        assert reader.info["size"] == len(content)
        assert reader.offset == min(offset, len(content))
        assert b"".join(reader) == content[offset:][: len(content) if length is None else length]


def test_it_is_never_read_at_once(proc):
    with pytest.raises(WouldBlock):
        Cached(proc).read("version")


def test_its_lines_are_read(proc, content):
    assert LineReader(proc).read_lines("version", Job(), first=1, count=9, max_bytes=9999)["data"] == content


def test_what_may_have_no_end_is_refused(proc, monkeypatch):
    monkeypatch.setattr(room, "_UNSIZED", 10)
    with pytest.raises(GuestError) as caught:
        Reader(proc, "version", Job())
    assert caught.value.code == "unsupported"


def test_the_empty_file_is_empty(root, tmp_path):
    (tmp_path / "f").touch()
    with closing(Reader(root, "f", Job())) as reader:
        assert (reader.info["size"], list(reader)) == (0, [])
