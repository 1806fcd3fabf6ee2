"""Writing one file: what it answers, what it keeps, what it refuses, and that nothing is lost on the way."""

import ctypes
import hashlib
import multiprocessing
import os
import stat
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from devbox_mcp.guest.beneath import Root
from devbox_mcp.guest.drafts import Draft
from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.job import Job
from devbox_mcp.guest.locks import Parent, locked
from devbox_mcp.guest.names import own_name
from devbox_mcp.guest.policy import Policy
from devbox_mcp.guest.sweep import sweep
from devbox_mcp.guest.versions import require_match
from devbox_mcp.guest.writing import write

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to have files of several owners")


def put(root, path, data, job=None, **options):
    return write(root, path, [data], job or Job(), **options)


def sha(data):
    return hashlib.sha256(data).hexdigest()


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def refused(code, *args, **options):
    with pytest.raises(GuestError) as caught:
        put(*args, **options)
    assert caught.value.code == code, str(caught.value)
    return caught.value


class TestContent:
    def test_new_file_with_its_parents(self, root, tmp_path, leftovers):
        answer = put(root, "a/b/new.txt", b"hello")
        assert (tmp_path / "a/b/new.txt").read_bytes() == b"hello"
        st = (tmp_path / "a/b/new.txt").stat()
        assert answer["created"] is True
        assert answer["previous"] is None
        assert answer["unlinked"] == 0
        info = answer["info"]
        assert (info["path"], info["type"], info["size"], info["sha256"]) == ("a/b/new.txt", "file", 5, sha(b"hello"))
        assert info["modified"] == st.st_mtime_ns / 1e9
        assert leftovers() == []

    def test_body_in_many_pieces(self, root, tmp_path):
        pieces = [b"", b"one", b"", b"two" * 1000, b"\0\xff"]
        job = Job()
        answer = write(root, "f", iter(pieces), job)
        assert (tmp_path / "f").read_bytes() == b"".join(pieces)
        assert answer["info"]["sha256"] == sha(b"".join(pieces))
        assert job.done == sum(map(len, pieces))

    def test_empty_file(self, root, tmp_path):
        assert write(root, "f", [], Job())["info"]["sha256"] == sha(b"")
        assert (tmp_path / "f").read_bytes() == b""

    def test_replacing_never_touches_the_old_file(self, root, tmp_path):
        (tmp_path / "f").write_bytes(b"old")
        with (tmp_path / "f").open("rb") as reader:
            answer = put(root, "f", b"new and longer")
            assert reader.read() == b"old"
        assert answer["created"] is False
        assert (tmp_path / "f").read_bytes() == b"new and longer"

    def test_answered_revision_is_that_of_the_published_file(self, root, tmp_path):
        from devbox_mcp.guest.info import revision

        answer = put(root, "f", b"x")
        assert answer["info"]["revision"] == revision((tmp_path / "f").stat())

    def test_create(self, root, tmp_path, leftovers):
        put(root, "f", b"first", mode="create")
        refused("exists", root, "f", b"second", mode="create")
        (tmp_path / "d").mkdir()
        refused("exists", root, "d", b"second", mode="create")
        assert (tmp_path / "f").read_bytes() == b"first"
        assert leftovers() == []

    def test_create_when_somebody_is_quicker(self, root, tmp_path, leftovers):
        def body():
            yield b"mine"
            (tmp_path / "f").write_bytes(b"theirs")

        with pytest.raises(GuestError) as caught:
            write(root, "f", body(), Job(), mode="create")
        assert caught.value.code == "exists"
        assert (tmp_path / "f").read_bytes() == b"theirs"
        assert leftovers() == []

    def test_create_when_a_stranger_to_the_lock_is_quicker(self, root, tmp_path, monkeypatch, leftovers):
        publish = Draft.publish

        def disturbed(draft, name, new):
            (tmp_path / "f").write_bytes(b"theirs")
            publish(draft, name, new)

        monkeypatch.setattr(Draft, "publish", disturbed)
        refused("exists", root, "f", b"mine", mode="create")
        assert (tmp_path / "f").read_bytes() == b"theirs"
        assert leftovers() == []

    def test_unknown_mode(self, root):
        refused("invalid_argument", root, "f", b"", mode="truncate")


