"""The rules of .gitignore, held against the real git."""

import os
import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from devbox_mcp.guest import gitignore
from devbox_mcp.guest.beneath import Root
from devbox_mcp.guest.gitignore import parse_rules
from devbox_mcp.guest.ignore import visible
from devbox_mcp.guest.job import Job
from devbox_mcp.guest.policy import Policy

NAMES = ["a", "b", "ab", "abc", "a b", "a ", "!a", "#a", "[a]", "a-b", "a\\", "*", ".h", "é", "B", "7"]

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def put(top, files):
    """Make files: a path and its text, or None for a directory."""
    for path, text in files.items():
        target = top / path
        if text is None:
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text if isinstance(text, bytes) else text.encode())


def seen(root, start=".", **options):
    """The files and links that a walk from ``start`` shows."""
    with root.locate(start) as place:
        entries = visible(root, place, Job(), **options)
        return sorted(entry.path for entry in entries if entry.kind != "directory")


def git(top, *arguments):
    done = subprocess.run(
        ["git", *arguments],
        cwd=top,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(top),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CEILING_DIRECTORIES": str(top.parent),
        },
        stdout=subprocess.PIPE,
        check=True,
    )
    return sorted(os.fsdecode(path) for path in done.stdout.split(b"\0") if path)


def seen_by_git(top):
    return git(top, "ls-files", "-z", "--others", "--exclude-standard")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A tree with every name as file and as directory, three levels deep where it matters."""
    top = tmp_path_factory.mktemp("repository")
    git(top, "init", "-q")
    for name in NAMES:
        put(top, {"f/" + name: "", name + "/deep/f": ""})
        put(top, {"%s/%s/%s" % (name, below, last): "" for below in ("a", "abc", "é") for last in ("a", "b", "a b")})
    (top / "f" / "link").symlink_to("../a")
    root = Root(str(top))
    yield top, root
    root.close()


PIECES = r"""
a b ab abc f deep é link . .h # ! - / / / * ** *** ? \* \# \! \a \
[ab] [!a] [^b-z] [[:alpha:]] [[:digit:][:upper:]] [[:no:]] [a- [] [!]a] [a/b] [\]] [b-a] [c-a-b] [--a] [a-\b]
"""
pieces = st.sampled_from([*PIECES.split(), " ", "\\ "])
lines = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "", "!", "/", "!/", "**/", "#"]),
    st.lists(pieces, max_size=5).map("".join),
    st.sampled_from(["", "", "", "/", "/*", "/**", "  ", "\\ ", "\\  ", "\r"]),
    st.just("\n"),
)
rule_files = st.lists(lines, max_size=6).map("".join)


def differs_from_its_manual(text):
    r"""Git before 2.53 takes the stars in ``ab**/c`` as if they stood behind a slash, which its manual denies, and
    ``**\/`` has a meaning of its own."""
    return (
        any(
            segment.endswith("**") and segment.strip("*") and not set(segment.rstrip("*")) & set("*?[\\")
            for line in text.split("\n")
            for segment in line[line.startswith("!") :].rstrip(" ").split("/")
        )
        or "**\\/" in text
    )


@needs_git
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rule_files, rule_files, rule_files, rule_files)
def test_the_same_as_git(repository, top_rules, f_rules, deep_rules, exclude):
    assume(not any(map(differs_from_its_manual, (top_rules, f_rules, deep_rules, exclude))))
    top, root = repository
    put(
        top,
        {
            ".gitignore": top_rules,
            "f/.gitignore": f_rules,
            "a/abc/.gitignore": deep_rules,
            ".git/info/exclude": exclude,
        },
    )
    assert seen(root) == seen_by_git(top)


KNOWN_RULES = r"""
# a comment
\#a
!\#a
*.tmp
!keep.tmp
/top
dir/
docs/*.txt
**/build/out
logs/**/old
cache/**
all/**
!all/keep
trailing\SPACE
spacesSPACESPACE
[abc]x
[!abc]y
q?r
a**z
n/
!n/keep
back\\slash
"""
KNOWN_FILES = [
    *("#a", "x.tmp", "keep.tmp", "s/x.tmp", "s/keep.tmp", "top", "s/top", "dir/f", "s/dir/f", "s2/dir", "docs/a.txt"),
    *("docs/sub/a.txt", "s/docs/a.txt", "build/out", "s/build/out/f", "logs/old", "logs/a/b/old", "logs/a/new"),
    *(
        "cache/f",
        "s/cache/f",
        "all/keep",
        "all/other",
        "trailing ",
        "trailing",
        "spaces",
        "spaces ",
        "ax",
        "dx",
        "ay",
        "dy",
        "qxr",
        "qr",
    ),
    *("a1z", "a/z", "n/keep", "n/other", "s/n/keep", "back\\slash", "s/only.me", "s/t/only.me", "other/only.me"),
    *("deny/all/f", "deny/all/but/this", "excluded-by-repository", "s/back-again", "name\nwith lf"),
]


@needs_git
def test_what_people_write(root, tmp_path):
    git(tmp_path, "init", "-q")
    put(tmp_path, dict.fromkeys(KNOWN_FILES, ""))
    put(
        tmp_path,
        {
            ".gitignore": b"\xef\xbb\xbf" + KNOWN_RULES.replace("SPACE", " ").encode(),
            "s/.gitignore": "only.me\n!back-again\n",
            "deny/.gitignore": "/all/*\r\n!/all/but\r\n",
            ".git/info/exclude": "excluded-by-repository\nback-again",
        },
    )
    found = seen(root)
    assert found == seen_by_git(tmp_path)
    assert {
        "keep.tmp",
        "s/top",
        "docs/sub/a.txt",
        "logs/a/new",
        "all/keep",
        "deny/all/but/this",
        "s/back-again",
    } <= set(found)
    assert not {"x.tmp", "top", "dir/f", "n/keep", "cache/f", "excluded-by-repository", "s/t/only.me"} & set(found)


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("a", ["a/.gitignore", "a/b/y", "a/other"]),
        ("a/b", ["a/b/y"]),
        ("a/skip", ["a/skip/f"]),
        ("a/b/.git", ["a/b/.git/config"]),
    ],
)
def test_rules_above_the_start_hold_but_the_start_was_asked_for(root, tmp_path, start, expected):
    put(tmp_path, {".gitignore": "x\na/b/z\nskip/\n", "a/.gitignore": "only-below\n", "a/skip/f": "", "a/other": ""})
    put(tmp_path, {"a/b/x": "", "a/b/y": "", "a/b/z": "", "a/b/only-below": "", "a/b/.git/config": ""})
    if start != "a/b/.git":
        shutil.rmtree(str(tmp_path / "a" / "b" / ".git"))
    assert seen(root, start) == expected


def test_a_repository_within_has_its_own_rules_only(root, tmp_path):
    put(tmp_path, {".gitignore": "x\n", "own/.git/info/exclude": "y\n", "own/.gitignore": "z\n"})
    put(tmp_path, {"own/sub/" + name: "" for name in "wxyz"})
    put(tmp_path, {"tree/.git": "gitdir: elsewhere\n", "tree/x": ""})
    assert seen(root) == [".gitignore", "own/.gitignore", "own/sub/w", "own/sub/x", "tree/x"]
    assert seen(root, "own/sub") == ["own/sub/w", "own/sub/x"]


def test_all_of_it_when_asked_for(root, tmp_path):
    put(tmp_path, {".gitignore": "x\n", "x": "", ".git/config": ""})
    assert seen(root, ignored=True) == [".git/config", ".gitignore", "x"]


def test_resumed_walks_know_the_rules_of_what_they_pass_over(root, tmp_path):
    put(tmp_path, {".gitignore": "/a/b/no\n", "a/.gitignore": "nor\n", "a/b/.gitignore": "neither\n"})
    put(tmp_path, dict.fromkeys(["a/b/1", "a/b/no", "a/b/nor", "a/b/neither", "a/b/x/neither", "c/nor"], ""))
    whole = seen(root)
    assert whole == [".gitignore", "a/.gitignore", "a/b/.gitignore", "a/b/1", "c/nor"]
    for number, path in enumerate(whole):
        assert seen(root, after=tuple(path.split("/"))) == whole[number + 1 :]


def test_only_a_plain_file_makes_rules(root, tmp_path):
    put(tmp_path, {"rules": "x\n", "a/x": "", "b/x": "", "b/.gitignore/d": "", "c/x": ""})
    (tmp_path / "a" / ".gitignore").symlink_to("../rules")
    os.mkfifo(str(tmp_path / "c" / ".gitignore"))
    assert {"a/x", "b/x", "c/x"} <= set(seen(root))


def test_rules_that_are_denied_are_not_opened(tmp_path):
    put(tmp_path, {".gitignore": "x\n", "x": ""})
    denying = Root(str(tmp_path), Policy([".gitignore"]))
    assert seen(denying) == ["x"]
    denying.close()


def test_of_a_file_of_rules_that_is_too_large_whole_lines_count(root, tmp_path, monkeypatch):
    monkeypatch.setattr(gitignore, "LARGEST", 8)
    put(tmp_path, {".gitignore": "a\nb\nccccc\n", "a": "", "b": "", "c": "", "ccccc": "", "ccc": ""})
    assert seen(root) == [".gitignore", "c", "ccc", "ccccc"]


def test_nothing_explodes(root, tmp_path):
    """These take exponential time in a matcher that backtracks: the test would not end."""
    name = "a" * 200
    put(tmp_path, {".gitignore": "*a" * 80 + "b\n" + "**/a/" * 60 + "b\n/" + "*[ab]*?" * 30 + "c\n", name: ""})
    assert name in seen(root)


def test_parsing():
    assert [(rule.negated, rule.directories_only) for rule in parse_rules(b"a\n!b/\n\n#c\n")] == [
        *((False, False), (True, True))
    ]
