"""Killed at any moment, failing at any system call: the old or the new is there, whole, and nothing else shows."""

import collections
import ctypes
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import time
import traceback
from pathlib import Path

import pytest

from devbox_mcp.guest import tree
from devbox_mcp.guest.batch import write_batch
from devbox_mcp.guest.beneath import Root
from devbox_mcp.guest.copying import copy
from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.job import Job
from devbox_mcp.guest.listing import list_directory
from devbox_mcp.guest.locks import Parent
from devbox_mcp.guest.sweep import sweep
from devbox_mcp.guest.writing import write

OLD, NEW = b"old " * 75_000, b"newer " * 50_000

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@pytest.fixture
def home(tmp_path):
    """The root's directory, apart from what else a test puts down."""
    directory = tmp_path / "root"
    directory.mkdir()
    return directory


def snapshot(directory):
    """Return what a caller can see beneath a directory: the content of files, None for directories."""
    root = Root(str(directory))
    found = list_directory(root, ".", Job(), depth=64)["entries"]
    root.close()
    return {
        entry["path"]: Path(directory, entry["path"]).read_bytes() if entry["type"] == "file" else None
        for entry in found
    }


def swept(directory):
    """Sweep as an hour later and return how many of our own files remain in the directory."""
    root = Root(str(directory))
    with root.locate("any") as place, Parent(place) as parent:
        sweep(parent, time.time() + 7200)
    root.close()
    return [path.name for path in directory.iterdir() if path.name.startswith(".devbox-mcp-")]


def in_child(function):
    """Run a function in a child process that ends with it; return its id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        function()
        status = 0
    finally:
        if status:
            traceback.print_exc()
        os._exit(status)


def test_killed_at_random_moments(home):
    (home / "f").write_bytes(OLD)
    root = Root(str(home))
    dice = random.Random(8)

    def write_for_ever():
        while True:
            for content in (NEW, OLD):
                write(root, "f", [content[:100_000], content[100_000:]], Job())

    died_with_leftovers = 0
    for _ in range(120):
        child = in_child(write_for_ever)
        time.sleep(dice.uniform(0.001, 0.03))
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        seen = snapshot(home)
        assert list(seen) == ["f"]
        assert seen["f"] in (OLD, NEW)
        died_with_leftovers += len(os.listdir(str(home))) > 1
        assert swept(home) == []
    assert died_with_leftovers > 0  # or the kills always came between two writes, and prove nothing
    root.close()


# -- every system call of an operation in turn


def trace(function, log, *options):
    """Run a function in a child under strace, attached just before it begins. Return the names of the system calls
    in order, the exit status, and what the function's GuestError said ("" for none, None where it was killed)."""
    answer, answer_write = os.pipe()

    def run():
        ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)  # PR_SET_PTRACER: anybody may trace it
        os.kill(os.getpid(), signal.SIGSTOP)
        said = ""
        try:
            function()
        except GuestError as error:
            said = str(error)
        os.write(answer_write, b"=" + said.encode())

    child = in_child(run)
    os.close(answer_write)
    os.waitpid(child, os.WUNTRACED)
    tracer = subprocess.Popen(
        ["strace", "-p", str(child), "-o", str(log), *options], stderr=subprocess.PIPE, universal_newlines=True
    )
    attached = "attached" in tracer.stderr.readline()
    os.kill(child, signal.SIGCONT)
    status = os.waitpid(child, 0)[1]
    tracer.communicate()
    said = os.read(answer, 10_000).decode()
    os.close(answer)
    if not attached:
        pytest.skip("tracing is not permitted here")
    calls = re.findall(r"^(\w+)\(", log.read_text(), re.MULTILINE)
    return calls, status, said[1:] if said else None


def each_call(calls):
    """Yield (name, how many-th of that name) for every call."""
    seen = collections.Counter()
    for name in calls:
        seen[name] += 1
        yield name, seen[name]