class TestAppend:
    def test_to_a_file(self, root, tmp_path, leftovers):
        (tmp_path / "f").write_bytes(b"one\n")
        (tmp_path / "f").chmod(0o640)
        answer = put(root, "f", b"two\n", mode="append", sha256=sha(b"two\n"))
        assert (tmp_path / "f").read_bytes() == b"one\ntwo\n"
        assert answer["info"]["sha256"] == sha(b"one\ntwo\n")
        assert answer["info"]["size"] == 8
        assert answer["created"] is False
        assert mode_of(tmp_path / "f") == 0o640
        assert leftovers() == []

    def test_to_a_missing_file(self, root, tmp_path):
        answer = put(root, "d/f", b"one", mode="append", executable=True)
        assert answer["created"] is True
        assert (tmp_path / "d/f").read_bytes() == b"one"
        assert mode_of(tmp_path / "d/f") & 0o100

    def test_is_atomic(self, root, tmp_path, leftovers):
        (tmp_path / "f").write_bytes(b"one")
        refused("integrity", root, "f", b"two", mode="append", sha256=sha(b"other"))
        assert (tmp_path / "f").read_bytes() == b"one"
        assert leftovers() == []

    def test_what_others_append_while_the_body_comes_is_kept(self, root, tmp_path):
        (tmp_path / "f").write_bytes(b"1")

        def body():
            yield b"3"
            put(root, "f", b"2", mode="append")

        write(root, "f", body(), Job(), mode="append")
        assert (tmp_path / "f").read_bytes() == b"123"


class TestVersions:
    def test_match(self, root, tmp_path):
        put(root, "f", b"old")
        answer = put(root, "f", b"new", if_match=sha(b"old")[:12])
        assert answer["previous"] == sha(b"old")
        assert (tmp_path / "f").read_bytes() == b"new"

    def test_conflict_tells_the_current_version(self, root, tmp_path, leftovers):
        put(root, "f", b"theirs")
        error = refused("conflict", root, "f", b"mine", if_match=sha(b"old"))
        assert error.data == {"sha256": sha(b"theirs")}
        assert (tmp_path / "f").read_bytes() == b"theirs"
        assert leftovers() == []

    @pytest.mark.parametrize("path", ["missing", "no/such/parent"])
    def test_a_missing_file_never_matches(self, root, tmp_path, path):
        error = refused("conflict", root, path, b"mine", if_match=sha(b""))
        assert error.data == {"sha256": None}
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("prefix", ["", "abc", "0" * 11, "0" * 65, "A" * 12, "g" * 12, "0" * 12 + "\n"])
    def test_what_is_no_version(self, root, prefix):
        refused("invalid_argument", root, "f", b"", if_match=prefix)

    def test_checked_after_the_body_came(self, root, tmp_path):
        put(root, "f", b"old")

        def body():
            yield b"mine"
            put(root, "f", b"theirs")

        with pytest.raises(GuestError) as caught:
            write(root, "f", body(), Job(), if_match=sha(b"old"))
        assert caught.value.code == "conflict"
        assert (tmp_path / "f").read_bytes() == b"theirs"

    def test_append_and_in_place_check_too(self, root, tmp_path):
        put(root, "f", b"old")
        refused("conflict", root, "f", b"x", mode="append", if_match="0" * 12)
        refused("conflict", root, "f", b"x", in_place=True, if_match="0" * 12)
        assert (tmp_path / "f").read_bytes() == b"old"


class TestIntegrity:
    def test_what_the_sender_hashed(self, root, tmp_path, leftovers):
        put(root, "f", b"old")
        put(root, "f", b"new", sha256=sha(b"new").upper())
        for options in ({}, {"mode": "append"}, {"in_place": True}):
            refused("integrity", root, "f", b"nex", sha256=sha(b"new"), **options)
            assert (tmp_path / "f").read_bytes() == b"new"
        assert leftovers() == []

    @pytest.mark.parametrize("options", [{}, {"mode": "append"}, {"in_place": True}, {"mode": "create"}])
    def test_a_body_that_breaks_off(self, root, tmp_path, leftovers, options):
        path = "new" if options.get("mode") == "create" else "f"
        put(root, "f", b"old")

        def body():
            yield b"half"
            raise RuntimeError("the connection broke")

        with pytest.raises(RuntimeError):
            write(root, path, body(), Job(), **options)
        assert (tmp_path / "f").read_bytes() == b"old"
        assert names(tmp_path) == ["f"]

    def test_cancelled_between_two_pieces(self, root, tmp_path, leftovers):
        job = Job()

        def body():
            yield b"half"
            job.cancel()
            yield b"rest"

        with pytest.raises(GuestError) as caught:
            write(root, "f", body(), job)
        assert caught.value.code == "cancelled"
        assert names(tmp_path) == []


