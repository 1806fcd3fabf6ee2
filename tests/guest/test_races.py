"""Nothing outside the root is read, made, changed or deleted while another program swaps what lies on the way.

A second process exchanges directories and files beneath the root with links that lead out, by renameat2, as quickly
as it can, while every operation goes on. Whatever an operation answers is fine; what it touches is judged.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import pytest

from devbox_mcp.guest import batch, copying, listing, reading, tree, writing
from devbox_mcp.guest.archive import Zip
from devbox_mcp.guest.beneath import Root
from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.find import find
from devbox_mcp.guest.job import Job
from devbox_mcp.guest.lines import LineReader
from devbox_mcp.guest.names import OWN_PREFIX
from devbox_mcp.guest.search import search

SECONDS = 1.5
LEAST_SWAPS = 3000
SECRET = b"their secret"
OURS = b"ours"

#: What is exchanged with ``<path>-link``, which leads to this outside, while the operations of the same group go on.
SWAPPED = {
    "files": {"file": "outside/f"},
    "ways": {"way": "outside", "way/d": "outside/d"},
    "trees": {"tree/d": "outside", "victim/d": "outside"},
}

SWAPPER = """
import ctypes, os, sys, time
root, seconds, least, *paths = sys.argv[1:]
call = ctypes.CDLL(None).renameat2
pairs = []
for path in paths:
    parent, name = os.path.split(os.path.join(root, path))
    pairs.append([-1, parent, os.fsencode(name), os.fsencode(name + "-link")])
