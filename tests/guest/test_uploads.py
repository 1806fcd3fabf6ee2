"""Uploads in chunks: over sessions that end, with chunks that break, seen by nobody until they are finished."""

import hashlib
import os
import subprocess
import sys
import threading
import time

import pytest

from devbox_mcp.guest.beneath import Root
from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.job import Job
from devbox_mcp.guest.listing import list_directory
from devbox_mcp.guest.locks import Parent, locked
from devbox_mcp.guest.policy import Policy
from devbox_mcp.guest.sweep import sweep
from devbox_mcp.guest.uploads import Uploads

ONE, TWO, THREE = b"1" * 70_000, b"2" * 70_000, b"3" * 1000
WHOLE = ONE + TWO + THREE


#: Holds a file locked, and writes into it when told to.
_HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "r+b")
fcntl.flock(file, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.readline()
file.write(b"X" * 90000)
file.flush()
print(flush=True)
sys.stdin.readline()
"""


def sha(data):
    return hashlib.sha256(data).hexdigest()


def begin(uploads, path="d/f", **options):
    token = os.urandom(8).hex()
    uploads.begin(path, token, Job(), **options)
    return token


def add(uploads, token, offset, data, path="d/f", said=None):
    pieces = [data[start : start + 30_000] for start in range(0, len(data), 30_000)]
    return uploads.add(path, token, offset, pieces, Job(), lambda: said or sha(WHOLE[:offset] + data))


def finish(uploads, token, data=WHOLE, path="d/f", **options):
    return uploads.finish(path, token, len(data), sha(data), Job(), **options)


def refused(code, function, *args, **options):
    with pytest.raises(GuestError) as caught:
        function(*args, **options)
    assert caught.value.code == code, str(caught.value)


def arrived(root):
    """An upload with all chunks in place."""
    uploads = Uploads(root)
    token = begin(uploads)
    for offset, chunk in ((0, ONE), (len(ONE), TWO), (len(ONE + TWO), THREE)):
        token = add(uploads, token, offset, chunk)
    return uploads, token


def test_chunks_become_the_file_and_nothing_is_seen_before(root, tmp_path, leftovers):
    uploads, token = arrived(root)
    assert list_directory(root, "d", Job())["entries"] == []
    answer = finish(uploads, token)
    assert (tmp_path / "d/f").read_bytes() == WHOLE
    assert (answer["created"], answer["info"]["sha256"], answer["info"]["size"]) == (True, sha(WHOLE), len(WHOLE))
    assert leftovers() == []
    refused("not_found", finish, uploads, token)


def test_another_session_goes_on(root, tmp_path, leftovers):
    first = Uploads(root)
    token = add(first, begin(first), 0, ONE)
    second = Uploads(root)
    token = add(second, token, len(ONE), TWO + THREE)
    finish(Uploads(root), token)
    assert (tmp_path / "d/f").read_bytes() == WHOLE
    assert leftovers() == []


def test_a_chunk_is_sent_again_when_its_acknowledgement_got_lost(root, tmp_path):
    uploads = Uploads(root)
    token = begin(uploads)
    for _ in range(2):
        add(uploads, token, 0, ONE)
    for _ in range(2):
        add(uploads, token, len(ONE), TWO)
    add(uploads, token, len(ONE + TWO), THREE)
    finish(uploads, token)
    assert (tmp_path / "d/f").read_bytes() == WHOLE


def add_early(uploads, token, offset, data, so_far, job=None):
    return uploads.add("d/f", token, offset, [data], job or Job(), lambda: sha(so_far), early=True)


def test_a_chunk_that_comes_early_waits_for_the_one_before(root, tmp_path):
    uploads = Uploads(root)
    token = begin(uploads)
    under_way, go_on = threading.Event(), threading.Event()

    def slowly():
        yield ONE[:30_000]
        under_way.set()
        go_on.wait(10)
        yield ONE[30_000:]

    first = threading.Thread(target=uploads.add, args=("d/f", token, 0, slowly(), Job(), lambda: sha(ONE)))
    first.start()
    assert under_way.wait(10)
    gone = Job()
    gone.cancel()
    refused("cancelled", add_early, uploads, token, len(ONE), TWO, ONE + TWO, gone)
    found = []
    second = threading.Thread(target=lambda: found.append(add_early(uploads, token, len(ONE), TWO, ONE + TWO)))
    second.start()
    go_on.set()
    first.join()
    second.join()
    assert found == [token]
    finish(uploads, add(uploads, token, len(ONE + TWO), THREE))
    assert (tmp_path / "d/f").read_bytes() == WHOLE


@pytest.mark.parametrize("arrived_before", [b"", ONE[:100], ONE + TWO])
def test_a_chunk_that_comes_early_changes_nothing_unless_the_one_before_arrived(root, arrived_before):
    uploads = Uploads(root)
    token = begin(uploads)
    if arrived_before:
        add(uploads, token, 0, arrived_before)
    refused("conflict", add_early, uploads, token, len(ONE), TWO, ONE + TWO)
    assert uploads.size("d/f", token) == len(arrived_before)


def test_a_broken_chunk_leaves_what_was_there(root, tmp_path):
    uploads = Uploads(root)
    token = add(uploads, begin(uploads), 0, ONE)
    refused("integrity", add, uploads, token, len(ONE), TWO, said=sha(b"other"))

    def breaking():
        yield TWO[:50_000]
        raise GuestError("cancelled", "d/f", "the sender gave up")

    refused("cancelled", uploads.add, "d/f", token, len(ONE), breaking(), Job(), lambda: "")
    add(uploads, token, len(ONE), TWO + THREE)
    finish(uploads, token)
    assert (tmp_path / "d/f").read_bytes() == WHOLE


def test_bytes_that_never_arrived_are_missed(root):
    uploads = Uploads(root)
    token = add(uploads, begin(uploads), 0, ONE)
    refused("conflict", add, uploads, token, len(ONE) + 1, TWO)
    refused("conflict", finish, uploads, token)


def test_bytes_that_changed_meanwhile_are_no_success(root, tmp_path, leftovers):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(b"old")
    _, token = arrived(root)
    [part] = leftovers()
    with open(str(part), "r+b") as file:
        file.write(b"X")
    refused("integrity", finish, Uploads(root), token)
    assert (tmp_path / "d/f").read_bytes() == b"old"
    assert leftovers() == []


def test_who_is_cut_off_but_still_writes_spoils_nothing(root, tmp_path, leftovers):
    uploads = Uploads(root)
    token = add(uploads, begin(uploads), 0, ONE)
    [part] = leftovers()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            _HOLDER,
            str(part),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        holder.stdout.readline()
        other = add(Uploads(root), token, len(ONE), TWO)
        assert other != token
        holder.stdin.write(b"\n")
        holder.stdin.flush()
        holder.stdout.readline()
        add(uploads, other, len(ONE + TWO), THREE)
        finish(uploads, other)
        assert (tmp_path / "d/f").read_bytes() == WHOLE
    finally:
        holder.communicate(b"\n\n", timeout=10)


@pytest.mark.parametrize("token", ["", "..", "../../etc/passwd", "0" * 15, "0" * 17, "G" * 16, "0" * 16 + "\n"])
def test_a_token_is_no_path(root, token):
    uploads = Uploads(root)
    for call in (add, finish):
        args = (uploads, token, 0, ONE) if call is add else (uploads, token)
        refused("invalid_argument", call, *args)
    refused("invalid_argument", uploads.abandon, "d/f", token)
    refused("invalid_argument", uploads.begin, "d/f", token, Job())


def test_a_link_in_the_place_of_what_arrived_is_not_followed(root, tmp_path, leftovers):
    (tmp_path / "victim").write_bytes(b"keep me")
    uploads = Uploads(root)
    token = begin(uploads)
    [part] = leftovers()
    part.unlink()
    part.symlink_to("../victim")
    refused("not_found", add, uploads, token, 0, ONE)
    refused("not_found", finish, uploads, token, b"keep me")
    assert (tmp_path / "victim").read_bytes() == b"keep me"


def test_what_can_be_refused_is_refused_before_anything_arrives(root, tmp_path, leftovers):
    (tmp_path / "there").write_bytes(b"old")
    (tmp_path / "directory").mkdir()
    uploads = Uploads(root)
    refused("exists", begin, uploads, "there", mode="create")
    refused("is_directory", begin, uploads, "directory")
    refused("conflict", begin, uploads, "none", if_match="0" * 12)
    refused("invalid_argument", begin, uploads, "x", mode="sideways")
    assert leftovers() == []


def test_rules_hold_for_uploads_too(tmp_path):
    root = Root(str(tmp_path), Policy(["secret"], read_only=False))
    frozen = Root(str(tmp_path), Policy((), read_only=True))
    try:
        refused("denied", begin, Uploads(root), "secret")
        refused("read_only", begin, Uploads(frozen), "x")
        token = begin(Uploads(root), "x")
        refused("read_only", finish, Uploads(frozen), token, b"", "x")
    finally:
        root.close()
        frozen.close()


def test_the_end_is_a_write_like_any_other(root, tmp_path, leftovers):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(b"old")
    (tmp_path / "d/f").chmod(0o640)
    uploads, token = arrived(root)
    refused("conflict", finish, uploads, token, if_match="0" * 12)
    assert leftovers() == []
    uploads, token = arrived(root)
    refused("exists", finish, uploads, token, mode="create")
    uploads, token = arrived(root)
    finish(uploads, token, if_match=sha(b"old"), executable=True)
    assert (tmp_path / "d/f").read_bytes() == WHOLE
    assert (tmp_path / "d/f").stat().st_mode & 0o777 == 0o750
    uploads, token = arrived(root)
    answer = finish(uploads, token, mode="append")
    assert (tmp_path / "d/f").read_bytes() == WHOLE + WHOLE
    assert answer["info"]["sha256"] == sha(WHOLE + WHOLE)
    os.link(str(tmp_path / "d/f"), str(tmp_path / "d/twin"))
    uploads, token = arrived(root)
    finish(uploads, token, in_place=True)
    assert (tmp_path / "d/twin").read_bytes() == WHOLE
    assert leftovers() == []


def test_an_abandoned_upload_is_gone(root, tmp_path, leftovers):
    uploads, token = arrived(root)
    uploads.abandon("d/f", token)
    uploads.abandon("d/f", token)
    assert leftovers() == []
    refused("not_found", add, uploads, token, 0, ONE)


def test_abandoning_makes_nothing(root, tmp_path):
    Uploads(root).abandon("none/below", "0" * 16)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_has_another_name_is_not_written_into(root, tmp_path, leftovers):
    (tmp_path / "victim").write_bytes(b"keep me")
    uploads = Uploads(root)
    token = begin(uploads)
    [part] = leftovers()
    part.unlink()
    os.link(str(tmp_path / "victim"), str(part))
    refused("permission_denied", add, uploads, token, 0, ONE)
    assert (tmp_path / "victim").read_bytes() == b"keep me"


def test_what_nobody_adds_to_for_a_day_is_swept(root, leftovers):
    arrived(root)
    with root.locate("d/f") as place, Parent(place) as parent:
        sweep(parent, time.time() + 23 * 3600)
        assert len(leftovers()) == 1
        sweep(parent, time.time() + 25 * 3600)
        assert leftovers() == []


def extend(uploads, token, offset, data, said=None):
    return uploads.extend("d/f", token, offset, [data], Job(), lambda: said or sha(data))


def holding(part):
    """Another program that holds what has arrived."""
    command = [sys.executable, "-c", _HOLDER, str(part)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdout.readline()
    return holder


def test_sessions_that_may_meet_extend_it_in_turn(root, tmp_path, leftovers):
    first, second = Uploads(root), Uploads(root)
    token = begin(first)
    assert extend(first, token, 0, ONE) == len(ONE)
    assert second.size("d/f", token) == len(ONE)
    assert extend(second, token, len(ONE), TWO) == len(ONE + TWO)
    assert extend(first, token, len(ONE + TWO), THREE) == len(WHOLE)
    answer = second.finish("d/f", token, len(WHOLE), None, Job(), exact=True)
    assert answer["info"]["sha256"] == sha(WHOLE)
    assert (tmp_path / "d/f").read_bytes() == WHOLE
    assert leftovers() == []


@pytest.mark.parametrize("offset", [0, 1, len(ONE) - 1, len(ONE) + 1])
def test_a_chunk_for_another_place_is_told_where_it_stands(root, offset):
    uploads = Uploads(root)
    token = begin(uploads)
    extend(uploads, token, 0, ONE)
    for call in (extend, lambda *_: uploads.finish("d/f", token, offset, None, Job(), exact=True)):
        with pytest.raises(GuestError) as caught:
            call(uploads, token, offset, TWO)
        assert (caught.value.code, caught.value.data["size"]) == ("conflict", len(ONE))
    assert uploads.size("d/f", token) == len(ONE)


def test_what_somebody_else_holds_is_busy_and_stays(root, tmp_path, leftovers):
    uploads = Uploads(root)
    token = begin(uploads)
    extend(uploads, token, 0, ONE)
    [part] = leftovers()
    holder = holding(part)
    try:
        refused("busy", extend, uploads, token, len(ONE), TWO)
        refused("busy", uploads.finish, "d/f", token, len(ONE), None, Job(), exact=True)
    finally:
        holder.kill()
        holder.communicate()
    uploads.finish("d/f", token, len(ONE), None, Job(), exact=True)
    assert (tmp_path / "d/f").read_bytes() == ONE


def test_the_file_is_not_written_into_by_who_found_it_as_an_upload(root, tmp_path, leftovers, monkeypatch):
    uploads = Uploads(root)
    token = begin(uploads)
    extend(uploads, token, 0, ONE)
    from devbox_mcp.guest import uploads as room

    def finished_meanwhile(fd):
        monkeypatch.undo()
        Uploads(root).finish("d/f", token, len(ONE), None, Job(), exact=True)
        return True

    monkeypatch.setattr(room, "try_lock", finished_meanwhile)
    refused("not_found", extend, uploads, token, len(ONE), TWO)
    assert (tmp_path / "d/f").read_bytes() == ONE


def test_without_a_hash_what_arrived_here_is_compared_with_what_lies_there(root, tmp_path, leftovers):
    uploads = Uploads(root)
    token = begin(uploads)
    extend(uploads, token, 0, ONE)
    [part] = leftovers()
    with open(str(part), "r+b") as file:
        file.write(b"X")
    refused("integrity", uploads.finish, "d/f", token, len(ONE), None, Job(), exact=True)
    assert leftovers() == []
    assert not (tmp_path / "d/f").exists()


def test_an_end_that_may_come_later_keeps_what_arrived(root, tmp_path, leftovers):
    uploads = Uploads(root)
    token = begin(uploads)
    extend(uploads, token, 0, ONE)
    stopped = Job()
    stopped.cancel()
    with root.locate("d/f") as place, Parent(place) as parent, locked((parent,), Job()):
        refused("cancelled", uploads.finish, "d/f", token, len(ONE), sha(ONE), stopped, exact=True)
    assert uploads.size("d/f", token) == len(ONE)
    uploads.finish("d/f", token, len(ONE), sha(ONE), Job(), exact=True)
    assert (tmp_path / "d/f").read_bytes() == ONE
    assert leftovers() == []


def test_looking_for_what_is_gone_makes_nothing(root, tmp_path):
    uploads = Uploads(root)
    token = "0" * 16
    refused("not_found", uploads.size, "new/d/f", token)
    refused("not_found", uploads.extend, "new/d/f", token, 0, [b"x"], Job(), None)
    refused("not_found", uploads.finish, "new/d/f", token, 0, None, Job(), exact=True)
    assert list(tmp_path.iterdir()) == []
