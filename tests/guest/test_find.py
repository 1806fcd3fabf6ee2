"""Finding by glob: what is found, in which order, and that pages lose and repeat nothing."""

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devbox_mcp.guest.beneath import Root
from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.find import find
from devbox_mcp.guest.job import Job
from devbox_mcp.guest.paging import make_cursor
from devbox_mcp.guest.policy import Policy


def paths(answer):
    return [entry["path"] for entry in answer["entries"]]


def pages(root, pattern, path=".", **options):
    """All pages, joined."""
    found, after = [], None
    while True:
        answer = find(root, path, pattern, Job(), after=after, **options)
        found += paths(answer)
        after = answer["after"]
        if after is None:
            return found


@pytest.fixture
def tree(tmp_path):
    for path in ["a.py", "b.txt", "src/c.py", "src/deep/d.py", "src-x/e.py", "src/.hidden/f.py"]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    (tmp_path / "src" / "link.py").symlink_to("deep/d.py")
    (tmp_path / "src" / "gone.py").symlink_to("nowhere")
    (tmp_path / "dir.py").mkdir()
    os.mkfifo(tmp_path / "fifo.py")
    return tmp_path


def test_every_kind_in_the_order_of_the_walk(root, tree):
    answer = find(root, ".", "*.py", Job())
    assert paths(answer) == [
        *("a.py", "dir.py", "fifo.py", "src/.hidden/f.py", "src/c.py", "src/deep/d.py"),
        *("src/gone.py", "src/link.py", "src-x/e.py"),
    ]
    assert (answer["after"], answer["timed_out"], answer["unreadable"]) == (None, False, 0)
    kinds = {entry["path"]: entry["type"] for entry in answer["entries"]}
    assert [kinds[name] for name in ("a.py", "dir.py", "fifo.py", "src/link.py")] == [
        *("file", "directory", "fifo", "symlink")
    ]
    targets = {entry["path"]: entry.get("target") for entry in answer["entries"]}
    assert targets["src/gone.py"] == "nowhere"
    assert targets["a.py"] is None


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        ("src", "*.py", ["src/.hidden/f.py", "src/c.py", "src/deep/d.py", "src/gone.py", "src/link.py"]),
        ("src", "deep/*", ["src/deep/d.py"]),
        (".", "src*", ["src", "src-x"]),
        (".", "src/*.py", ["src/c.py", "src/gone.py", "src/link.py"]),
        (".", "**/deep/**", ["src/deep", "src/deep/d.py"]),
        (".", ".hidden", ["src/.hidden"]),
        (".", "no such", []),
    ],
)
def test_the_pattern_is_about_the_path_below_the_start(root, tree, path, pattern, expected):
    assert paths(find(root, path, pattern, Job())) == expected


def test_a_start_that_is_a_link_shows_where_it_leads(root, tree):
    (tree / "alias").symlink_to("src/deep")
    assert paths(find(root, "alias", "*", Job())) == ["src/deep/d.py"]


@pytest.mark.parametrize("sort", ["name", "newest"])
def test_ignored_and_git_are_left_out_unless_asked_for(root, tree, sort):
    (tree / ".gitignore").write_text("deep/\n*.txt\n!b.txt\n")
    (tree / ".git").mkdir()
    (tree / ".git" / "x.py").touch()
    found = paths(find(root, ".", "**", Job(), sort=sort))
    assert "src/c.py" in found
    assert "b.txt" in found
    assert not {"src/deep", "src/deep/d.py", ".git", ".git/x.py"} & set(found)
    found = paths(find(root, ".", "**", Job(), sort=sort, ignored=True))
    assert {"src/deep", "src/deep/d.py", ".git", ".git/x.py"} <= set(found)
    assert paths(find(root, ".git", "*", Job(), sort=sort)) == [".git/x.py"]


@pytest.mark.parametrize("sort", ["name", "newest"])
def test_what_is_denied_and_own_files_do_not_appear(tree, sort):
    (tree / ".devbox-mcp-part-0").touch()
    root = Root(str(tree), Policy(["deep", "*.txt"]))
    found = paths(find(root, ".", "**", Job(), sort=sort, ignored=True))
    assert "src/c.py" in found
    assert not {"src/deep", "src/deep/d.py", "b.txt", ".devbox-mcp-part-0"} & set(found)
    root.close()


def test_newest_first_then_by_path(root, tmp_path):
    for name, seconds in [("b", 5), ("a", 5), ("old", 1), ("new", 9), ("a-", 5)]:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, ns=(0, seconds * 10**9 + 1))
    assert paths(find(root, ".", "*", Job(), sort="newest")) == ["new", "a", "a-", "b", "old"]
    assert pages(root, "*", sort="newest", limit=2) == ["new", "a", "a-", "b", "old"]


def test_no_cursor_after_a_page_that_is_just_full(root, tmp_path):
    for name in "abc":
        (tmp_path / name).touch()
    for sort in ("name", "newest"):
        assert find(root, ".", "*", Job(), sort=sort, limit=3)["after"] is None
        assert find(root, ".", "*", Job(), sort=sort, limit=2)["after"] is not None


