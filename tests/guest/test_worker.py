"""Searching in child processes: the same answers, ended in time whatever the pattern, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from devbox_mcp.guest import worker as worker_room
from devbox_mcp.guest.beneath import Root
from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.find import find
from devbox_mcp.guest.job import Job
from devbox_mcp.guest.policy import Policy
from devbox_mcp.guest.search import search
from devbox_mcp.guest.worker import Worker, from_directory

EXPLOSIVE = "(a+)+$"
DEAF = r"\w+=\d"  # while it matches a long word, no signal is looked out for
PACKAGE = os.path.dirname(worker_room.__file__)

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


@pytest.fixture
def tree(tmp_path):
    for path, text in {"1": "plain\n", "2/x": "plain\n" + "a" * 80 + "b\n", "3": "plain\n"}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


@pytest.fixture
def worker(root):
    worker = Worker(root)
    yield worker
    worker.close()


def pids(worker):
    return {child._process.pid for child in worker._children}


def is_running(pid):
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_for(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it does not happen")


def code_of(call, *arguments, **options):
    with pytest.raises(GuestError) as caught:
        call(*arguments, **options)
    return caught.value.code


def test_the_same_answers_as_without(worker, root, tree):
    (tree / os.fsdecode(b"n\xff\n")).write_text("plain\n")
    options = {"glob": "*", "regex": True, "ignore_case": True, "context": 2, "ignored": True, "limit": 2}
    expected = search(root, ".", "PLAIN", Job(), after=None, **options)
    assert expected["after"]
    assert worker.search(".", "PLAIN", Job(), **options) == expected
    second = search(root, ".", "PLAIN", Job(), after=expected["after"], **options)
    assert worker.search(".", "PLAIN", Job(), after=expected["after"], **options) == second
    for sort in ("name", "newest"):
        options = {"sort": sort, "ignored": True, "limit": 3, "after": None}
        assert worker.find(".", "**", Job(), **options) == find(root, ".", "**", Job(), **options)
    assert worker.search(".", "plain", Job()) == search(root, ".", "plain", Job())
    assert worker.find(".", "*", Job()) == find(root, ".", "*", Job())


def test_one_child_serves_many_calls(worker, tree):
    worker.search(".", "plain", Job())
    seen = pids(worker)
    assert len(seen) == 1
    for _ in range(100):
        worker.find(".", "*", Job(60))
        assert code_of(worker.find, "nowhere", "*", Job()) == "not_found"
        assert pids(worker) == seen


@on_linux
def test_a_request_whose_writing_is_noticed_late_does_not_end_the_child(worker, tree):
    for number in range(2000):
        (tree / ("%04d" % number).ljust(100, "x")).touch()
    worker.find(".", "*", Job())
    (child,) = worker._children
    options = {"sort": "name", "ignored": True, "limit": 2000, "after": None}
    request = {"operation": "find", "path": ".", "pattern": "*", "options": options, "seconds": None}
    child._send(worker_room._line(request))
    # it is in the middle of its answer, which is more than the pipe takes; a blank is no request yet
    child._readable.poll()
    child._requests.write(b" ")
    messages = list(iter(lambda: child._receive(".", Job()), {}))
    assert sum(len(message["part"]["entries"]) for message in messages) == 2000
    assert worker.find(".", "*1x*", Job())["entries"]
    assert worker._children == {child}


def test_an_error_keeps_all_its_fields(worker, tree):
    with pytest.raises(GuestError) as caught:
        worker.search("2", "a[", Job())
    assert (caught.value.code, caught.value.data) == ("invalid_argument", {"position": 1})
    assert caught.value.detail.startswith("bad pattern: ")
    assert caught.value.hint


def test_progress_counts_files(worker, tree):
    told = []
    worker.search(".", "plain", Job(on_progress=lambda done, total: told.append((done, total))))
    assert told[-1] == (3, None)


@pytest.mark.parametrize("seconds", [0.6, 0.0])
def test_a_pattern_that_explodes_is_ended_with_what_was_found_before_it(worker, tree, seconds):
    worker.search(".", "plain", Job())
    answer = worker.search(".", "plain|" + EXPLOSIVE, Job(seconds))
    assert answer["timed_out"]
    if seconds:
        assert [(match["path"], match["line"]) for match in answer["matches"]] == [("1", 1), ("2/x", 1)]
        assert pids(worker) == set()
    rest = worker.search(".", "plain", Job(), after=answer["after"])
    assert [match["path"] for match in rest["matches"]][-1] == "3"
    assert len(answer["matches"]) + len(rest["matches"]) == 3


def test_a_line_that_takes_for_ever_is_given_up_and_the_other_files_are_searched(worker, tree):
    answer = worker.search(".", "plain|" + EXPLOSIVE, Job(300))
    assert [(match["path"], match["line"]) for match in answer["matches"]] == [("1", 1), ("2/x", 1), ("3", 1)]
    assert answer["gaps"] == [{"path": "2/x", "line": 2, "reason": "slow"}]
    assert (answer["timed_out"], answer["after"], answer["files"]) == (False, None, 3)
    # and the child lives on
    assert pids(worker)
    assert worker.search("2/x", EXPLOSIVE, Job(300), context=1)["gaps"] == answer["gaps"]


def test_the_time_may_be_over_before_there_is_anything(worker, tree, monkeypatch):
    monkeypatch.setattr(worker_room, "_GRACE", -1)
    assert code_of(worker.search, ".", "plain", Job(0)) == "timeout"
    assert pids(worker) == set()


def test_cancelling_ends_it(worker, tree):
    job = Job()
    timer = threading.Timer(0.3, job.cancel)
    timer.start()
    assert code_of(worker.search, ".", EXPLOSIVE, job) == "cancelled"
    timer.join()
    assert pids(worker) == set()


def test_no_more_children_than_allowed_and_the_others_wait(worker, tree):
    (tree / "1").write_text("a=b" + "a" * 500_000)
    seen, outcomes = [], []

    def run(seconds):
        try:
            outcomes.append(worker.search(".", DEAF, Job(seconds))["timed_out"])
        except GuestError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=run, args=(1.5 if number < 4 else 0.2,)) for number in range(6)]
    for thread in threads:
        thread.start()
        wait_for(lambda: len(worker._children) == min(4, len(threads), threads.index(thread) + 1))  # noqa: B023
        seen.append(len(worker._children))
    for thread in threads:
        thread.join()
    assert max(seen) == 4
    assert sorted(map(str, outcomes)) == ["True"] * 4 + ["timeout"] * 2
    assert worker.search(".", "plain", Job())["files"] == 3


def test_searches_that_explode_leave_room_for_a_find(worker, tree):
    (tree / "1").write_text("a=b" + "a" * 500_000)
    worker.find(".", "*", Job())
    jobs = [Job() for _ in range(6)]
    threads = [threading.Thread(target=code_of, args=(worker.search, ".", DEAF, job)) for job in jobs]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(worker._children) - len(worker._idle) == 4)
    for _ in range(3):
        assert worker.find(".", "3", Job(60))["entries"]
    with pytest.raises(GuestError) as caught:
        worker.search(".", "plain", Job(0.1))
    assert (caught.value.code, caught.value.hint) == ("timeout", "try again")
    for job in jobs:
        job.cancel()
    for thread in threads:
        thread.join()


def test_an_idle_child_that_was_killed_is_replaced(worker, tree):
    worker.search(".", "plain", Job())
    (pid,) = pids(worker)
    os.kill(pid, signal.SIGKILL)
    assert worker.search(".", "plain", Job())["files"] == 3
    assert pids(worker)
    assert pid not in pids(worker)


@pytest.mark.parametrize(("program", "reason"), [("/nowhere/python", "No such file"), ("/dev/null", "ermission")])
def test_a_child_that_cannot_be_started_says_why(worker, tree, monkeypatch, program, reason):
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(GuestError) as caught:
        worker.find(".", "*", Job())
    assert caught.value.code == "unavailable"
    assert reason in caught.value.detail
    assert pids(worker) == set()


def test_a_busy_child_that_is_killed_is_an_error(worker, tree):
    codes = []
    thread = threading.Thread(target=lambda: codes.append(code_of(worker.search, ".", EXPLOSIVE, Job())))
    thread.start()
    wait_for(lambda: pids(worker))
    for pid in pids(worker):
        os.kill(pid, signal.SIGKILL)
    thread.join()
    assert codes == ["unavailable"]
    assert worker.search(".", "plain", Job())["files"] == 3


@on_linux
def test_closing_ends_everything(root, tree):
    handles = sorted(os.listdir("/proc/self/fd"))
    worker = Worker(root)
    worker.find(".", "*", Job())
    codes = []
    threads = [
        threading.Thread(target=lambda: codes.append(code_of(worker.search, ".", EXPLOSIVE, Job()))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(pids(worker)) == 2)
    running = pids(worker)
    worker.close()
    for thread in threads:
        thread.join()
    assert codes == ["unavailable"] * 2
    assert code_of(worker.find, ".", "*", Job()) == "unavailable"
    worker.close()
    assert not any(map(is_running, running))
    assert sorted(os.listdir("/proc/self/fd")) == handles


def test_the_policy_goes_with_it(tree):
    root = Root(str(tree), Policy(["2", "*.secret"]))
    worker = Worker(root)
    (tree / "x.secret").write_text("plain")
    assert [match["path"] for match in worker.search(".", "plain", Job(), ignored=True)["matches"]] == ["1", "3"]
    assert [entry["path"] for entry in worker.find(".", "*", Job(), ignored=True)["entries"]] == ["1", "3"]
    assert code_of(worker.search, "2/x", "plain", Job()) == "denied"
    worker.close()
    root.close()


def test_the_root_is_the_handle_and_not_the_path(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "mine").touch()
    root = Root(str(tmp_path / "real"))
    (tmp_path / "real").rename(tmp_path / "moved")
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "other").touch()
    worker = Worker(root)
    assert [entry["path"] for entry in worker.find(".", "*", Job())["entries"]] == ["mine"]
    worker.close()
    root.close()


def test_nothing_is_said_on_our_own_output(worker, tree, capfd):
    worker.search(".", "[[a]|x", Job())  # a warning to whoever compiles it
    with pytest.raises(GuestError):
        worker.search(".", "(", Job())
    assert capfd.readouterr() == ("", "")


@on_linux
def test_a_child_knows_little(worker, tree, monkeypatch):
    monkeypatch.setenv("TOKEN", "secret")
    worker.find(".", "*", Job())
    (pid,) = pids(worker)
    with open("/proc/%d/environ" % pid, "rb") as file:
        assert b"TOKEN" not in file.read()
    held = {os.readlink("/proc/%d/fd/%s" % (pid, fd)).partition(":")[0] for fd in os.listdir("/proc/%d/fd" % pid)}
    assert held == {"pipe", "/dev/null", str(tree)}


def test_the_package_is_imported_without_anything_around_it():
    program, fed = from_directory()
    assert fed == b""
    program = program.replace("main()\n", "print([name for name in sys.modules if 'devbox' in name])\n")
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], stdout=subprocess.PIPE, check=True)
    assert done.stdout.strip() == b"[]"


FROM_STDIN = """
import importlib.abc, importlib.util, json, os, sys
sources = b""
while len(sources) < {length}:
    sources += os.read(0, {length} - len(sources))
