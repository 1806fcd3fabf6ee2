"""Make, delete, move, copy and chmod: what they do, what they refuse, and that nothing outside is touched."""

import ctypes
import hashlib
import os
import resource
import stat
import subprocess
import threading
from contextlib import contextmanager

import pytest

from devbox_mcp.guest import modes, places, removal, tree
from devbox_mcp.guest.beneath import Root
from devbox_mcp.guest.copying import copy
from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.job import Job
from devbox_mcp.guest.names import own_name
from devbox_mcp.guest.policy import Policy

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def delete(root, path, **options):
    return tree.delete(root, path, Job(), **options)


def move(root, source, destination, **options):
    return tree.move(root, source, destination, Job(), **options)


def duplicate(root, source, destination, **options):
    return copy(root, source, destination, Job(), **options)


def chmod(root, path, mode, **options):
    return tree.chmod(root, path, mode, Job(), **options)


@contextmanager
def refused(code, path=None):
    with pytest.raises(GuestError) as caught:
        yield caught
    assert caught.value.code == code, str(caught.value)
    if path is not None:
        assert caught.value.path == path


def sha(data):
    return hashlib.sha256(data).hexdigest()


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def mode_of(path):
    return stat.S_IMODE(path.lstat().st_mode)


def make(directory, **files):
    """Make files in a new directory: ``make(d, a=b"…")``."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (directory / name).write_bytes(data)
    return directory


def snapshot(directory):
    """Return everything that is beneath a directory: paths, kinds, modes, contents."""
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(directory))] = ("link", os.readlink(str(path)))
        elif path.is_dir():
            found[str(path.relative_to(directory))] = ("directory", mode_of(path))
        else:
            found[str(path.relative_to(directory))] = (path.read_bytes(), mode_of(path))
    return found


@pytest.fixture
def other_file_system(tmp_path, mount):
    """A directory ``mounted`` beneath the root that is another file system."""
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    mount(mounted, "-t", "tmpfs", "-o", "size=1m", "none")
    return mounted


class TestMkdir:
    def test_with_parents(self, root, tmp_path):
        assert tree.mkdir(root, "a/b/c") is True
        assert (tmp_path / "a/b/c").is_dir()
        assert tree.mkdir(root, "a/b/c") is False
        assert tree.mkdir(root, ".") is False

    def test_a_file_is_there(self, root, tmp_path):
        make(tmp_path, f=b"")
        with refused("exists", "f"):
            tree.mkdir(root, "f")
        with refused("not_directory"):
            tree.mkdir(root, "f/below")

    def test_through_links(self, root, tmp_path):
        (tmp_path / "link").symlink_to("real")
        assert tree.mkdir(root, "link") is True
        assert (tmp_path / "real").is_dir()
        assert tree.mkdir(root, "link/below") is True
        (tmp_path / "out").symlink_to("..")
        with refused("escapes_root"):
            tree.mkdir(root, "out/evil")

    @needs_root
    def test_owner(self, root, tmp_path):
        os.chown(str(tmp_path), 1234, 2345)
        tree.mkdir(root, "a/b")
        assert ((tmp_path / "a/b").stat().st_uid, (tmp_path / "a").stat().st_gid) == (1234, 2345)

    def test_policy(self, tmp_path):
        with refused("denied"):
            tree.mkdir(Root(str(tmp_path), Policy(deny=["secret"])), "secret/x")
        with refused("read_only"):
            tree.mkdir(Root(str(tmp_path), Policy(read_only=True)), "x/y")
        assert names(tmp_path) == []


class TestDelete:
    def test_a_file(self, root, tmp_path):
        make(tmp_path, f=b"", g=b"")
        assert delete(root, "f") == 1
        assert names(tmp_path) == ["g"]
        with refused("not_found", "f"):
            delete(root, "f")
        with refused("not_found"):
            delete(root, "no/such/thing")

    def test_a_special_file(self, root, tmp_path):
        os.mkfifo(str(tmp_path / "fifo"))
        assert delete(root, "fifo") == 1

    def test_a_link_never_its_target(self, root, tmp_path):
        make(tmp_path / "d", f=b"x")
        for name, target in (("one", "d"), ("two", "d/f"), ("three", "nothing"), ("four", "/etc")):
            (tmp_path / name).symlink_to(target)
            assert delete(root, name, recursive=True) == 1
        assert snapshot(tmp_path) == {"d": ("directory", 0o755), "d/f": (b"x", 0o644)}

    def test_directories(self, root, tmp_path, leftovers):
        make(tmp_path / "d/e", f=b"", g=b"")
        (tmp_path / "d/e/link").symlink_to("/etc")
        with refused("not_empty", "d"):
            delete(root, "d")
        assert len(snapshot(tmp_path)) == 5
        assert delete(root, "d", recursive=True) == 5
        assert names(tmp_path) == []
        (tmp_path / "empty").mkdir()
        assert delete(root, "empty") == 1
        assert leftovers() == []

    def test_a_directory_with_nothing_but_our_leftovers_is_empty(self, root, tmp_path):
        make(tmp_path / "d", **{own_name("part"): b"x"})
        assert delete(root, "d") == 1
        assert names(tmp_path) == []

    def test_the_root(self, root, tmp_path):
        make(tmp_path / "d", f=b"")
        (tmp_path / "link").symlink_to(str(tmp_path))
        with refused("invalid_argument", ".") as caught:
            delete(root, ".", recursive=True)
        assert "the root itself" in caught.value.detail
        assert delete(root, "link", recursive=True) == 1  # the link is no more than a link
        assert (tmp_path / "d/f").exists()

    def test_versions(self, root, tmp_path):
        make(tmp_path / "d", f=b"content")
        (tmp_path / "link").symlink_to("d/f")
        with refused("conflict", "d/f") as caught:
            delete(root, "d/f", if_match="0" * 12)
        assert caught.value.data == {"sha256": sha(b"content")}
        for path in ("d", "link"):
            with refused("invalid_argument"):
                delete(root, path, recursive=True, if_match="0" * 12)
        for path in ("missing", "no/parent"):
            with refused("conflict") as caught:
                delete(root, path, if_match="0" * 12)
            assert caught.value.data == {"sha256": None}
        assert delete(root, "d/f", if_match=sha(b"content")[:20]) == 1

    def test_what_the_policy_denies_is_safe_at_any_depth(self, tmp_path, leftovers):
        make(tmp_path / "d/e/f", **{".env": b"secret", "a": b""})
        denying = Root(str(tmp_path), Policy(deny=[".env"]))
        before = snapshot(tmp_path)
        for path in ("d", "d/e", "d/e/f"):
            with refused("denied", "d/e/f/.env"):
                delete(denying, path, recursive=True)
        assert snapshot(tmp_path) == before
        assert delete(denying, "d/e/f/a") == 1
        with refused("read_only"):
            delete(Root(str(tmp_path), Policy(read_only=True)), "d", recursive=True)
        assert leftovers() == []

    def test_deeper_than_files_can_be_open(self, root, tmp_path):
        """More levels than one process may have files open, a path longer than any system call takes."""
        levels = 900
        fd = os.open(str(tmp_path), os.O_RDONLY)
        for _ in range(levels):
            os.mkdir("deep", dir_fd=fd)
            os.symlink("/etc", "link", dir_fd=fd)
            below = os.open("deep", os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = below
        os.close(fd)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        try:
            assert delete(root, "deep", recursive=True) == levels + levels - 1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert names(tmp_path) == ["link"]

    def test_wide_and_deep(self, root, tmp_path, monkeypatch):
        monkeypatch.setattr(removal, "_MOST_LEVELS", 3)
        for path in ("a/b/c/d/e/f", "a/b/c/x/y", "a/b/c/d/z"):
            make(tmp_path / path, f=b"", g=b"")
        count = len(snapshot(tmp_path))
        assert delete(root, "a", recursive=True) == count
        assert names(tmp_path) == []

    def test_what_cannot_be_removed_is_named_and_put_back(self, root, tmp_path, mount, leftovers):
        make(tmp_path / "d/e", f=b"keep")
        make(tmp_path / "d/g", h=b"")
        mount(tmp_path / "d/e", "-t", "tmpfs", "none")
        (tmp_path / "d/e/mounted").write_bytes(b"keep")
        with refused("busy", "d/e"):
            delete(root, "d", recursive=True)
        assert (tmp_path / "d/e/mounted").read_bytes() == b"keep"
        subprocess.check_call(["umount", str(tmp_path / "d/e")])
        assert (tmp_path / "d/e/f").read_bytes() == b"keep"
        assert leftovers() == []

    def test_what_belongs_to_others_is_named_and_put_back(self, root, tmp_path, stranger, leftovers):
        make(tmp_path / "d/a", f=b"")
        make(tmp_path / "d/b", f=b"theirs")
        for path in (tmp_path, tmp_path / "d", tmp_path / "d/a", tmp_path / "d/a/f"):
            os.chown(str(path), 4321, 4321)

        def attempt():
            with refused("permission_denied", "d/b/f"):
                delete(root, "d", recursive=True)

        stranger(attempt)
        assert (tmp_path / "d/b/f").read_bytes() == b"theirs"
        assert leftovers() == []

    def test_cancelled(self, root, tmp_path, leftovers):
        make(tmp_path / "d", f=b"", g=b"")
        job = Job()
        job.cancel()
        with refused("cancelled"):
            tree.delete(root, "d", job, recursive=True)
        assert len(snapshot(tmp_path / "d")) == 2
        assert leftovers() == []


class TestMove:
    def test_files_links_and_directories(self, root, tmp_path):
        make(tmp_path / "d", f=b"x")
        (tmp_path / "link").symlink_to("d/f")
        info = move(root, "d/f", "new/parents/g")
        assert (info["path"], info["type"], info["size"]) == ("new/parents/g", "file", 1)
        info = move(root, "link", "d/link")
        assert (info["type"], info["target"]) == ("symlink", "d/f")
        assert move(root, "d", "new/d")["type"] == "directory"
        assert sorted(snapshot(tmp_path)) == ["new", "new/d", "new/d/link", "new/parents", "new/parents/g"]

    def test_what_is_there_stays_there(self, root, tmp_path):
        make(tmp_path / "d", f=b"x")
        make(tmp_path, f=b"f", g=b"g")
        (tmp_path / "link").symlink_to("g")
        before = snapshot(tmp_path)
        for source, destination in (("f", "g"), ("f", "d"), ("f", "link"), ("d", "f"), ("link", "g")):
            with refused("exists", destination):
                move(root, source, destination)
        assert snapshot(tmp_path) == before

    def test_overwrite(self, root, tmp_path):
        make(tmp_path / "full", f=b"x")
        make(tmp_path / "empty")
        make(tmp_path / "d", f=b"d")
        make(tmp_path, f=b"f", g=b"g")
        (tmp_path / "link").symlink_to("g")
        os.mkfifo(str(tmp_path / "fifo"))
        before = snapshot(tmp_path / "full")
        for source, destination, code in (
            ("f", "empty", "is_directory"),
            ("d", "f", "exists"),
            ("d", "full", "not_empty"),
            ("f", "fifo", "exists"),
        ):
            with refused(code, destination):
                move(root, source, destination, overwrite=True)
        assert snapshot(tmp_path / "full") == before
        move(root, "f", "link", overwrite=True)
        assert (tmp_path / "link").read_bytes() == b"f"
        assert (tmp_path / "g").read_bytes() == b"g"
        move(root, "link", "g", overwrite=True)
        assert (tmp_path / "g").read_bytes() == b"f"
        move(root, "d", "empty", overwrite=True)
        assert (tmp_path / "empty/f").read_bytes() == b"d"

    def test_onto_itself_and_into_itself(self, root, tmp_path):
        make(tmp_path / "d/e", f=b"x")
        os.link(str(tmp_path / "d/e/f"), str(tmp_path / "g"))
        (tmp_path / "alias").symlink_to("d")
        for source, destination in (("d", "d"), ("d", "d/x"), ("d", "d/e/x/y"), ("d", "alias/x"), ("d/e/f", "g")):
            with refused("invalid_argument"):
                move(root, source, destination, overwrite=True)
        for source, destination in ((".", "x"), ("d", ".")):
            with refused("invalid_argument"):
                move(root, source, destination, overwrite=True)
        assert (tmp_path / "d/e/f").read_bytes() == b"x"
        assert sorted(snapshot(tmp_path)) == ["alias", "d", "d/e", "d/e/f", "g"]

    def test_missing(self, root, tmp_path):
        with refused("not_found", "f"):
            move(root, "f", "new/g")
        assert names(tmp_path) == []

    def test_versions(self, root, tmp_path):
        make(tmp_path / "d", f=b"x")
        with refused("conflict", "d/f") as caught:
            move(root, "d/f", "g", if_match="0" * 12)
        assert caught.value.data == {"sha256": sha(b"x")}
        with refused("invalid_argument"):
            move(root, "d", "g", if_match="0" * 12)
        with refused("conflict"):
            move(root, "missing", "g", if_match="0" * 12)
        move(root, "d/f", "g", if_match=sha(b"x"))
        assert names(tmp_path) == ["d", "g"]

    def test_policy(self, tmp_path):
        make(tmp_path / "d/e", **{".env": b"secret"})
        make(tmp_path, f=b"")
        before = snapshot(tmp_path)
        denying = Root(str(tmp_path), Policy(deny=[".env", "secret"]))
        for source, destination in (("d", "x"), ("d/e/.env", "x"), ("f", ".env"), ("f", "secret/x")):
            with refused("denied"):
                move(denying, source, destination)
        with refused("read_only"):
            move(Root(str(tmp_path), Policy(read_only=True)), "f", "g")
        assert snapshot(tmp_path) == before

    def test_to_another_file_system(self, root, tmp_path, other_file_system, leftovers):
        source = make(tmp_path / "d/e", f=b"x" * 5000)
        (source / "f").chmod(0o640)
        (source / "link").symlink_to("../../f")
        (tmp_path / "d").chmod(0o750)
        os.utime(str(source / "f"), (1000, 2000))
        os.chown(str(source / "f"), 1234, 2345)
        os.utime(str(tmp_path / "d"), (1000, 3000))
        before = snapshot(tmp_path / "d")
        assert move(root, "d", "mounted/d")["type"] == "directory"
        assert snapshot(other_file_system / "d") == before
        st = (other_file_system / "d/e/f").stat()
        assert (st.st_uid, st.st_gid, st.st_mtime) == (1234, 2345, 2000)
        assert (other_file_system / "d").stat().st_mtime == 3000
        assert mode_of(other_file_system / "d") == 0o750
        move(root, "mounted/d/e/f", "back")
        move(root, "mounted/d/e/link", "link")
        assert names(tmp_path) == ["back", "link", "mounted"]
        assert (tmp_path / "back").read_bytes() == b"x" * 5000
        assert os.readlink(str(tmp_path / "link")) == "../../f"
        assert leftovers() == []

    def test_to_a_file_system_that_is_full(self, root, tmp_path, other_file_system, leftovers):
        make(tmp_path / "d", f=b"x", g=b"y" * (2 << 20))
        before = snapshot(tmp_path / "d")
        with refused("no_space"):
            move(root, "d", "mounted/d")
        assert snapshot(tmp_path / "d") == before
        assert names(other_file_system) == []

    def test_to_another_file_system_onto_something(self, root, tmp_path, other_file_system, leftovers):
        make(tmp_path, f=b"new")
        make(other_file_system, f=b"old")
        with refused("exists"):
            move(root, "f", "mounted/f")
        assert (other_file_system / "f").read_bytes() == b"old"
        move(root, "f", "mounted/f", overwrite=True)
        assert (other_file_system / "f").read_bytes() == b"new"
        assert names(tmp_path) == ["mounted"]
        assert leftovers() == []

    def test_of_two_who_move_to_one_name_one_wins(self, root, tmp_path):
        make(tmp_path / "d", **{"f%d" % number: b"%d" % number for number in range(20)})
        codes = []

        def attempt(number):
            try:
                move(root, "d/f%d" % number, "goal")
            except GuestError as error:
                codes.append(error.code)

        threads = [threading.Thread(target=attempt, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert codes == ["exists"] * 19
        assert len(names(tmp_path / "d")) == 19


class TestCopy:
    def test_a_file(self, root, tmp_path, leftovers):
        make(tmp_path, f=b"x" * 100000)
        (tmp_path / "f").chmod(0o751)
        info = duplicate(root, "f", "new/g")
        assert (info["path"], info["size"], info["mode"]) == ("new/g", 100000, 0o751)
        assert (tmp_path / "new/g").read_bytes() == b"x" * 100000
        assert mode_of(tmp_path / "new/g") == 0o751
        assert (tmp_path / "f").exists()
        assert leftovers() == []

    def test_a_link_is_followed_at_the_start_only(self, root, tmp_path):
        make(tmp_path / "d", f=b"x")
        (tmp_path / "d/link").symlink_to("f")
        (tmp_path / "d/out").symlink_to("/etc")
        (tmp_path / "d/dangling").symlink_to("nothing")
        (tmp_path / "start").symlink_to("d")
        duplicate(root, "d/link", "g")
        assert not (tmp_path / "g").is_symlink()
        assert duplicate(root, "start", "e")["type"] == "directory"
        assert snapshot(tmp_path / "e") == snapshot(tmp_path / "d")
        with refused("escapes_root"):
            duplicate(root, "d/out", "x")

    def test_a_tree(self, root, tmp_path, leftovers):
        make(tmp_path / "d/e/f", g=b"g", h=b"h" * 3000000)
        (tmp_path / "d/e/f/g").chmod(0o755)
        (tmp_path / "d/e/f").chmod(0o555)
        (tmp_path / "d/empty").mkdir()
        make(tmp_path / "d/many", **{"n%d" % number: b"%d" % number for number in range(150)})
        assert duplicate(root, "d", "x/y")["path"] == "x/y"
        assert snapshot(tmp_path / "x/y") == snapshot(tmp_path / "d")
        assert mode_of(tmp_path / "x/y") == mode_of(tmp_path / "d")
        assert leftovers() == []

    def test_what_is_there(self, root, tmp_path, leftovers):
        make(tmp_path / "d", f=b"d")
        make(tmp_path / "empty")
        make(tmp_path, f=b"f", g=b"g")
        (tmp_path / "g").chmod(0o600)
        for source, destination in (("f", "g"), ("f", "d"), ("d", "empty"), ("d", "f")):
            with refused("exists", destination):
                duplicate(root, source, destination)
        for source, destination, code in (("f", "d", "is_directory"), ("d", "empty", "exists"), ("d", "f", "exists")):
            with refused(code, destination):
                duplicate(root, source, destination, overwrite=True)
        duplicate(root, "f", "g", overwrite=True)
        assert (tmp_path / "g").read_bytes() == b"f"
        assert mode_of(tmp_path / "g") == 0o600  # a file that is replaced keeps its mode
        with refused("invalid_argument"):
            duplicate(root, "f", "f", overwrite=True)
        assert leftovers() == []

    def test_into_itself(self, root, tmp_path):
        make(tmp_path / "d/e", f=b"x")
        (tmp_path / "alias").symlink_to("d/e")
        for source, destination in (("d", "d/x"), ("d", "d/e/x"), ("d", "alias/x"), (".", "x"), ("d", "d")):
            with pytest.raises(GuestError) as caught:
                duplicate(root, source, destination)
            assert caught.value.code in ("invalid_argument", "exists")
        assert sorted(snapshot(tmp_path)) == ["alias", "d", "d/e", "d/e/f"]

    def test_special_files_are_refused_by_name(self, root, tmp_path, leftovers):
        make(tmp_path / "d/e", f=b"x")
        os.mkfifo(str(tmp_path / "d/e/fifo"))
        with refused("unsupported", "d/e/fifo"):
            duplicate(root, "d", "x")
        with refused("unsupported", "d/e/fifo"):
            duplicate(root, "d/e/fifo", "x")
        assert names(tmp_path) == ["d"]
        assert leftovers() == []

    def test_policy(self, tmp_path):
        make(tmp_path / "d/e", **{".env": b"secret"})
        make(tmp_path, f=b"")
        before = snapshot(tmp_path)
        denying = Root(str(tmp_path), Policy(deny=[".env"]))
        for source, destination in (("d", "x"), ("d/e/.env", "x"), ("f", ".env")):
            with refused("denied"):
                duplicate(denying, source, destination)
        with refused("read_only"):
            duplicate(Root(str(tmp_path), Policy(read_only=True)), "f", "x/g")
        assert snapshot(tmp_path) == before

    def test_nothing_is_left_of_what_failed(self, root, tmp_path, other_file_system, leftovers):
        make(tmp_path / "d", f=b"x", g=b"y" * (2 << 20))
        with refused("no_space"):
            duplicate(root, "d", "mounted/d")
        with refused("no_space"):
            duplicate(root, "d/g", "mounted/g")
        assert names(other_file_system) == []
        job = Job()
        job.cancel()
        with refused("cancelled"):
            copy(root, "d", "e", job)
        assert names(tmp_path) == ["d", "mounted"]

    @needs_root
    def test_owner(self, root, tmp_path):
        make(tmp_path / "d", f=b"x")
        (tmp_path / "d/link").symlink_to("f")
        make(tmp_path / "theirs")
        os.chown(str(tmp_path / "theirs"), 1234, 2345)
        duplicate(root, "d", "theirs/d")
        duplicate(root, "d/f", "theirs/f")
        for name in ("d", "d/f", "d/link", "f"):
            st = (tmp_path / "theirs" / name).lstat()
            assert (st.st_uid, st.st_gid) == (1234, 2345)

    def test_a_file_that_keeps_changing(self, root, tmp_path, monkeypatch, leftovers):
        """Another program rewrites it whenever it was copied; what is copied must be one version of it."""
        from devbox_mcp.guest import contents

        make(tmp_path, f=b"x")
        copy_rest = contents.copy_rest

        def disturbed(*args):
            with (tmp_path / "f").open("ab") as file:
                file.write(b"more")
            return copy_rest(*args)

        monkeypatch.setattr(contents, "copy_rest", disturbed)
        with refused("conflict"):
            duplicate(root, "f", "g")
        assert names(tmp_path) == ["f"]


class TestChmod:
    def test_a_file_and_through_a_link(self, root, tmp_path):
        make(tmp_path / "d", f=b"")
        (tmp_path / "link").symlink_to("d/f")
        assert chmod(root, "d/f", 0o600) == 1
        assert chmod(root, "d/f", 0o600) == 0
        assert chmod(root, "link", 0o755) == 1
        assert mode_of(tmp_path / "d/f") == 0o755
        assert chmod(root, "d", 0o700) == 1
        assert mode_of(tmp_path / "d/f") == 0o755

    @pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o1777, -1, 1 << 20])
    def test_special_bits(self, root, tmp_path, mode):
        make(tmp_path, f=b"")
        with refused("invalid_argument"):
            chmod(root, "f", mode)
        assert mode_of(tmp_path / "f") == 0o644

    def test_a_directory_keeps_its_special_bits_and_a_file_loses_them(self, root, tmp_path):
        make(tmp_path / "d", f=b"")
        (tmp_path / "d/f").chmod(0o4755)
        (tmp_path / "d").chmod(0o3775)
        chmod(root, "d", 0o755, recursive=True)
        assert mode_of(tmp_path / "d") == 0o3755
        assert mode_of(tmp_path / "d/f") == 0o755

    @pytest.mark.parametrize("mode", [0o700, 0o640])
    def test_a_tree_without_following_links(self, root, tmp_path, mode):
        outside = make(tmp_path / "outside", f=b"")
        make(tmp_path / "d/e", f=b"", g=b"")
        (tmp_path / "d/e/g").chmod(mode)
        (tmp_path / "d/link").symlink_to("../outside")
        (tmp_path / "d/e/link").symlink_to("../../outside/f")
        os.mkfifo(str(tmp_path / "d/fifo"), 0o644)
        assert chmod(root, "d", mode, recursive=True) == 3
        changed = [tmp_path / "d", tmp_path / "d/e", tmp_path / "d/e/f", tmp_path / "d/e/g"]
        assert [mode_of(path) for path in changed] == [mode] * 4
        assert [mode_of(path) for path in (outside, outside / "f", tmp_path / "d/fifo")] == [0o755, 0o644, 0o644]

    def test_special_files(self, root, tmp_path):
        os.mkfifo(str(tmp_path / "fifo"), 0o644)
        with refused("unsupported", "fifo"):
            chmod(root, "fifo", 0o600)
        with refused("not_found", "missing"):
            chmod(root, "missing", 0o600)

    def test_policy(self, tmp_path):
        make(tmp_path / "d", **{".env": b"", "f": b""})
        denying = Root(str(tmp_path), Policy(deny=[".env"]))
        with refused("denied"):
            chmod(denying, "d/.env", 0o600)
        assert chmod(denying, "d", 0o700, recursive=True) == 2
        assert mode_of(tmp_path / "d/.env") == 0o644
        with refused("read_only"):
            chmod(Root(str(tmp_path), Policy(read_only=True)), "d/f", 0o600)

    def test_what_its_owner_may_not_read(self, root, tmp_path, stranger):
        make(tmp_path / "d/e", f=b"")
        for path in (tmp_path, tmp_path / "d", tmp_path / "d/e", tmp_path / "d/e/f"):
            os.chown(str(path), 4321, 4321)
        for path in (tmp_path / "d/e/f", tmp_path / "d/e", tmp_path / "d"):
            path.chmod(0)

        def change():
            assert chmod(root, "d", 0o750, recursive=True) == 3
            assert chmod(root, "d", 0o640, recursive=True) == 3

        stranger(change)
        assert mode_of(tmp_path / "d/e/f") == 0o640


def test_a_name_taken_at_the_last_moment_is_not_replaced(root, tmp_path, monkeypatch):
    """By a program that knows nothing of our lock."""
    make(tmp_path / "d", f=b"ours")
    judge = tree._check_replaceable

    def judged_and_then_taken(*args):
        judge(*args)
        (tmp_path / "goal").write_bytes(b"theirs")

    monkeypatch.setattr(tree, "_check_replaceable", judged_and_then_taken)
    with refused("exists", "goal"):
        move(root, "d/f", "goal")
    assert snapshot(tmp_path) == {
        "d": ("directory", 0o755),
        "d/f": (b"ours", 0o644),
        "goal": (b"theirs", 0o644),
    }


class TestSwappedAtTheLastMoment:
    """What was judged a directory or file is a link out of the root when it is opened."""

    @pytest.fixture
    def outside(self, tmp_path):
        (tmp_path / "root").mkdir()
        return make(tmp_path / "outside", f=b"outside")

    def swap(self, monkeypatch, room, name, path, target):
        """Have a function of a room put a link in the path's place when it is called first."""
        original = getattr(room, name)

        def swapping(*args):
            if not path.is_symlink():
                path.rename(path.with_name("aside"))
                path.symlink_to(str(target))
            return original(*args)

        monkeypatch.setattr(room, name, swapping)

    def test_delete(self, tmp_path, outside, monkeypatch):
        make(tmp_path / "root/d/e/f", g=b"")
        os.link(str(tmp_path / "outside/f"), str(tmp_path / "outside/g"))
        root = Root(str(tmp_path / "root"))
        enter = removal.Removal._enter

        def swapping(self, fd, name, path):
            if name == "e":
                os.rename("e", "aside", src_dir_fd=fd, dst_dir_fd=fd)
                os.symlink(str(outside), "e", dir_fd=fd)
            enter(self, fd, name, path)

        monkeypatch.setattr(removal.Removal, "_enter", swapping)
        with refused("not_directory", "d/e"):
            delete(root, "d", recursive=True)
        assert names(outside) == ["f", "g"]
        root.close()

    def test_chmod(self, tmp_path, outside, monkeypatch):
        make(tmp_path / "root", f=b"")
        root = Root(str(tmp_path / "root"))
        self.swap(monkeypatch, modes, "_may_have", tmp_path / "root/f", outside / "f")
        with refused("too_many_links", "f"):
            chmod(root, "f", 0o777)
        assert mode_of(outside / "f") == 0o644
        root.close()

    @pytest.mark.parametrize("source", ["f", "."])
    def test_copy(self, tmp_path, outside, monkeypatch, source):
        make(tmp_path / "root/d", f=b"inside")
        root = Root(str(tmp_path / "root"))
        self.swap(monkeypatch, places, "check_regular", tmp_path / "root/d/f", outside / "f")
        with refused("too_many_links"):
            duplicate(root, "d" if source == "." else "d/f", "copied")
        assert not (tmp_path / "root/copied").exists()
        root.close()