class TestAttributes:
    @pytest.mark.parametrize(
        ("umask", "executable", "expected"),
        [
            (0o022, None, 0o644),
            (0o077, None, 0o600),
            (0o022, True, 0o755),
            (0o027, True, 0o750),
            (0o022, False, 0o644),
        ],
    )
    def test_mode_of_a_new_file(self, root, tmp_path, umask, executable, expected):
        before = os.umask(umask)
        try:
            info = put(root, "f", b"", executable=executable)["info"]
        finally:
            os.umask(before)
        assert info["mode"] == mode_of(tmp_path / "f") == expected

    @pytest.mark.parametrize(
        ("mode", "executable", "expected"),
        [
            (0o600, None, 0o600),
            (0o666, None, 0o666),
            (0o755, None, 0o755),
            (0o640, True, 0o750),
            (0o755, False, 0o644),
        ],
    )
    def test_a_replaced_file_keeps_its_mode(self, root, tmp_path, mode, executable, expected):
        (tmp_path / "f").write_bytes(b"old")
        (tmp_path / "f").chmod(mode)
        info = put(root, "f", b"new", executable=executable)["info"]
        assert info["mode"] == mode_of(tmp_path / "f") == expected

    def test_new_content_does_not_inherit_privileges(self, root, tmp_path):
        (tmp_path / "f").write_bytes(b"old")
        (tmp_path / "f").chmod(0o6755)
        put(root, "f", b"new")
        assert mode_of(tmp_path / "f") == 0o755

    def test_nobody_else_can_read_the_draft_of_a_private_file(self, root, tmp_path, leftovers):
        (tmp_path / "f").write_bytes(b"old")
        (tmp_path / "f").chmod(0o600)
        modes = []

        def body():
            yield b"secret"
            modes.extend(mode_of(path) for path in leftovers())

        write(root, "f", body(), Job())
        assert modes == [0o600]

    @needs_root
    def test_root_gives_a_new_file_to_the_owner_of_the_directory(self, root, tmp_path):
        (tmp_path / "d").mkdir()
        os.chown(str(tmp_path / "d"), 1234, 2345)
        put(root, "d/below/f", b"")
        for name in ("d/below", "d/below/f"):
            st = (tmp_path / name).stat()
            assert (st.st_uid, st.st_gid) == (1234, 2345)

    @needs_root
    def test_a_replaced_file_keeps_its_owner(self, root, tmp_path):
        (tmp_path / "f").write_bytes(b"old")
        os.chown(str(tmp_path / "f"), 1234, 2345)
        (tmp_path / "f").chmod(0o640)
        put(root, "f", b"new")
        st = (tmp_path / "f").stat()
        assert (st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)) == (1234, 2345, 0o640)

    @pytest.mark.parametrize(
        ("groups", "before", "gid", "after"),
        [
            ([], 0o676, 4321, 0o666),  # the old group may run it; the new one gets no more than anybody had
            ([2345], 0o664, 2345, 0o664),
        ],
    )
    def test_where_the_owner_cannot_be_kept_nothing_opens_wider(
        self, root, tmp_path, stranger, groups, before, gid, after
    ):
        """Another user than the owner may replace a file in a shared directory, but not give the new one away."""
        tmp_path.chmod(0o777)
        (tmp_path / "f").write_bytes(b"old")
        os.chown(str(tmp_path / "f"), 1234, 2345)
        (tmp_path / "f").chmod(before)
        stranger(lambda: put(root, "f", b"new"), groups)
        st = (tmp_path / "f").stat()
        assert (tmp_path / "f").read_bytes() == b"new"
        assert (st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)) == (4321, gid, after)

    def test_write_protected(self, root, tmp_path, stranger):
        tmp_path.chmod(0o777)
        (tmp_path / "f").write_bytes(b"old")
        (tmp_path / "f").chmod(0o444)
        stranger(lambda: refused("permission_denied", root, "f", b"new"))
        assert (tmp_path / "f").read_bytes() == b"old"

    @pytest.mark.skipif(not hasattr(os, "setxattr"), reason="this system has no extended attributes in os")
    def test_extended_attributes_are_kept(self, root, tmp_path):
        path = str(tmp_path / "f")
        (tmp_path / "f").write_bytes(b"old")
        try:
            os.setxattr(path, "user.note", b"keep me")
        except OSError:
            pytest.skip("this file system has no extended attributes")
        put(root, "f", b"new")
        assert os.getxattr(path, "user.note") == b"keep me"

    @pytest.mark.skipif(not hasattr(os, "setxattr"), reason="this system has no extended attributes in os")
    @pytest.mark.parametrize("on_directory", [False, True])
    def test_access_lists(self, root, tmp_path, on_directory):
        """The file's list is kept; a file without one gets none from the directory's default when replaced."""

        def access_list(user):
            # version 2, then (tag, permissions, id): owner, a named user, group, mask, others
            entries = [(1, 6, -1), (2, user, 1234), (4, 4, -1), (16, 6, -1), (32, 0, -1)]
            return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)

        path = str(tmp_path / "f")
        (tmp_path / "f").write_bytes(b"old")
        (tmp_path / "f").chmod(0o640)
        name = "system.posix_acl_default" if on_directory else "system.posix_acl_access"
        try:
            os.setxattr(str(tmp_path) if on_directory else path, name, access_list(6))
        except OSError:
            pytest.skip("this file system has no access lists")
        before, mode = os.listxattr(path), mode_of(tmp_path / "f")
        put(root, "f", b"new")
        assert os.listxattr(path) == before
        assert mode_of(tmp_path / "f") == mode
        if not on_directory:
            assert os.getxattr(path, name) == access_list(6)


