"""No path leads out of the root, with openat2 and with the walk that does without; and both say the same."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from devbox_mcp.guest.beneath import MOST_LINKS
from devbox_mcp.guest.errors import GuestError, WouldBlock
from devbox_mcp.guest.names import OWN_PREFIX
from devbox_mcp.guest.policy import Policy
from tests.guest.resolving import answer, answers, roots

SECRET = "secret"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """``root``, its neighbours, and a link that is another name of the root."""
    for path in ("root/d/e", "root/%2e%2e", "outside/d", "root-evil"):
        (tmp_path / path).mkdir(parents=True)
    for path in ("root/f", "root/d/f", "root/d/e/f", "root/%2e%2e/f"):
        (tmp_path / path).write_text("ours")
    for path in ("outside/f", "outside/d/f", "root-evil/f"):
        (tmp_path / path).write_text(SECRET)
    (tmp_path / "alias").symlink_to("root")
    return tmp_path


CLIMBING = ["..", "../outside", "../outside/f", "d/..", "d/../../outside", "d/../f", "root-evil/.."]
ABSOLUTES = ["/", "//", "/d", "/etc/passwd", "{root}", "{root}/f", "{root}-evil/f"]
NOT_NORMAL = ["", "d/", "d//f", "./f", "d/./f", "d/.", "\0", "f\0", "d\0/f", "d/\0"]
RESERVED = [OWN_PREFIX, OWN_PREFIX + "part-1", "d/" + OWN_PREFIX + "x", OWN_PREFIX + "trash-1/f"]


@pytest.mark.parametrize("path", [*CLIMBING, *ABSOLUTES, *NOT_NORMAL, *RESERVED])
def test_only_normal_relative_paths_are_paths(base: Path, path: str) -> None:
    assert answers(base, path.format(root=base / "root"), make_parents=True) == "invalid_argument"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".", "directory ."),
        ("f", "file f"),
        ("d/e/f", "file d/e/f"),
        ("new", "nothing new"),
        ("d/new", "nothing d/new"),
        ("new/new", "not_found"),
        ("f/new", "not_directory"),
        ("d/f/new/new", "not_directory"),
        ("%2e%2e/f", "file %2e%2e/f"),
        ("%2e%2e/outside/f", "not_found"),
        ("..%2foutside", "nothing ..%2foutside"),
        ("\uff0e\uff0e/outside/f", "not_found"),
        ("\u2024\u2024/outside", "not_found"),
        ("..\u2215outside", "nothing ..\u2215outside"),
        ("..\\outside\\f", "nothing ..\\outside\\f"),
        ("...", "nothing ..."),
        (".. ", "nothing .. "),
        ("~", "nothing ~"),
        ("x" * 255, "nothing " + "x" * 255),
        ("x" * 256, "invalid_argument"),
        ("d/" + "x" * 256, "invalid_argument"),
        ("x" * 256 + "/f", "invalid_argument"),
        (os.fsdecode(b"\xff\xfe"), "nothing " + os.fsdecode(b"\xff\xfe")),
    ],
)
def test_plain_paths(base: Path, path: str, expected: str) -> None:
    assert answers(base, path) == expected


@pytest.mark.parametrize(
    "target",
    [
        "..",
        "../outside",
        "../outside/",
        "./../outside",
        "d/../../outside",
        "d/e/../../../outside",
        "../root/d",  # it would come back, but it has been out
        "../root-evil",
        "../alias/d",
        "/",
        "//",
        "/etc",
        "{base}",
        "{base}/outside",
        "{base}/root-evil",
        "{base}/root/../outside",
        "{base}/root/d/../../outside",
        "{base}/alias/../outside",
        "{base}/root/out",
        "{base}/ROOT/d",
        "{base}/roo",
        "/proc/self/root",
        "/proc/self/root{base}/outside",
        "/proc/self/cwd",
        "/proc/self/fd/{fd}",
        "/proc/thread-self/fd/{fd}",
        "/dev/fd/{fd}",
        "/proc/self/exe",
        "out",
        "d/out",
    ],
)
@pytest.mark.parametrize("path", ["link/f", "link/new", "link/d/f", "link/new/new", "d/up/link/f", "chain/f"])
def test_no_link_leads_out(base: Path, target: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(base / "outside")
    fd = os.open(str(base / "outside"), os.O_RDONLY)
    try:
        (base / "root/out").symlink_to("../outside")
        (base / "root/d/out").symlink_to(str(base / "outside"))
        (base / "root/link").symlink_to(target.format(base=base, fd=fd))
        (base / "root/chain").symlink_to("d/up/link")
        (base / "root/d/up").symlink_to("..")
        for make_parents in (False, True):
            assert answers(base, path, make_parents=make_parents) == "escapes_root"
        assert answers(base, "link") == "escapes_root"
        assert answers(base, "link", follow=False) == "symlink link"
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("d", "directory d"),
        ("d/", "directory d"),
        ("./d/./e/", "directory d/e"),
        ("d//e", "directory d/e"),
        ("d/e/..", "directory d"),
        ("turn/..", "directory d"),
        ("turn/../f", "file d/f"),
        ("{base}/root/turn/..", "directory d"),
        ("{base}/root/turn/../f", "file d/f"),
        ("{base}/alias/turn/../e/../f", "file d/f"),
        ("d/..", "directory ."),
        (".", "directory ."),
        ("{base}/root", "directory ."),
        ("{base}/root/", "directory ."),
        ("{base}/root/d", "directory d"),
        ("{base}//root///d", "directory d"),
        ("{base}/root/../root/d", "directory d"),
        ("{base}/alias/d", "directory d"),
        ("{base}/alias/../root/d", "directory d"),
        ("/proc/self/root{base}/root/d", "directory d"),
        ("{base}/root/new", "nothing new"),
        ("new", "nothing new"),
        ("d/new", "nothing d/new"),
        ("new/new", "not_found"),
        ("f/new", "not_directory"),
        ("f/..", "not_directory"),
        ("new/..", "not_found"),
        ("link", "too_many_links"),
        ("{base}/root/link", "too_many_links"),
        ("x" * 256, "invalid_argument"),
        (OWN_PREFIX + "part-1", "invalid_argument"),
        ("d/" + OWN_PREFIX + "trash/x", "invalid_argument"),
    ],
)
def test_links_beneath_the_root(base: Path, target: str, expected: str) -> None:
    (base / "root/turn").symlink_to("d/e")
    (base / "root/link").symlink_to(target.format(base=base))
    assert answers(base, "link") == expected
    if target.startswith(("{base}", "/")) and expected != "too_many_links":
        (base / "root/d/e/elsewhere").symlink_to(target.format(base=base))
        assert answers(base, "d/e/elsewhere") == expected
    if expected.startswith("directory"):
        inside = expected.split(" ")[1]
        assert answers(base, "link/new") == "nothing " + ("new" if inside == "." else inside + "/new")


@pytest.mark.parametrize("prefix", ["", "{base}/root/", "{base}/alias/"])
def test_forty_links_and_no_more(base: Path, prefix: str) -> None:
    (base / "root/l0").symlink_to("f")
    for number in range(1, MOST_LINKS + 1):
        (base / ("root/l%d" % number)).symlink_to("%sl%d" % (prefix.format(base=base), number - 1))
    assert answers(base, "l%d" % (MOST_LINKS - 1)) == "file f"
    assert answers(base, "l%d" % MOST_LINKS) == "too_many_links"


def test_a_way_longer_than_the_kernel_takes_at_once(base: Path) -> None:
    parts = ["x" * 200] * 30
    fd = os.open(str(base / "root"), os.O_RDONLY)
    for part in parts:
        os.mkdir(part, dir_fd=fd)
        below = os.open(part, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    path = "/".join(parts)
    assert answers(base, path) == "directory " + path
    assert answers(base, path + "/new") == "nothing %s/new" % path


def test_parents_are_made_on_the_way_and_told(base: Path) -> None:
    (base / "root/link").symlink_to("d/made")
    with roots(base) as both:
        for number, root in enumerate(both):
            made: list[str] = []
            name = "new%d" % number
            with root.locate("link/%s/b/c" % name, make_parents=True, made=made) as place:
                assert place.path == "d/made/%s/b/c" % name
                assert place.st is None
            assert made[-2:] == ["d/made/" + name, "d/made/%s/b" % name]
    assert not (base / "outside/made").exists()


def test_parents_are_taken_back_where_nothing_came_into_them(base: Path) -> None:
    (base / "root/link").symlink_to("new/way/../../../outside")
    before = sorted((base / "root").rglob("*"))
    with roots(base) as both:
        for root in both:
            for path in ("new/%s" % ("x" * 256), "new/way/%s/f" % OWN_PREFIX, "link", "link/f", "new/f/../x"):
                with pytest.raises(GuestError):
                    root.locate(path, make_parents=True)
            with suppress(ZeroDivisionError), root.locate("new/way/f", make_parents=True):
                assert (base / "root/new/way").is_dir()
                raise ZeroDivisionError
            assert sorted((base / "root").rglob("*")) == before
        with suppress(ZeroDivisionError), both[0].locate("new/way/f", make_parents=True) as place:
            os.mkdir(place.name, dir_fd=place.fd)
            raise ZeroDivisionError
        assert (base / "root/new/way/f").is_dir()


def test_deny_rules_meet_every_step(base: Path) -> None:
    (base / "root/d/link").symlink_to("../d/e")
    (base / "root/through").symlink_to("d/e/../f")
    with roots(base, Policy(deny=["e"])) as both:
        for root in both:
            for path in ("d/e", "d/e/f", "d/e/new", "d/link", "d/link/f", "through", "e", "new/e/f"):
                assert answer(root, path) == "denied", path
            assert answer(root, "d/link", follow=False) == "symlink d/link"
            assert answer(root, "d/f") == "file d/f"


@pytest.mark.parametrize(("platform", "code"), [("darwin", "denied"), ("linux", "nothing .ENV")])
def test_deny_rules_ignore_case_where_file_systems_do(
    base: Path, platform: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    policy = Policy(deny=[".env"])
    monkeypatch.undo()
    with roots(base, policy) as both:
        assert {answer(root, ".ENV") for root in both} == {code}
        assert {answer(root, ".env") for root in both} == {"denied"}


def test_what_only_the_caches_may_answer(base: Path) -> None:
    (base / "root/link").symlink_to("d")
    with roots(base) as (quick, slow):
        assert answer(quick, "d/e/f", cached=True) == "file d/e/f"
        for root in (quick, slow):
            assert answer(root, "f", cached=True) == "file f"
            with pytest.raises(WouldBlock):
                root.locate("link/f", cached=True)


def test_what_may_not_be_searched(base: Path) -> None:
    privileged = os.geteuid() == 0
    with roots(base) as both:
        for closed, paths in (("root/d", ["d/f", "d/e/f"]), ("root", [".", "f", "d/f"])):
            (base / closed).chmod(0)
            if privileged:
                os.seteuid(65534)
            try:
                found = {answer(root, path) for root in both for path in paths}
            finally:
                if privileged:
                    os.seteuid(0)
                (base / closed).chmod(0o755)
            assert found == {"permission_denied"}


def test_the_root_deleted(base: Path) -> None:
    with roots(base) as both:
        shutil.rmtree(base / "root")
        (base / "root").mkdir()
        (base / "root/f").write_text(SECRET)
        for root in both:
            for path in (".", "f", "d/f", "new"):
                assert answer(root, path) == "unavailable"


def test_the_root_moved_away(base: Path) -> None:
    with roots(base) as both:
        (base / "root").rename(base / "moved")
        (base / "outside").rename(base / "root")
        for root in both:
            fd = os.open("f", os.O_RDONLY, dir_fd=root.locate("f").fd)
            assert os.read(fd, 10) == b"ours"
            os.close(fd)