def test_no_race_leads_out_of_the_root(tmp_path):
    """Directories inside are swapped for links out of the root while trees are deleted, copied and changed."""
    exchange = getattr(ctypes.CDLL(None), "renameat2", None)
    if exchange is None:
        pytest.skip("this system cannot exchange two names")
    inside, outside = tmp_path / "root", make(tmp_path / "outside", f=b"outside")
    before = snapshot(tmp_path / "outside")
    stop = threading.Event()
    swapped = [os.fsencode(str(inside / name)) for name in ("work/d", "link")]

    def swap():
        while not stop.is_set():
            exchange(-100, swapped[0], -100, swapped[1], 2)

    swapper = threading.Thread(target=swap)
    swapper.start()
    codes = set()
    try:
        for number in range(60):
            root = Root(str(make(inside)), use_openat2=number % 2 == 0)
            make(inside / "work/d", f=b"inside")
            (inside / "link").symlink_to(str(outside))
            for step in (
                lambda root=root: chmod(root, "work", 0o700, recursive=True),
                lambda root=root: duplicate(root, "work", "copy"),
                lambda root=root: delete(root, "work/d/f"),
                lambda root=root: delete(root, "work", recursive=True),
            ):
                codes.add(_code_of(step))
            assert snapshot(outside) == before
            for name in ("work", "copy", "link"):
                _code_of(lambda name=name, root=root: delete(root, name, recursive=True))
            root.close()
    finally:
        stop.set()
        swapper.join()
    assert None in codes
    assert not any((inside / "copy").rglob("outside"))


def _code_of(step):
    """Return the code of the error of a step, or none."""
    try:
        step()
    except GuestError as error:
        return error.code
    return None