names = st.binary(min_size=1, max_size=3).filter(lambda name: not set(name) & set(b"/\0") and name not in (b".", b".."))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sets(st.lists(names, min_size=1, max_size=3).map(tuple), max_size=8), st.integers(1, 4))
def test_pages_lose_and_repeat_nothing_whatever_the_names(tmp_path_factory, wanted, limit):
    top = os.fsencode(tmp_path_factory.mktemp("names"))
    for parts in wanted:
        os.makedirs(os.path.join(top, *parts), exist_ok=True)
    root = Root(os.fsdecode(top))
    whole = paths(find(root, ".", "**", Job(), limit=1000, ignored=True))
    assert sorted(whole) == sorted({os.fsdecode(b"/".join(parts[:end])) for parts in wanted for end in (1, 2, 3)})
    assert pages(root, "**", limit=limit, ignored=True) == whole
    assert pages(root, "**", limit=limit, ignored=True, sort="newest") == paths(
        find(root, ".", "**", Job(), limit=1000, ignored=True, sort="newest")
    )
    root.close()


def test_a_cursor_goes_on_though_its_entry_is_gone(root, tree):
    first = find(root, ".", "*.py", Job(), limit=5)
    assert paths(first)[-1] == "src/c.py"
    (tree / "src" / "c.py").unlink()
    assert paths(find(root, ".", "*.py", Job(), after=first["after"]))[:2] == ["src/deep/d.py", "src/gone.py"]


def test_the_answer_is_plain_json(root, tmp_path):
    with open(os.fsencode(tmp_path) + b"/\xff\n", "wb"):
        pass
    answer = find(root, ".", "*", Job(), limit=1)
    assert json.loads(json.dumps(answer)) == answer


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "nonsense",
        "é",
        make_cursor("newest", ".", 1, "a"),
        make_cursor("name", "src", "a"),
        make_cursor("name", ".", 1),
        make_cursor("name", ".", "../.."),
        make_cursor("name", ".", "a", "b"),
        make_cursor("name", ".", "\ud800"),
    ],
)
def test_a_foreign_cursor_is_refused(root, cursor):
    with pytest.raises(GuestError) as caught:
        find(root, ".", "*", Job(), after=cursor)
    assert caught.value.code == "invalid_argument"


@pytest.mark.parametrize(
    ("path", "pattern", "options", "code"),
    [
        ("nowhere", "*", {}, "not_found"),
        ("a.py", "*", {}, "not_directory"),
        (".", "", {}, "invalid_argument"),
        (".", "*", {"sort": "size"}, "invalid_argument"),
        ("src/../..", "*", {}, "invalid_argument"),
    ],
)
def test_errors(root, tree, path, pattern, options, code):
    with pytest.raises(GuestError) as caught:
        find(root, path, pattern, Job(), **options)
    assert caught.value.code == code


class Impatient(Job):
    """Its time is over after so many checks."""

    def __init__(self, checks):
        super().__init__(seconds=3600)
        self.checks = checks

    @property
    def expired(self):
        self.checks -= 1
        return self.checks < 0


def test_the_deadline_ends_it_with_what_there_is_and_the_cursor_goes_on(root, tree):
    whole = paths(find(root, ".", "*.py", Job()))
    found, after, rounds = [], None, 0
    while True:
        # a resumed walk looks at less and less, but it begins at the top
        answer = find(root, ".", "*.py", Impatient(3 + rounds), after=after)
        found += paths(answer)
        after = answer["after"]
        assert answer["timed_out"] is (after is not None)
        if after is None:
            break
        rounds += 1
        assert rounds < 40
    assert found == whole
    assert rounds > 1


def test_newest_of_what_was_seen_by_the_deadline(root, tree):
    answer = find(root, ".", "*", Impatient(2), sort="newest")
    assert sorted(paths(answer)) == ["a.py", "b.txt"]
    assert answer["timed_out"]
    assert answer["after"] is None


@pytest.mark.parametrize("sort", ["name", "newest"])
def test_cancelled(root, tree, sort):
    job = Job()
    job.cancel()
    with pytest.raises(GuestError) as caught:
        find(root, ".", "*", job, sort=sort)
    assert caught.value.code == "cancelled"


@pytest.fixture
def as_nobody(tmp_path):
    """Root reads everything: while it has this fixture, the test is nobody, to whom its directory is open."""
    if os.geteuid() != 0:
        yield
        return
    tmp_path.chmod(0o755)
    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.mark.parametrize("sort", ["name", "newest"])
def test_an_unreadable_directory_is_counted(root, tree, request, sort):
    (tree / "src").chmod(0)
    request.getfixturevalue("as_nobody")
    answer = find(root, ".", "*.py", Job(), sort=sort)
    assert answer["unreadable"] == 1
    assert "src-x/e.py" in paths(answer)