class TestLinks:
    def test_a_write_through_a_link_writes_its_target(self, root, tmp_path):
        (tmp_path / "d").mkdir()
        (tmp_path / "d/target").write_bytes(b"old")
        (tmp_path / "link").symlink_to("d/target")
        info = put(root, "link", b"new")["info"]
        assert info["path"] == "link"
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "d/target").read_bytes() == b"new"

    def test_a_link_to_nothing_makes_its_target(self, root, tmp_path):
        (tmp_path / "link").symlink_to("d/target")
        assert put(root, "link", b"new")["created"] is True
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "d/target").read_bytes() == b"new"

    def test_hard_links_are_told(self, root, tmp_path):
        (tmp_path / "f").write_bytes(b"old")
        os.link(str(tmp_path / "f"), str(tmp_path / "g"))
        os.link(str(tmp_path / "f"), str(tmp_path / "h"))
        assert put(root, "f", b"new")["unlinked"] == 2
        assert (tmp_path / "g").read_bytes() == b"old"

    def test_a_link_that_takes_the_file_s_place_meanwhile(self, root, tmp_path, leftovers):
        (tmp_path / "other").write_bytes(b"other")
        (tmp_path / "f").write_bytes(b"old")

        def body():
            yield b"new"
            (tmp_path / "f").unlink()
            (tmp_path / "f").symlink_to("other")

        with pytest.raises(GuestError) as caught:
            write(root, "f", body(), Job())
        assert caught.value.code == "conflict"
        assert (tmp_path / "other").read_bytes() == b"other"
        assert leftovers() == []

    def test_a_file_that_has_come_meanwhile_keeps_its_mode(self, root, tmp_path):
        def body():
            yield b"new"
            (tmp_path / "f").write_bytes(b"old")
            (tmp_path / "f").chmod(0o640)

        assert write(root, "f", body(), Job())["created"] is False
        assert (tmp_path / "f").read_bytes() == b"new"
        assert mode_of(tmp_path / "f") == 0o640

    def test_a_file_that_is_deleted_meanwhile_is_made_again(self, root, tmp_path):
        (tmp_path / "f").write_bytes(b"old")
        (tmp_path / "f").chmod(0o640)

        def body():
            yield b"new"
            (tmp_path / "f").unlink()

        assert write(root, "f", body(), Job())["created"] is True
        assert (tmp_path / "f").read_bytes() == b"new"
        assert mode_of(tmp_path / "f") == 0o640

    def test_a_mode_that_changes_at_the_last_moment_is_kept(self, root, tmp_path, monkeypatch):
        (tmp_path / "f").write_bytes(b"old")
        flush = Draft.flush

        def disturbed(draft):
            (tmp_path / "f").chmod(0o600)
            flush(draft)

        monkeypatch.setattr(Draft, "flush", disturbed)
        put(root, "f", b"new")
        assert mode_of(tmp_path / "f") == 0o600

    @pytest.mark.parametrize("target", ["../outside", "/etc/hostname", ".."])
    def test_out_of_the_root(self, tmp_path, target):
        (tmp_path / "root").mkdir()
        (tmp_path / "outside").write_bytes(b"outside")
        (tmp_path / "root/link").symlink_to(target)
        refused("escapes_root", Root(str(tmp_path / "root")), "link", b"new")
        assert (tmp_path / "outside").read_bytes() == b"outside"