def prepare(home):
    """Make the root what every operation starts from."""
    for path in home.iterdir():
        if path.is_dir():
            shutil.rmtree(str(path))
        else:
            path.unlink()
    (home / "d/e").mkdir(parents=True)
    for name in ("f", "d/g", "d/e/h"):
        (home / name).write_bytes(OLD)


OPERATIONS = {
    "overwrite": lambda root: write(root, "f", [NEW[:9], NEW[9:]], Job()),
    "overwrite in a directory": lambda root: write(root, "d/g", [NEW], Job()),
    "create": lambda root: write(root, "new", [NEW], Job(), mode="create"),
    "append": lambda root: write(root, "f", [NEW], Job(), mode="append"),
    "delete": lambda root: tree.delete(root, "d", Job(), recursive=True),
    "move": lambda root: tree.move(root, "d", "moved", Job()),
    "copy a tree": lambda root: copy(root, "d", "copied", Job()),
}


@needs_strace
@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
def test_killed_at_every_system_call(home, tmp_path, operation):
    root = Root(str(home))
    prepare(home)
    before = snapshot(home)
    calls, status, said = trace(lambda: OPERATIONS[operation](root), tmp_path / "log")
    assert (status, said) == (0, "")
    after = snapshot(home)
    assert after != before
    states = collections.Counter()
    for name, count in each_call(calls):
        prepare(home)
        _, status, _ = trace(
            lambda: OPERATIONS[operation](root),
            tmp_path / "log",
            "-e",
            "inject=%s:signal=SIGKILL:when=%d" % (name, count),
        )
        assert status == signal.SIGKILL, (name, count)
        seen = snapshot(home)
        assert seen in (before, after), (name, count)
        states[seen == after] += 1
        assert swept(home) == []
        assert snapshot(home) == seen
    assert states[False] > 5
    assert states[True] > 0
    root.close()


@needs_strace
@pytest.mark.slow
def test_an_atomic_batch_killed_at_every_system_call(home, tmp_path):
    """It is not undone when it is killed, but each file is old or new, and never missing."""
    root = Root(str(home))

    def run():
        items = [{"path": path, "data": NEW} for path in ("f", "new", "d/g")]
        write_batch(root, items, Job(), atomic=True)

    prepare(home)
    calls, _, said = trace(run, tmp_path / "log")
    assert said == ""
    for name, count in each_call(calls):
        prepare(home)
        trace(run, tmp_path / "log", "-e", "inject=%s:signal=SIGKILL:when=%d" % (name, count))
        seen = snapshot(home)
        assert {seen["f"], seen["d/g"]} <= {OLD, NEW}, (name, count)
        assert seen.get("new", NEW) == NEW, (name, count)
        assert set(seen) - {"new"} == {"f", "d", "d/e", "d/g", "d/e/h"}
        assert swept(home) == swept(home / "d") == []
    root.close()


@needs_strace
@pytest.mark.parametrize("operation", ["overwrite", "create", "append", "copy a tree"])
def test_flushed_before_and_after_the_rename(home, tmp_path, operation):
    """What a kill cannot show, for the kernel survives it: the content is on disk before the name leads to it, and
    the name before success is reported."""
    prepare(home)
    root = Root(str(home))
    calls, _, _ = trace(lambda: OPERATIONS[operation](root), tmp_path / "log")
    renamed = max(index for index, name in enumerate(calls) if name.startswith("rename"))
    assert "fsync" in calls[:renamed]
    assert "write" not in calls[calls.index("fsync") : renamed]
    assert calls[renamed:].count("fsync") == 1
    root.close()


#: Calls that the interpreter makes for itself, or the test; and close, which has nothing to tell after a flush.
NOT_OURS = {
    "brk", "close", "exit_group", "futex", "getrandom", "madvise", "mmap", "mprotect", "munmap", "restart_syscall",
    "rt_sigaction", "rt_sigprocmask",
}  # fmt: skip


