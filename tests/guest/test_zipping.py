"""The zip's own format, where it is too large for the fields of old, read by ``zipfile`` and by unzip."""

import io
import os
import random
import shutil
import stat
import subprocess
import zipfile

import pytest

from devbox_mcp.guest import zipping
from devbox_mcp.guest.zipping import Packer

FILE, DIRECTORY = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
MUCH = 1 << 40


def packed(packer, files):
    """Return the bytes of a zip, each file in two pieces."""
    pieces = []
    for name, content in files.items():
        assert packer.begin(name, FILE, 1_700_000_000, len(content))
        packer.write(content[: len(content) // 2])
        packer.write(content[len(content) // 2 :])
        packer.end()
        pieces += packer.ready()
    return b"".join([*pieces, *packer.finish()])


def accepted_by_unzip(path):
    return shutil.which("unzip") is None or subprocess.run(["unzip", "-tqq", str(path)], check=False).returncode == 0


def noise(rng, size):
    return rng.getrandbits(8 * size).to_bytes(size, "big")


@pytest.fixture
def files():
    rng = random.Random(1)
    return {
        "empty": b"",
        "one": b"1",
        "text": b"the same again\n" * 50,
        "random": noise(rng, 1000),
        "gr\u00fcn": b"green",
        "small": noise(rng, zipping._SMALL),
        "larger": noise(rng, zipping._SMALL + 1),
        "large.txt": b"the same again\n" * 100_000,
        "large.zip": noise(rng, 300_000),
    }


@pytest.mark.parametrize("huge", [zipping._HUGE, 20_000])
def test_every_size(files, tmp_path, monkeypatch, huge):
    monkeypatch.setattr(zipping, "_HUGE", huge)
    with Packer(MUCH, 100) as packer:
        data = packed(packer, files)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files
        assert archive.testzip() is None
        infos = {info.filename: info for info in archive.infolist()}
    assert infos["text"].compress_size < 100
    assert infos["random"].compress_size == 1000
    # what is small can be read from a stream: its header tells where it ends
    assert [name for name, info in infos.items() if info.flag_bits & 8] == ["larger", "large.txt", "large.zip"]
    (tmp_path / "zip").write_bytes(data)
    assert accepted_by_unzip(tmp_path / "zip")


EVEN = bytes(range(256))
TEXT = b"the same again\n" * 30


@pytest.mark.parametrize(
    ("content", "method"),
    [
        (noise(random.Random(2), 256), zipfile.ZIP_STORED),
        (noise(random.Random(3), 5000), zipfile.ZIP_STORED),
        (EVEN * 3, zipfile.ZIP_STORED),  # not even tried, or it would have shrunk
        (EVEN * 3 + TEXT, zipfile.ZIP_DEFLATED),
        (TEXT + EVEN, zipfile.ZIP_DEFLATED),
        (TEXT, zipfile.ZIP_DEFLATED),
        (EVEN[:100] * 2, zipfile.ZIP_DEFLATED),
        (EVEN[:129] * 2, zipfile.ZIP_DEFLATED),
        (EVEN[:130] * 2, zipfile.ZIP_STORED),
    ],
)
def test_what_looks_packed_already_is_stored(content, method):
    with Packer(MUCH, 100) as packer:
        data = packed(packer, {"f": content})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.getinfo("f").compress_type == method
        assert archive.read("f") == content


def test_more_members_than_the_end_can_count(tmp_path):
    count = 70_000
    with Packer(MUCH, count) as packer:
        for number in range(count):
            packer.add("d%d" % number, DIRECTORY, 0)
        data = b"".join(packer.finish())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len(archive.namelist()) == count
    (tmp_path / "zip").write_bytes(data)
    assert accepted_by_unzip(tmp_path / "zip")


def test_members_behind_four_gibibytes(files, tmp_path):
    ahead = 5 << 30
    with Packer(MUCH, 100) as packer:
        packer._offset = ahead
        data = packed(packer, files)
    with (tmp_path / "zip").open("wb") as file:
        file.seek(ahead)
        file.write(data)
    assert os.stat(str(tmp_path / "zip")).st_blocks * 512 < 1 << 30
    with zipfile.ZipFile(str(tmp_path / "zip")) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files
    assert accepted_by_unzip(tmp_path / "zip")
