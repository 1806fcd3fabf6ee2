"""Batches: an outcome for every file, and with atomic all of them or none."""

import errno
import hashlib
import os
import resource
import stat

import pytest

from devbox_mcp.guest import batch as batch_room
from devbox_mcp.guest import rollback
from devbox_mcp.guest.batch import write_batch
from devbox_mcp.guest.beneath import Root
from devbox_mcp.guest.drafts import Draft
from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.job import Job
from devbox_mcp.guest.locks import Parent
from devbox_mcp.guest.policy import Policy


def item(path, data=b"new", **options):
    return {"path": path, "data": data, **options}


def batch(root, *items, job=None, **options):
    return write_batch(root, items, job or Job(), **options)


def codes(outcomes):
    return [None if outcome["error"] is None else outcome["error"].code for outcome in outcomes]


def sha(data):
    return hashlib.sha256(data).hexdigest()


def snapshot(directory):
    """Return path, inode and content of every file, and the path of every directory, beneath a directory."""
    return {
        str(path.relative_to(directory)): (path.stat().st_ino, path.read_bytes()) if path.is_file() else None
        for path in directory.rglob("*")
    }


def disturb(monkeypatch, kind, method, before_call):
    """Have a method call something else first: what another program does in that moment."""
    original = getattr(kind, method)

    def disturbed(self, *args, **options):
        before_call(self)
        return original(self, *args, **options)

    monkeypatch.setattr(kind, method, disturbed)


@pytest.fixture(params=[False, True], ids=["each", "atomic"])
def atomic(request):
    return request.param


class TestBoth:
    def test_answers_are_those_of_write(self, root, tmp_path, atomic, leftovers):
        (tmp_path / "old").write_bytes(b"old")
        (tmp_path / "old").chmod(0o640)
        os.link(str(tmp_path / "old"), str(tmp_path / "hard"))
        job = Job()
        outcomes = batch(
            root,
            item("a/b/run", b"#!", executable=True),
            item("old", b"newer", if_match=sha(b"old")[:12]),
            item("a/empty", b""),
            job=job,
            atomic=atomic,
        )
        assert [outcome["path"] for outcome in outcomes] == ["a/b/run", "old", "a/empty"]
        assert codes(outcomes) == [None] * 3
        run, old, empty = (outcome["written"] for outcome in outcomes)
        assert (run["created"], run["previous"], run["unlinked"]) == (True, None, 0)
        assert (old["created"], old["previous"], old["unlinked"]) == (False, sha(b"old"), 1)
        for written in (run, old, empty):
            path = tmp_path / written["info"]["path"]
            assert written["info"]["sha256"] == sha(path.read_bytes())
            assert written["info"]["mode"] == stat.S_IMODE(path.stat().st_mode)
            assert written["info"]["links"] == 1
        assert (run["info"]["mode"], old["info"]["mode"]) == (0o755, 0o640)
        assert (tmp_path / "hard").read_bytes() == b"old"
        assert job.done == 7
        assert leftovers() == []

    def test_nothing(self, root, atomic):
        assert batch(root, atomic=atomic) == []

    def test_more_than_one_wave(self, root, tmp_path, atomic, monkeypatch, leftovers):
        monkeypatch.setattr(batch_room, "_WAVE", 7)
        items = [item("d%d/f%d" % (number % 3, number), b"%d" % number) for number in range(40)]
        for _ in range(2):
            assert codes(batch(root, *items, atomic=atomic)) == [None] * 40
        assert all((tmp_path / one["path"]).read_bytes() == one["data"] for one in items)
        assert leftovers() == []

    def test_through_links(self, root, tmp_path, atomic):
        (tmp_path / "d").mkdir()
        (tmp_path / "d/f").write_bytes(b"old")
        (tmp_path / "link").symlink_to("d/f")
        assert codes(batch(root, item("link"), atomic=atomic)) == [None]
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "d/f").read_bytes() == b"new"

    def test_bytes_that_are_still_to_come(self, root, tmp_path, atomic, monkeypatch, leftovers):
        """Files are made while the others' bytes are on their way, and have no names before all have come."""
        monkeypatch.setattr(batch_room, "_WAVE", 7)
        seen = []

        def coming(number):
            def data():
                seen.append((number, len(leftovers()), len(list(tmp_path.glob("d/f*")))))
                return b"%d" % number

            return data

        items = [item("d/f%d" % number, coming(number)) for number in range(20)]
        items[3]["path"] = "../up"  # its bytes come all the same
        outcomes = batch(root, *items, atomic=atomic, verify=lambda: seen.append("verify"))
        come = seen[: seen.index("verify")]
        assert [number for number, _, _ in come] == list(range(20))
        assert [made for _, made, _ in come[:7]] == [0, 1, 2, 3, 3, 4, 5]
        assert {named for _, _, named in come} == {0}
        rest = "cancelled" if atomic else None
        assert codes(outcomes) == [rest] * 3 + ["invalid_argument"] + [rest] * 16
        assert [path.read_bytes() for path in tmp_path.glob("d/f19")] == ([] if atomic else [b"19"])
        assert leftovers() == []

    @pytest.mark.parametrize("where", ["data", "verify"])
    def test_bytes_that_do_not_come(self, root, tmp_path, atomic, where, leftovers):
        """What breaks off leaves nothing: the old file, no new one, no directory."""
        (tmp_path / "old").write_bytes(b"old")

        def fail():
            raise GuestError("integrity", ".", "bytes are missing")

        last = fail if where == "data" else b"new"
        items = [item("d/e/f"), item("old"), item("last", last)]
        with pytest.raises(GuestError) as caught:
            batch(root, *items, atomic=atomic, verify=fail)
        assert caught.value.code == "integrity"
        assert [path.name for path in tmp_path.iterdir()] == ["old"]
        assert (tmp_path / "old").read_bytes() == b"old"
        assert leftovers() == []

    def test_a_file_that_has_come_meanwhile_keeps_its_mode(self, root, tmp_path, atomic):
        def meanwhile():
            (tmp_path / "f").write_bytes(b"old")
            (tmp_path / "f").chmod(0o640)

        outcomes = batch(root, item("f"), atomic=atomic, verify=meanwhile)
        assert codes(outcomes) == [None]
        assert outcomes[0]["written"]["created"] is False
        assert outcomes[0]["written"]["info"]["mode"] == stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o640
        assert (tmp_path / "f").read_bytes() == b"new"

    def test_handles_are_given_back(self, root, tmp_path, atomic):
        (tmp_path / "d").mkdir()
        before = os.listdir("/proc/self/fd")
        batch(root, item("a/f"), item("b/c/f"), item("d"), atomic=atomic)
        assert os.listdir("/proc/self/fd") == before


