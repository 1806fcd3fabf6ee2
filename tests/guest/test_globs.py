"""Globs, against the standard library where both speak of the same, and against a naive matcher everywhere."""

import fnmatch
import pathlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.globs import Glob, expand_braces


def matches(pattern, path):
    return Glob(pattern).matches(path.split("/"))


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("*.py", "a.py", True),
        ("*.py", "src/deep/a.py", True),
        ("*.py", "a.pyc", False),
        ("*", ".hidden", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("src/*.py", "src/a.py", True),
        ("src/*.py", "src/deep/a.py", False),
        ("src/*.py", "other/src/a.py", False),
        ("/src", "src", True),
        ("/src", "a/src", False),
        ("./src/a.py", "src/a.py", True),
        ("**/a.py", "a.py", True),
        ("**/a.py", "x/y/a.py", True),
        ("src/**/a.py", "src/a.py", True),
        ("src/**/a.py", "src/x/y/a.py", True),
        ("src/**", "src/x/y", True),
        ("src/**/**/x", "src/x", True),
        ("**/test/**", "a/test/b/c", True),
        ("**", "a/b/c", True),
        ("a**b", "a/b", False),
        ("a**b", "axxb", True),
        ("[ab].c", "b.c", True),
        ("[!ab].c", "b.c", False),
        ("[^ab].c", "x.c", True),
        ("[]x]", "]", True),
        ("[!]x]", "]", False),
        ("[!]x]", "a", True),
        ("[a-]", "-", True),
        ("[z-a]", "m", False),
        ("[z-a]", "z", True),
        ("[!z-a]", "m", True),
        (r"[\]a]", "]", True),
        (r"[a\-c]", "b", False),
        ("[[:digit:]]x", "7x", True),
        ("[[:digit:]x]", "x", True),
        ("[![:upper:]]", "A", False),
        ("[[]", "[", True),
        ("[ab", "[ab", True),
        (r"\*", "*", True),
        (r"\*", "a", False),
        ("a\\", "a\\", True),
        ("{a,b}.c", "b.c", True),
        ("{src,test}/**/*.{py,pyi}", "test/x/y.pyi", True),
        ("{a,{b,c}}", "c", True),
        ("{a", "{a", True),
        ("a}", "a}", True),
        ("{a}", "{a}", True),
        (r"\{a,b}", "{a,b}", True),
        (r"\{a,b}", "a", False),
        ("{,a}", "b", False),
        ("x{,y}", "x", True),
        ("*\n*", "a\nb", True),
        ("?", "\udcff", True),
        ("é*", "été", True),
        ("??", "é", False),
    ],
)
def test_meaning(pattern, path, expected):
    assert matches(pattern, path) is expected


def test_ignore_case():
    assert Glob(".ENV", ignore_case=True).matches((".env",))
    assert Glob("[a-c]*x", ignore_case=True).matches(("BLAX",))
    assert not Glob(".ENV").matches((".env",))


@pytest.mark.parametrize("pattern", ["", "a\0b", "/", "./", "{,}", "x" * 5000, "{a,b}" * 7, "{%s}" % ("," * 70)])
def test_refused(pattern):
    with pytest.raises(GuestError) as caught:
        Glob(pattern)
    assert caught.value.code == "invalid_argument"


def test_many_braces_side_by_side_do_not_recurse_without_end():
    with pytest.raises(GuestError):
        Glob("{,}" * 1300)
    assert matches("{" * 4000, "{" * 4000)


def test_leads_on():
    glob = Glob("src/*/x/**/a.py")
    assert glob.leads_on(("src",))
    assert glob.leads_on(("src", "b"))
    assert not glob.leads_on(("lib",))
    assert not glob.leads_on(("src", "b", "y"))
    assert glob.leads_on(("src", "b", "x", "deep"))
    assert not Glob("src/*.py").leads_on(("src", "deep"))
    assert Glob("*.py").leads_on(("any", "where"))


def test_nothing_explodes():
    """These take exponential time in a matcher that backtracks: the test would not end."""
    name = "a" * 250
    assert not matches("*a" * 60 + "b", name)
    assert not matches("*?" * 60 + "b", name)
    assert not matches("*[ab]" * 60 + "*c", name)
    assert not Glob("**/a/" * 40 + "b").matches(["a"] * 200)


ALPHABET = "ab.-]^!é\n"
names = st.text(ALPHABET, min_size=1, max_size=8)
name_patterns = st.text(ALPHABET + "**??", min_size=1, max_size=8)
sets = st.builds("[{}]".format, st.text("abcx", min_size=1, max_size=3)) | st.sampled_from(["[!a]", "[a-c]", "[!x-z]"])


@given(st.lists(name_patterns | sets, min_size=1, max_size=4).map("".join), names)
def test_a_name_matches_as_fnmatch_says(pattern, name):
    if pattern.strip("*."):
        assert Glob(pattern).matches((name,)) is fnmatch.fnmatchcase(name, pattern)


tree_names = st.sampled_from(["a", "b", "ab", ".c"])
path_patterns = st.lists(st.sampled_from(["a", "b", "*", "?", "*b", "[ab]", "**", ".*"]), min_size=1, max_size=5).map(
    lambda parts: [*parts, "*b"] if parts[-1] == "**" else parts
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    top = tmp_path_factory.mktemp("tree")
    for path in ["a/b/a", "a/ab/b", "b/a/ab/.c", ".c/b", "ab/ab/ab/ab", "a/b/b/b", "b/.c/a"]:
        (top / path).mkdir(parents=True, exist_ok=True)
    return top, [path.relative_to(top) for path in top.rglob("*")]


@given(path_patterns)
def test_a_path_matches_as_pathlib_finds(tree, parts):
    top, paths = tree
    pattern = "./" + "/".join(parts)
    found = {path for path in paths if Glob(pattern).matches(path.parts)}
    assert found == {path.relative_to(top) for path in pathlib.Path(top).glob(pattern)}


def naive(segments, parts):
    """A matcher that backtracks, short enough to be believed."""
    if not segments:
        return not parts
    if segments[0] == "**":
        return naive(segments[1:], parts) or (bool(parts) and naive(segments, parts[1:]))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], segments[0]) and naive(segments[1:], parts[1:])


@given(
    st.lists(st.sampled_from(["a", "b", "*", "a*", "**", "**"]), min_size=1, max_size=6),
    st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=6),
)
def test_any_number_of_levels(segments, parts):
    glob = Glob("/" + "/".join(segments))
    assert glob.matches(parts) is naive(segments, parts)
    if glob.matches(parts):
        assert all(glob.leads_on(parts[:end]) for end in range(len(parts)))


def naive_braces(pattern):
    """Expand the innermost groups first."""
    found = re.search(r"\{([^{}]*,[^{}]*)\}", pattern)
    if found is None:
        return {pattern}
    rests = (pattern[: found.start()] + choice + pattern[found.end() :] for choice in found.group(1).split(","))
    return set().union(*map(naive_braces, rests))


@given(st.text("ab{},", max_size=10).filter(lambda text: "{}" not in text))
def test_braces(pattern):
    try:
        found = expand_braces(pattern)
    except GuestError:
        return
    assert set(found) == naive_braces(pattern) or "{" in "".join(found)