class TestInPlace:
    def test_keeps_the_inode(self, root, tmp_path, leftovers):
        (tmp_path / "f").write_bytes(b"old and long")
        os.link(str(tmp_path / "f"), str(tmp_path / "g"))
        inode = (tmp_path / "f").stat().st_ino
        answer = put(root, "f", b"new", in_place=True, executable=True)
        assert (tmp_path / "f").stat().st_ino == inode
        assert (tmp_path / "g").read_bytes() == b"new"
        assert answer["unlinked"] == 0
        assert answer["created"] is False
        assert answer["info"]["sha256"] == sha(b"new")
        assert answer["info"]["mode"] == 0o755
        assert leftovers() == []

    def test_append(self, root, tmp_path):
        (tmp_path / "f").write_bytes(b"old")
        os.link(str(tmp_path / "f"), str(tmp_path / "g"))
        answer = put(root, "f", b"new", in_place=True, mode="append")
        assert (tmp_path / "g").read_bytes() == b"oldnew"
        assert answer["info"]["sha256"] == sha(b"oldnew")

    def test_a_missing_file_is_an_ordinary_write(self, root, tmp_path):
        assert put(root, "f", b"new", in_place=True)["created"] is True
        assert (tmp_path / "f").read_bytes() == b"new"

    def test_a_mount_point(self, root, tmp_path, mount, leftovers):
        (tmp_path / "source").write_bytes(b"old")
        (tmp_path / "f").write_bytes(b"")
        mount(tmp_path / "f", "--bind", str(tmp_path / "source"))
        error = refused("busy", root, "f", b"new")
        assert "in_place" in error.hint
        assert (tmp_path / "source").read_bytes() == b"old"
        put(root, "f", b"new", in_place=True)
        assert (tmp_path / "source").read_bytes() == b"new"
        assert leftovers() == []


class TestRefusals:
    def test_directories_and_special_files(self, root, tmp_path, leftovers):
        (tmp_path / "d").mkdir()
        os.mkfifo(str(tmp_path / "fifo"))
        for options in ({}, {"in_place": True}, {"mode": "append"}):
            refused("is_directory", root, "d", b"", **options)
            refused("is_directory", root, ".", b"", **options)
            refused("unsupported", root, "fifo", b"", **options)
        put(root, "f", b"")
        refused("not_directory", root, "f/below", b"")
        assert leftovers() == []

    @pytest.mark.parametrize(
        "path", ["a/../b", "/etc/passwd", "", "a//b", "./a", "a\0b", ".devbox-mcp-part-0123456789abcdef", "n" * 256]
    )
    def test_paths_that_are_none(self, root, tmp_path, path):
        refused("invalid_argument", root, path, b"")
        assert list(tmp_path.iterdir()) == []

    def test_names_of_255_bytes_and_of_any_bytes(self, root, tmp_path):
        for name in ("n" * 255, os.fsdecode(b"\xff\xfe"), "-rf", "new\nline", "ü" * 127):
            put(root, name, b"x")
            assert (tmp_path / name).read_bytes() == b"x"

    def test_policy(self, tmp_path):
        (tmp_path / "link").symlink_to(".env")
        denying = Root(str(tmp_path), Policy(deny=[".env", "secret/**"]))
        for path in (".env", "d/.env", "link", "secret/x/y"):
            refused("denied", denying, path, b"")
        refused("read_only", Root(str(tmp_path), Policy(read_only=True)), "d/f", b"")
        assert names(tmp_path) == ["link"] or not (tmp_path / "d/.env").exists()

    def test_the_directory_vanishes_meanwhile(self, root, tmp_path):
        (tmp_path / "d").mkdir()

        def body():
            yield b"new"
            for name in names(tmp_path / "d"):
                (tmp_path / "d" / name).unlink()
            (tmp_path / "d").rmdir()

        with pytest.raises(GuestError) as caught:
            write(root, "d/f", body(), Job())
        assert caught.value.code == "not_found"