class TestEach:
    def test_every_file_has_its_own_outcome(self, root, tmp_path, leftovers):
        (tmp_path / "d").mkdir()
        (tmp_path / "f").write_bytes(b"old")
        (tmp_path / "link").symlink_to("/etc/passwd")
        os.mkfifo(str(tmp_path / "fifo"))
        outcomes = batch(
            root,
            item("good"),
            item("d"),
            item("f", if_match="0" * 12),
            item("link"),
            item("fifo"),
            item("../up"),
            item("missing", if_match="0" * 12),
            item("f/below"),
            item("."),
            item("good too"),
        )
        assert codes(outcomes) == [
            None,
            "is_directory",
            "conflict",
            "escapes_root",
            "unsupported",
            "invalid_argument",
            "conflict",
            "not_directory",
            "is_directory",
            None,
        ]
        assert all((outcome["written"] is None) == (outcome["error"] is not None) for outcome in outcomes)
        assert (tmp_path / "good too").read_bytes() == b"new"
        assert (tmp_path / "f").read_bytes() == b"old"
        assert outcomes[2]["error"].data == {"sha256": sha(b"old")}
        assert leftovers() == []

    def test_the_same_file_twice(self, root, tmp_path):
        (tmp_path / "d").mkdir()
        (tmp_path / "alias").symlink_to("d")
        (tmp_path / "d/link").symlink_to("f")
        outcomes = batch(root, item("d/f", b"1"), item("d/f", b"2"), item("alias/f", b"3"), item("d/link", b"4"))
        assert codes(outcomes) == [None] + ["invalid_argument"] * 3
        assert (tmp_path / "d/f").read_bytes() == b"1"

    def test_a_file_where_another_has_a_directory(self, root, tmp_path, leftovers):
        assert codes(batch(root, item("a"), item("a/b"))) == ["is_directory", None]
        assert (tmp_path / "a/b").read_bytes() == b"new"
        assert leftovers() == []

    def test_policy(self, tmp_path):
        root = Root(str(tmp_path), Policy(deny=[".env"]))
        assert codes(batch(root, item("a"), item("d/.env"))) == [None, "denied"]
        assert codes(batch(Root(str(tmp_path), Policy(read_only=True)), item("a"), item("b"))) == ["read_only"] * 2

    def test_a_directory_that_cannot_be_flushed(self, root, tmp_path, monkeypatch):
        def fail(parent):
            if parent.path.startswith("bad"):
                raise GuestError("io_error", parent.path)

        disturb(monkeypatch, Parent, "flush", fail)
        assert codes(batch(root, item("good/f"), item("bad/f"), item("bad/g"))) == [None, "io_error", "io_error"]

    def test_a_disk_that_fails_when_all_is_flushed(self, root, tmp_path, monkeypatch, leftovers):
        def fail(_fd):
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(batch_room, "flushes_at_once", lambda _fd: True)
        monkeypatch.setattr(batch_room, "flush_all", fail)
        (tmp_path / "f1").write_bytes(b"old")
        outcomes = batch(root, *(item("f%d" % number) for number in range(20)))
        assert codes(outcomes) == ["io_error"] * 20
        assert [outcome["error"].path for outcome in outcomes] == ["f%d" % number for number in range(20)]
        assert [path.name for path in tmp_path.iterdir()] == ["f1"]
        assert (tmp_path / "f1").read_bytes() == b"old"
        assert leftovers() == []

    @pytest.mark.parametrize("at_once", [False, True])
    def test_everything_is_flushed_before_anything_gets_its_name(self, root, tmp_path, monkeypatch, at_once):
        flushed = []
        monkeypatch.setattr(batch_room, "flushes_at_once", lambda _fd: at_once)
        monkeypatch.setattr(batch_room, "flush_all", lambda _fd: flushed.append("all"))
        disturb(monkeypatch, Draft, "flush", lambda draft: flushed.append(draft.name))
        disturb(monkeypatch, Draft, "publish", lambda _draft: flushed.append("publish"))
        assert codes(batch(root, *(item("d/f%d" % number) for number in range(20)))) == [None] * 20
        before = flushed[: flushed.index("publish")]
        assert (before[0] == "all") is at_once
        assert at_once or len(set(before)) == 20

    def test_a_link_in_place_of_a_file_in_a_directory_that_is_known(self, root, tmp_path):
        (tmp_path / "target").write_bytes(b"old")
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "link").symlink_to("../target")
        (tmp_path / "d" / "out").symlink_to("/etc/hostname")
        outcomes = batch(root, item("d/f"), item("d/link"), item("d/out"), item("d/../x"))
        assert codes(outcomes) == [None, None, "escapes_root", "invalid_argument"]
        assert (tmp_path / "target").read_bytes() == b"new"

    def test_cancelled(self, root, tmp_path, leftovers):
        job = Job()
        job.cancel()
        assert codes(batch(root, item("a"), item("b"), job=job)) == ["cancelled"] * 2
        assert list(tmp_path.iterdir()) == []