sources = json.loads(sources)
class Loader(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if name == "guest" or name.startswith("guest."):
            return importlib.util.spec_from_loader(name, self, is_package=name == "guest")
    def exec_module(self, module):
        exec(sources.get(module.__name__, ""), module.__dict__)
sys.meta_path.insert(0, Loader())
from guest.child import main
main()
"""


def test_another_loader_needs_no_files(root, tree):
    sources = {}
    for name in os.listdir(PACKAGE):
        if name.endswith(".py") and name != "__init__.py":
            with open(os.path.join(PACKAGE, name), encoding="utf-8") as file:
                sources["guest." + name[:-3]] = file.read()
    fed = json.dumps(sources).encode()
    worker = Worker(root, lambda: (FROM_STDIN.format(length=len(fed)), fed))
    assert worker.search(".", "plain", Job()) == search(root, ".", "plain", Job())
    worker.close()


def test_children_that_are_idle_for_long_end_and_are_forgotten(root, tree):
    program = from_directory()[0].replace("main()\n", "import guest.child\nguest.child._IDLE = 0.05\nmain()\n")
    worker = Worker(root, lambda: (program, b""))
    with worker._child(".", Job(), 2) as one, worker._child(".", Job(), 2) as other:
        pass
    wait_for(lambda: one.has_ended() and other.has_ended())
    assert worker.find(".", "*", Job())["entries"]
    assert not {one, other} & worker._children
    worker.close()


PARENT = """
import os, sys, threading, time
sys.path.insert(0, {project!r})
from devbox_mcp.guest.beneath import Root
from devbox_mcp.guest.job import Job
from devbox_mcp.guest.worker import Worker
worker = Worker(Root({root!r}))
worker.find(".", "*", Job())
if {seconds!r} != "idle":
    threading.Thread(target=worker.search, args=(".", {pattern!r}, Job({seconds!r})), daemon=True).start()
    time.sleep(0.3)
print(*[child._process.pid for child in worker._children], flush=True)
time.sleep(3600)
"""


@on_linux
@pytest.mark.parametrize(
    ("pattern", "seconds", "ending"),
    [
        (EXPLOSIVE, "idle", signal.SIGKILL),
        (EXPLOSIVE, 3600, signal.SIGKILL),
        (EXPLOSIVE, None, signal.SIGKILL),
        (DEAF, None, signal.SIGKILL),
        (DEAF, 1.0, signal.SIGSTOP),
    ],
)
def test_no_child_outlives_its_parent(tree, pattern, seconds, ending):
    """Neither one that is idle nor one in the middle of a pattern that explodes; nor does one outlive its deadline
    for long when the parent lives but does nothing."""
    (tree / "1").write_text("a=b" + "a" * 500_000)
    project = os.path.dirname(os.path.dirname(PACKAGE))
    program = PARENT.format(project=project, root=str(tree), pattern=pattern, seconds=seconds)
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        (pid,) = map(int, parent.stdout.readline().split())
        assert is_running(pid)
        parent.send_signal(ending)
        wait_for(lambda: not is_running(pid))
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