@needs_strace
@pytest.mark.slow
@pytest.mark.parametrize("operation", ["overwrite", "create", "append", "copy a tree", "move"])
def test_every_system_call_fails_once(home, tmp_path, leftovers, operation):
    """With EIO wherever it strikes: an error and the old state, or success and the new; and nothing left behind.

    Only once a name is in place and its directory cannot be flushed, the new state comes with an error, which says so.
    """
    root = Root(str(home))
    prepare(home)
    before = snapshot(home)
    calls, _, said = trace(lambda: OPERATIONS[operation](root), tmp_path / "log")
    assert said == ""
    after = snapshot(home)
    failed = 0
    last_write = max(index for index, name in enumerate(calls) if name == "write")  # it reports to the test
    for index, (name, count) in enumerate(each_call(calls)):
        if name in NOT_OURS or index >= last_write:
            continue
        prepare(home)
        _, status, said = trace(
            lambda: OPERATIONS[operation](root), tmp_path / "log", "-e", "inject=%s:error=EIO:when=%d" % (name, count)
        )
        assert status == 0, ("something else than a GuestError", name, count)
        seen = snapshot(home)
        uncertain = "the change was made" in said
        assert seen == (after if uncertain or not said else before), (name, count, said)
        assert swept(home) == [] if name == "unlinkat" else leftovers() == [], (name, count)
        failed += bool(said)
    assert failed > 10
    root.close()


@needs_strace
@pytest.mark.parametrize(
    ("inject", "said"),
    [
        ("fsync:error=EIO:when=1", "io_error"),
        ("write:error=ENOSPC:when=1", "no_space"),
        ("write:error=EDQUOT:when=1", "no_space"),
        ("write:error=EIO:when=1", "io_error"),
        ("renameat,renameat2,rename:error=EIO", "io_error"),
        ("renameat,renameat2,rename:error=EROFS", "read_only"),
        ("fsync:error=EIO:when=2", "did not confirm"),
    ],
)
def test_a_failing_disk(home, tmp_path, leftovers, inject, said):
    (home / "f").write_bytes(OLD)
    root = Root(str(home))
    _, _, answer = trace(lambda: write(root, "f", [NEW], Job()), tmp_path / "log", "-e", "inject=" + inject)
    assert said in answer
    assert (home / "f").read_bytes() == (NEW if "confirm" in said else OLD)
    assert leftovers() == []
    root.close()


@pytest.mark.parametrize("options", [{}, {"mode": "append"}, {"in_place": True}])
def test_a_file_larger_than_allowed(home, leftovers, options):
    (home / "f").write_bytes(OLD)
    root = Root(str(home))

    def attempt():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            write(root, "f", [NEW], Job(), **options)
        except GuestError as error:
            if error.code == "no_space":
                return
        os._exit(1)

    assert os.waitpid(in_child(attempt), 0)[1] == 0
    assert (home / "f").read_bytes() == OLD
    assert leftovers() == []
    root.close()


@pytest.mark.parametrize(
    ("options", "fits"), [({}, b"small"), ({"mode": "append"}, None), ({"in_place": True}, b"small")]
)
def test_a_full_disk(home, mount, leftovers, options, fits):
    """Half a MiB: the old content fits, the old and the new do not, and neither do the old and a copy of it."""
    mount(home, "-t", "tmpfs", "-o", "size=512k", "none")
    root = Root(str(home))
    (home / "f").write_bytes(OLD)
    for _ in range(3):
        with pytest.raises(GuestError) as caught:
            write(root, "f", [NEW], Job(), **options)
        assert caught.value.code == "no_space"
        assert (home / "f").read_bytes() == OLD
        assert leftovers() == []
    if fits is not None:
        write(root, "f", [fits], Job(), **options)
        assert (home / "f").read_bytes() == fits
    root.close()