class TestAtomic:
    @pytest.mark.parametrize(
        ("culprit", "code"),
        [
            (item("d"), "is_directory"),
            (item("f", if_match="0" * 12), "conflict"),
            (item("a/b/new"), "invalid_argument"),
            (item("../x"), "invalid_argument"),
            (item("link"), "escapes_root"),
        ],
    )
    @pytest.mark.parametrize("position", [0, 1, 4])
    def test_one_failure_is_the_failure_of_all(self, root, tmp_path, culprit, code, position, leftovers):
        (tmp_path / "d").mkdir()
        (tmp_path / "f").write_bytes(b"old")
        (tmp_path / "g").write_bytes(b"old")
        (tmp_path / "link").symlink_to("/etc/passwd")
        before = snapshot(tmp_path)
        items = [item("a/b/new"), item("g"), item("other/new"), item("g2")]
        items.insert(position, culprit)
        found = codes(batch(root, *items, atomic=True))
        # of a file that occurs twice the later one is to blame
        guilty = 1 if code == "invalid_argument" and culprit["path"] == "a/b/new" and position == 0 else position
        assert found.pop(guilty) == code
        assert found == ["cancelled"] * 4
        assert snapshot(tmp_path) == before
        assert leftovers() == []

    def test_every_conflict_is_told(self, root, tmp_path):
        for name in "abc":
            (tmp_path / name).write_bytes(b"old")
        items = [item("a", if_match="0" * 12), item("b", if_match=sha(b"old")), item("c", if_match="1" * 12)]
        assert codes(batch(root, *items, atomic=True)) == ["conflict", "cancelled", "conflict"]

    @pytest.mark.parametrize("hard_links", [True, False])
    @pytest.mark.parametrize("failing", [0, 1, 2, 3, 4])
    def test_what_was_replaced_is_put_back(self, root, tmp_path, monkeypatch, failing, hard_links, leftovers):
        """The rename of each file in turn fails, for a directory has taken its name behind our back."""
        for name in ("one", "two", "d/three"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(b"old " + name.encode())
            (tmp_path / name).chmod(0o604)
        before = snapshot(tmp_path)
        if not hard_links:
            monkeypatch.setattr(rollback.os, "link", _no_hard_links)
        count = []

        def fail(_draft):
            count.append(1)
            if len(count) == failing + 1:
                raise GuestError("io_error", "x", "injected")

        disturb(monkeypatch, Draft, "publish", fail)
        paths = ["one", "new", "d/three", "deep/new", "two"]
        outcomes = batch(root, *map(item, paths), atomic=True)
        assert codes(outcomes) == ["io_error" if at == failing else "cancelled" for at in range(5)]
        assert all(outcome["written"] is None for outcome in outcomes)
        assert snapshot(tmp_path) == before
        assert (tmp_path / "one").stat().st_nlink == 1
        assert leftovers() == []

    def test_put_back_where_a_directory_cannot_be_flushed(self, root, tmp_path, monkeypatch, leftovers):
        (tmp_path / "f").write_bytes(b"old")
        before = snapshot(tmp_path)

        def fail(parent):
            raise GuestError("io_error", parent.path)

        disturb(monkeypatch, Parent, "flush", fail)
        assert codes(batch(root, item("f"), item("new/g"), atomic=True)) == ["io_error"] * 2
        assert snapshot(tmp_path) == before
        assert leftovers() == []

    def test_put_back_on_an_interrupt(self, root, tmp_path, monkeypatch, leftovers):
        (tmp_path / "f").write_bytes(b"old")
        (tmp_path / "g").write_bytes(b"old")
        before = snapshot(tmp_path)

        def fail(draft):
            if draft._path == "g":
                raise KeyboardInterrupt

        disturb(monkeypatch, Draft, "publish", fail)
        with pytest.raises(KeyboardInterrupt):
            batch(root, item("f"), item("g"), atomic=True)
        assert snapshot(tmp_path) == before
        assert leftovers() == []

    def test_a_name_is_never_free_meanwhile(self, root, tmp_path, monkeypatch):
        (tmp_path / "f").write_bytes(b"old")
        seen = []
        disturb(monkeypatch, Draft, "publish", lambda _: seen.append((tmp_path / "f").read_bytes()))
        batch(root, item("f"), item("g"), atomic=True)
        assert seen == [b"old", b"new"]

    def test_a_lock_that_is_not_to_be_had(self, root, tmp_path, leftovers):
        from devbox_mcp.guest.locks import locked

        (tmp_path / "d").mkdir()
        with root.locate("d/x") as place, Parent(place) as parent, locked((parent,), Job()):
            outcomes = batch(root, item("a/f"), item("d/f"), job=Job(seconds=0.1), atomic=True)
        assert codes(outcomes) == ["timeout", "cancelled"]
        assert [path.name for path in tmp_path.rglob("*")] == ["d"]

    @pytest.mark.slow
    def test_more_files_than_may_be_open(self, root, tmp_path, leftovers):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        # 150 beside what the tests before this one have left open
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 150, hard))
        try:
            items = [item("d/f%d" % number) for number in range(250)]
            assert codes(batch(root, *items, atomic=True)) == [None] * 250
            items = [item("many/d%d/f" % number) for number in range(250)]
            assert "unavailable" in codes(batch(root, *items, atomic=True))
            assert not (tmp_path / "many").exists()
            assert codes(batch(root, *items)) == [None] * 250
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert leftovers() == []

    def test_a_full_disk(self, root, tmp_path, mount):
        disk = tmp_path / "disk"
        disk.mkdir()
        mount(disk, "-t", "tmpfs", "-o", "size=256k", "none")
        (disk / "f").write_bytes(b"old")
        before = snapshot(disk)
        outcomes = batch(root, item("disk/f"), item("disk/g", b"x" * 400000), item("disk/d/h"), atomic=True)
        assert codes(outcomes) == ["cancelled", "no_space", "cancelled"]
        assert snapshot(disk) == before


def _no_hard_links(*_args, **_options):
    raise PermissionError(1, "Operation not permitted")
