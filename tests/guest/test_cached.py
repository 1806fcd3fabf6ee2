"""Small reads that never wait for a disk. Runs on Python 3.8 too."""

import os
import sys

import pytest

from devbox_mcp.guest import cached as room
from devbox_mcp.guest.beneath import Root
from devbox_mcp.guest.cached import MOST, Cached
from devbox_mcp.guest.errors import GuestError, WouldBlock
from devbox_mcp.guest.policy import Policy

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")


@pytest.fixture(params=["nowait", "mincore"])
def cached(request, root):
    cached = Cached(root)
    if request.param == "mincore":
        cached._ignorant.add(os.fstat(root.fd).st_dev)
    return cached


@pytest.mark.parametrize(
    ("offset", "length"), [(0, None), (0, 0), (3, None), (3, 4), (4090, 20), (9000, 5), (5000, None)]
)
def test_ranges(cached, tmp_path, offset, length):
    data = os.urandom(8000)
    (tmp_path / "f").write_bytes(data)
    info, start, found = cached.read("f", offset, length)
    assert found == data[offset:][: 8000 if length is None else length]
    assert start == min(offset, 8000)
    assert (info["path"], info["size"]) == ("f", 8000)


def test_what_is_not_for_it(cached, tmp_path):
    (tmp_path / "big").write_bytes(bytes(MOST + 1))
    (tmp_path / "link").symlink_to("big")
    for path in ("big", "link"):
        with pytest.raises(WouldBlock):
            cached.read(path)
    assert len(cached.read("big", 10, 100)[2]) == 100
    for path, code in [("gone", "not_found"), (".", "is_directory")]:
        with pytest.raises(GuestError) as caught:
            cached.read(path)
        assert caught.value.code == code


def test_what_is_denied(tmp_path):
    (tmp_path / "f").write_bytes(b"x")
    root = Root(str(tmp_path), Policy(["f"]))
    with pytest.raises(GuestError) as caught:
        Cached(root).read("f")
    assert caught.value.code == "denied"
    root.close()


def test_what_is_on_disk_only(tmp_path, root):
    """Pages that were written and then dropped have to be fetched."""
    (tmp_path / "f").write_bytes(os.urandom(5000))
    cached = Cached(root)
    fd = os.open(str(tmp_path / "f"), os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    if cached._in_memory(fd, 0, 5000):
        os.close(fd)
        pytest.skip("this file system keeps everything in memory")
    os.close(fd)
    cached._ignorant.add(os.fstat(root.fd).st_dev)
    with pytest.raises(WouldBlock):
        cached.read("f")
    (tmp_path / "f").read_bytes()
    assert len(cached.read("f")[2]) == 5000


def test_a_platform_without(monkeypatch, root, tmp_path):
    (tmp_path / "f").write_bytes(b"x")
    monkeypatch.setattr(room, "_RWF_NOWAIT", None)
    with pytest.raises(WouldBlock):
        Cached(root).read("f")