class TestLock:
    def test_a_change_waits_for_the_lock(self, root, tmp_path):
        put(root, "f", b"old")
        with root.locate("f") as place, Parent(place) as parent:
            with locked((parent,), Job()):
                writer = threading.Thread(target=put, args=(root, "f", b"new"))
                writer.start()
                while not any(name.startswith(".devbox") for name in names(tmp_path)):
                    time.sleep(0.001)
                writer.join(0.05)
                assert (tmp_path / "f").read_bytes() == b"old"
            writer.join()
        assert (tmp_path / "f").read_bytes() == b"new"

    def test_a_change_that_waits_can_be_cancelled(self, root, tmp_path, leftovers):
        with root.locate("f") as place, Parent(place) as parent, locked((parent,), Job()):
            refused("timeout", root, "f", b"new", job=Job(seconds=0.05))
        assert names(tmp_path) == []

    def test_one_order_for_everybody(self, root, tmp_path):
        """Two who lock the same two directories, named in different order, do not wait for each other for ever."""
        for name in "ab":
            (tmp_path / name).mkdir()
        finished = []

        def lock(first, second):
            with root.locate(first) as one, root.locate(second) as two, Parent(one) as p, Parent(two) as q:
                for _ in range(200):
                    with locked((p, q), Job(seconds=10)):
                        pass
            finished.append(first)

        threads = [threading.Thread(target=lock, args=names) for names in (("a/x", "b/x"), ("b/x", "a/x"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(finished) == ["a/x", "b/x"]

    def test_a_child_process_does_not_keep_it(self, root, tmp_path):
        with root.locate("f") as place, Parent(place) as parent:
            with locked((parent,), Job()):
                os.set_inheritable(parent.fd, True)
                child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
            try:
                write(root, "f", [b"new"], Job(seconds=5))
            finally:
                child.communicate(b"\n")


class TestSweep:
    HOURS = 7200.0

    def swept(self, tmp_path, root, now):
        with root.locate("any") as place, Parent(place) as parent:
            sweep(parent, now)
        return names(tmp_path)

    def test_old_leftovers_go(self, root, tmp_path):
        (tmp_path / own_name("part")).write_bytes(b"x")
        (tmp_path / own_name("part")).symlink_to("f")
        trash = tmp_path / own_name("trash")
        (trash / "deep/down").mkdir(parents=True)
        (trash / "deep/down/f").write_bytes(b"x")
        (tmp_path / "f").write_bytes(b"x")
        assert self.swept(tmp_path, root, time.time() + self.HOURS) == ["f"]

    def test_young_ones_stay(self, root, tmp_path):
        part = own_name("part")
        (tmp_path / part).write_bytes(b"x")
        os.utime(str(tmp_path / part), (0, 0))  # the content's age is not the leftover's
        assert self.swept(tmp_path, root, time.time() + 1800) == [part]

    def test_what_is_locked_stays(self, root, tmp_path):
        future = time.time() + self.HOURS
        seen = []

        def body():
            yield b"half"
            seen.extend(self.swept(tmp_path, root, future))
            yield b"rest"

        write(root, "f", body(), Job())
        assert len(seen) == 1
        assert (tmp_path / "f").read_bytes() == b"halfrest"

    def test_other_kinds_stay(self, root, tmp_path):
        upload = own_name("upload")
        (tmp_path / upload).write_bytes(b"x")
        assert self.swept(tmp_path, root, time.time() + self.HOURS) == [upload]

    def test_a_first_write_into_a_directory_sweeps(self, root, tmp_path, monkeypatch):
        part = tmp_path / own_name("part")
        part.write_bytes(b"x")
        later = time.time() + self.HOURS
        monkeypatch.setattr(time, "time", lambda: later)
        put(root, "f", b"")
        assert names(tmp_path) == ["f"]
        assert len(root.swept) == 1


def _increment(directory, start, done):
    """Add one to a number in a file, again and again, each time onto the version that was read."""
    root = Root(directory)
    start.wait()
    for _ in range(100):
        while True:
            old = Path(directory, "n").read_bytes()
            try:
                put(root, "n", b"%d" % (int(old) + 1), if_match=sha(old))
                break
            except GuestError as error:
                if error.code != "conflict":
                    done.put(repr(error))
                    return
    done.put(100)


@pytest.mark.slow
def test_no_update_is_lost(tmp_path):
    """Eight processes count to a hundred each; what was acknowledged is what is there."""
    (tmp_path / "n").write_bytes(b"0")
    context = multiprocessing.get_context("fork")
    start, done = context.Event(), context.Queue()
    workers = [context.Process(target=_increment, args=(str(tmp_path), start, done)) for _ in range(8)]
    for worker in workers:
        worker.start()
    start.set()
    acknowledged = [done.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert acknowledged == [100] * 8
    assert (tmp_path / "n").read_bytes() == b"800"


def test_no_append_is_lost(root, tmp_path):
    def append(name):
        for number in range(25):
            put(root, "log", b"%s%d\n" % (name, number), mode="append")

    threads = [threading.Thread(target=append, args=(name,)) for name in (b"a", b"b", b"c", b"d")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = (tmp_path / "log").read_bytes().split()
    assert sorted(lines) == sorted(b"%s%d" % (name, n) for name in (b"a", b"b", b"c", b"d") for n in range(25))
    assert [line for line in lines if line[:1] == b"a"] == [b"a%d" % n for n in range(25)]


def test_no_race_leads_out_of_the_root(tmp_path):
    """A directory on the way is swapped for a link out of the root, over and over, while files are written."""
    inside, outside = tmp_path / "root", tmp_path / "outside"
    (inside / "d").mkdir(parents=True)
    outside.mkdir()
    (outside / "f").write_bytes(b"outside")
    (inside / "link").symlink_to(str(outside))
    stop = threading.Event()

    exchange = getattr(ctypes.CDLL(None), "renameat2", None)
    if exchange is None:
        pytest.skip("this system cannot exchange two names")

    def swap():
        paths = [os.fsencode(str(inside / name)) for name in ("d", "link")]
        while not stop.is_set():
            assert exchange(-100, paths[0], -100, paths[1], 2) == 0

    swapper = threading.Thread(target=swap)
    swapper.start()
    codes = set()
    try:
        for use_openat2 in (True, False):
            root = Root(str(inside), use_openat2=use_openat2)
            codes |= {_code_of(root, "d/f", b"%d" % number) for number in range(300)}
            root.close()
    finally:
        stop.set()
        swapper.join()
    assert None in codes  # some did get through
    assert codes <= {None, "escapes_root", "conflict"}
    assert names(outside) == ["f"]
    assert (outside / "f").read_bytes() == b"outside"


def _code_of(*args):
    """Return the code of the error of a write, or none."""
    try:
        put(*args)
    except GuestError as error:
        return error.code
    return None


def test_match_of_what_is_not_there(root):
    with root.locate("f") as place, pytest.raises(GuestError) as caught:
        require_match(place, "f", "0" * 12, Job())
    assert caught.value.data == {"sha256": None}


def _deleted_but_held(directory):
    """The deleted files below a directory that this process still has handles to."""
    held = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink("/proc/self/fd/" + fd)
        except OSError:  # the listing's own
            continue
        if target.startswith(str(directory)) and target.endswith(" (deleted)"):
            held.append(target)
    return held


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux holds a file without opening it")
class TestSpaceOfTheOldFile:
    def test_is_freed_when_the_job_has_ended(self, root, tmp_path):
        put(root, "f", b"old")
        job = Job(ends=True)
        put(root, "f", b"new", job)
        assert _deleted_but_held(tmp_path) == [str(tmp_path / "f (deleted)")]
        job.end()
        assert _deleted_but_held(tmp_path) == []

    def test_is_freed_at_once_where_nobody_tells_the_end(self, root, tmp_path):
        put(root, "f", b"old")
        put(root, "f", b"new")
        assert _deleted_but_held(tmp_path) == []

    def test_is_not_awaited_for_a_new_file(self, root, tmp_path):
        job = Job(ends=True)
        put(root, "f", b"new", job)
        assert not job._closing

    def test_of_a_write_that_failed_is_not_held(self, root, tmp_path):
        put(root, "f", b"old")
        job = Job(ends=True)
        with pytest.raises(GuestError):
            put(root, "f", b"new", job, sha256="0" * 64)
        assert not job._closing
        assert (tmp_path / "f").read_bytes() == b"old"