count, end = 0, time.monotonic() + float(seconds)
while time.monotonic() < end or (count < int(least) and time.monotonic() < end + 30):
    for pair in pairs:
        fd, parent, one, other = pair
        if call(fd, one, fd, other, 2) == 0:
            count += 1
            continue
        # not there: a directory that is held goes on being swapped in wherever it is moved, until it is gone
        try:
            pair[0] = os.open(parent, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            continue
        if fd >= 0:
            os.close(fd)
print(count)
"""

pytestmark = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "renameat2"), reason="exchanging two names takes renameat2"
)


def touched(directory: Path) -> dict[str, tuple[object, ...]]:
    """Return all that any change would show in, of everything beneath a directory and of itself."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [directory, *directory.rglob("*")]:
        st = path.lstat()
        data = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (
            data,
            st.st_mode,
            st.st_uid,
            st.st_gid,
            st.st_nlink,
            st.st_ino,
            st.st_mtime_ns,
            st.st_ctime_ns,
        )
    return found


def hash_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def lay_out(base: Path) -> None:
    """Make the root with what is swapped, and the same names outside."""
    for path in ("outside/f", "outside/d/f", "outside/d/x/f", "outside/theirs"):
        (base / path).parent.mkdir(parents=True, exist_ok=True)
        (base / path).write_bytes(SECRET + b"\n")
    for path in ("file", "way/f", "way/d/f", "tree/d/f", "tree/d/x/f", "tree/g"):
        (base / "root" / path).parent.mkdir(parents=True, exist_ok=True)
        (base / "root" / path).write_bytes(OURS + b"\n")
    for swapped in SWAPPED.values():
        for path, outside in swapped.items():
            if not path.startswith("victim"):
                (base / "root" / (path + "-link")).symlink_to(base / outside)


class Rounds:
    """Every operation of a group, in turn, as an agent would call it. ``counts`` holds how often each went well, and
    the codes of those that did not."""

    def __init__(self, root: Root, base: Path) -> None:
        self.counts: Counter[str] = Counter()
        self._root = root
        self._base = base
        self._lines = LineReader(root)
        self._modes = cycle([0o640, 0o750])

    def operations(self, group: str) -> dict[str, Callable[[], object]]:
        return {"files": self._on_files, "ways": self._on_ways, "trees": self._on_trees}[group]()

    def _on_files(self) -> dict[str, Callable[[], object]]:
        root, job = self._root, Job()
        return {
            "read": lambda: self._read("file"),
            "lines": lambda: self._read_lines("file"),
            "hash": lambda: reading.stat(root, "file", job, sha256=True)["sha256"] != hash_of(SECRET + b"\n") or SECRET,
            "write": lambda: writing.write(root, "file", [OURS], job),
            "append": lambda: writing.write(root, "file", [OURS], job, mode="append"),
            "in place": lambda: writing.write(root, "file", [OURS], job, in_place=True),
            "batch": lambda: self._batch("file"),
            "copy": lambda: copying.copy(root, "file", "copied", job, overwrite=True),
            "read copy": lambda: self._read("copied"),
            "chmod": lambda: tree.chmod(root, "file", next(self._modes), job),
            "search": lambda: search(root, "file", SECRET.decode(), job)["matches"],
            "archive": lambda: self._archive("file"),
        }

    def _on_ways(self) -> dict[str, Callable[[], object]]:
        root, job = self._root, Job()
        return {
            "read": lambda: self._read("way/f"),
            "read deeper": lambda: self._read("way/d/f"),
            "lines": lambda: self._read_lines("way/d/f"),
            "list": lambda: listing.list_directory(root, "way", job, depth=3),
            "write": lambda: writing.write(root, "way/f", [OURS], job),
            "write deeper": lambda: writing.write(root, "way/d/f", [OURS], job),
            "write new": lambda: writing.write(root, "way/d/new/f", [OURS], job),
            "create": lambda: writing.write(root, "way/created", [OURS], job, mode="create"),
            "in place": lambda: writing.write(root, "way/f", [OURS], job, in_place=True),
            "batch": lambda: self._batch("way/b", "way/d/b"),
            "mkdir": lambda: tree.mkdir(root, "way/d/made/x"),
            "move": lambda: tree.move(root, "way/created", "way/d/moved", job, overwrite=True),
            "move directory": lambda: tree.move(root, "way/d/made", "way/made", job),
            "copy": lambda: copying.copy(root, "way/d/f", "way/copied", job, overwrite=True),
            "chmod": lambda: tree.chmod(root, "way/f", next(self._modes), job),
            "chmod all": lambda: tree.chmod(root, "way", next(self._modes), job, recursive=True),
            "find": lambda: find(root, "way", "theirs", job, ignored=True)["entries"],
            "archive": lambda: self._archive("way"),
            "delete": lambda: tree.delete(root, "way/d/moved", job),
            "delete new": lambda: tree.delete(root, "way/d/new", job, recursive=True),
            "delete made": lambda: tree.delete(root, "way/made", job, recursive=True),
        }

    def _on_trees(self) -> dict[str, Callable[[], object]]:
        root, job = self._root, Job()
        return {
            "list": lambda: listing.list_directory(root, "tree", job, depth=3, details=True),
            "copy": self._copy_tree,
            "chmod": lambda: tree.chmod(root, "tree", next(self._modes), job, recursive=True),
            "find": lambda: find(root, "tree", "theirs", job, ignored=True)["entries"],
            "search": lambda: search(root, ".", SECRET.decode(), job, ignored=True)["matches"],
            "archive": lambda: self._archive("tree"),
            "delete": self._delete_victim,
        }

    def run(self, group: str) -> None:
        """Run each operation of the group once."""
        for name, operation in self.operations(group).items():
            try:
                found = operation()
            except GuestError as error:
                self.counts[error.code] += 1
            else:
                self.counts["went well"] += 1
                assert "their" not in repr(found), name

    def _read(self, path: str) -> bytes:
        reader = reading.Reader(self._root, path, Job())
        try:
            return b"".join(reader)
        finally:
            reader.close()

    def _read_lines(self, path: str) -> object:
        return self._lines.read_lines(path, Job(), first=1, count=None, max_bytes=1000)["data"]

    def _batch(self, *paths: str) -> list[object]:
        items = [{"path": path, "data": OURS, "executable": None, "if_match": None} for path in paths]
        return [outcome["written"] for outcome in batch.write_batch(self._root, items, Job(), atomic=True)]

    def _copy_tree(self) -> list[bytes]:
        copying.copy(self._root, "tree", "copied tree", Job())
        found = [path.read_bytes() for path in (self._base / "root/copied tree").rglob("*") if path.is_file()]
        tree.delete(self._root, "copied tree", Job(), recursive=True)
        return found

    def _archive(self, *paths: str) -> list[bytes]:
        made = b"".join(Zip(self._root, paths, Job(), max_bytes=1 << 20, max_files=100))
        with zipfile.ZipFile(io.BytesIO(made)) as packed:
            # a link is stored as its text, which names what is outside
            return [packed.read(name) for name in packed.namelist() if not name.endswith("-link")]

    def _delete_victim(self) -> int:
        victim = self._base / "root/victim"
        if not victim.exists():
            fresh = self._base / "root/fresh"
            for number in range(30):  # so that some time passes between a look into it and the step into `d`
                (fresh / ("d" if number == 15 else str(number))).mkdir(parents=True)
            (fresh / "d/f").write_bytes(OURS)
            (fresh / "d-link").symlink_to(self._base / "outside")
            fresh.rename(victim)
        return tree.delete(self._root, "victim", Job(), recursive=True)


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory, where there is such a place: flushing costs nothing there, which makes for more rounds."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


@contextmanager
def swapping(base: Path, group: str) -> Iterator[subprocess.Popen[str]]:
    """Run the other program."""
    arguments = [str(base / "root"), str(SECONDS), str(LEAST_SWAPS), *SWAPPED[group]]
    with subprocess.Popen([sys.executable, "-c", SWAPPER, *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("use_openat2", [True, False], ids=["openat2", "walk"])
@pytest.mark.parametrize("group", SWAPPED)
def test_nothing_outside_is_touched(base: Path, group: str, use_openat2: bool) -> None:
    lay_out(base)
    before = touched(base / "outside")
    root = Root(str(base / "root"), use_openat2=use_openat2)
    rounds = Rounds(root, base)
    try:
        with swapping(base, group) as process:
            while process.poll() is None:
                rounds.run(group)
            assert process.stdout is not None
            swaps = int(process.stdout.read())
    finally:
        root.close()
    assert touched(base / "outside") == before
    assert [path.name for path in (base / "root").rglob(OWN_PREFIX + "*")] == []
    # and it was a race
    assert swaps >= LEAST_SWAPS
    assert rounds.counts["went well"] > 20
    assert sum(rounds.counts.values()) > rounds.counts["went well"]
