"""Searching text: what counts as a line and as text, what is shown, and that pages lose and repeat nothing."""

import json
import os
import re
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devbox_mcp.guest import textfile
from devbox_mcp.guest.beneath import Root
from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.job import Job
from devbox_mcp.guest.literals import may_match, needs_line_break
from devbox_mcp.guest.matching import LineMatcher, compile_pattern
from devbox_mcp.guest.paging import make_cursor
from devbox_mcp.guest.policy import Policy
from devbox_mcp.guest.search import search


def hits(answer):
    return [(match["path"], match["line"], match["text"]) for match in answer["matches"]]


def texts(answer):
    return [match["text"] for match in answer["matches"]]


def pages(root, pattern, path=".", **options):
    found, after = [], None
    while True:
        answer = search(root, path, pattern, Job(), after=after, **options)
        found += answer["matches"]
        after = answer["after"]
        if after is None:
            return found


@pytest.fixture
def tree(tmp_path):
    files = {
        "a.txt": "one\ntwo\nthree\n",
        "src/b.py": "import os\n\n# two\n",
        "src/deep/c.py": "two\r\nTwo\r\n",
        "src-x/d.md": "no newline at the end: two",
        "empty": "",
        "data.bin": "two\n\0",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(text.encode())
    (tmp_path / "link.txt").symlink_to("a.txt")
    os.mkfifo(tmp_path / "fifo.txt")
    return tmp_path


def test_lines_in_the_order_of_the_walk(root, tree):
    answer = search(root, ".", "two", Job())
    assert hits(answer) == [
        ("a.txt", 2, "two"),
        ("src/b.py", 3, "# two"),
        ("src/deep/c.py", 1, "two"),
        ("src-x/d.md", 1, "no newline at the end: two"),
    ]
    assert (answer["files"], answer["skipped_binary"], answer["unreadable"]) == (5, 1, 0)
    assert (answer["after"], answer["timed_out"]) == (None, False)


@pytest.mark.parametrize(
    ("pattern", "options", "expected"),
    [
        ("^t", {}, ["two", "three", "two"]),
        ("wo$", {}, ["two", "# two", "two", "Two", "no newline at the end: two"]),
        (r"^\Z", {}, [""]),
        ("^$", {}, [""]),
        ("t.o", {"regex": False}, []),
        ("# t", {"regex": False}, ["# two"]),
        ("TWO$", {"ignore_case": True, "glob": "*.py"}, ["# two", "two", "Two"]),
        ("(?i)TWO$", {"glob": "src/**"}, ["# two", "two", "Two"]),
        ("two", {"glob": "*.md"}, ["no newline at the end: two"]),
        (r"\r", {}, []),
    ],
)
def test_one_line_at_a_time_without_its_ending(root, tree, pattern, options, expected):
    assert texts(search(root, ".", pattern, Job(), **options)) == expected


def test_a_single_file_may_be_searched_whatever_the_rules(root, tree):
    (tree / ".gitignore").write_text("*\n")
    assert hits(search(root, "a.txt", "t", Job(), glob="*.py")) == [("a.txt", 2, "two"), ("a.txt", 3, "three")]
    assert hits(search(root, "link.txt", "one", Job())) == [("a.txt", 1, "one")]
    assert search(root, "data.bin", "two", Job())["skipped_binary"] == 1
    found = pages(root, "t", path="a.txt", limit=1)
    assert [match["line"] for match in found] == [2, 3]


def test_ignored_denied_and_own_files(tree):
    (tree / ".gitignore").write_text("deep/\n")
    (tree / ".git").mkdir()
    (tree / ".git" / "x").write_text("two")
    (tree / ".devbox-mcp-part-0").write_text("two")
    root = Root(str(tree), Policy(["*.md"]))
    files = [match["path"] for match in search(root, ".", "two", Job())["matches"]]
    assert files == ["a.txt", "src/b.py"]
    files = [match["path"] for match in search(root, ".", "two", Job(), ignored=True)["matches"]]
    assert files == [".git/x", "a.txt", "src/b.py", "src/deep/c.py"]
    with pytest.raises(GuestError) as caught:
        search(root, "src-x/d.md", "two", Job())
    assert caught.value.code == "denied"
    root.close()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"caf\xc3\xa9 x\n", ["café x"]),
        (b"caf\xe9 x\n", ["caf\ufffd x"]),
        (b"\xfd\xfc\xfb x\n", ["\ufffd" * 3 + " x"]),
        (b"\xef\xbb\xbfx\n", ["x"]),
        ("x é\ny\n".encode("utf-16"), ["x é"]),
        ("\ufeffx é\r\n".encode("utf-16-be"), ["x é"]),
        ("x é\ny\n".encode("utf-32"), ["x é"]),
        ("\ufeffx\n".encode("utf-32-be"), ["x"]),
        (b"\xff\xfex\0\n\0\0", ["x"]),
        ("x\n".encode("utf-16-le"), []),
        (b"x\n" + b"a" * 8189 + b"\0", []),
        (b"x\n" + b"a" * 8190 + b"\0", ["x"]),
        (b"x\ry\n", ["x\ry"]),
        (b"x\r", ["x\r"]),
        (b"a\r\r\nx\r\r\n", ["x\r"]),
    ],
)
def test_encodings(root, tmp_path, content, expected):
    (tmp_path / "file").write_bytes(content)
    answer = search(root, ".", "x", Job())
    assert texts(answer) == expected
    assert json.loads(json.dumps(answer)) == answer
    json.dumps(answer, ensure_ascii=False).encode()


def test_bytes_that_are_no_text_can_be_searched_for(root, tmp_path):
    (tmp_path / "file").write_bytes(b"a\xe9b\nc\xc3\xa9d\n")
    assert texts(search(root, ".", "a.b|c.d", Job())) == ["a\ufffdb", "céd"]
    assert texts(search(root, ".", "a\udce9b", Job())) == ["a\ufffdb"]
    assert texts(search(root, ".", "\ud800", Job(), regex=False)) == []


def test_context(root, tmp_path):
    (tmp_path / "file").write_text("".join("%d\n" % number for number in range(1, 11)))
    (first, second) = search(root, ".", "^[29]$", Job(), context=3)["matches"]
    assert (first["before"], first["after"]) == (["1"], ["3", "4", "5"])
    assert (second["before"], second["after"]) == (["6", "7", "8"], ["10"])
    assert search(root, ".", "5", Job())["matches"] == [
        {"path": "file", "line": 5, "text": "5", "before": [], "after": []}
    ]


@pytest.mark.parametrize("context", [-1, 21])
def test_too_much_context(root, context):
    with pytest.raises(GuestError) as caught:
        search(root, ".", "x", Job(), context=context)
    assert caught.value.code == "invalid_argument"


lines = st.lists(st.sampled_from(["x", "xx", "y", "", "ééé", "z" * 9]), max_size=30)


@given(lines, st.lists(st.integers(1, 5)), st.integers(0, 4), st.integers(0, 12), st.booleans())
def test_blocks_make_no_difference(wanted, cuts, context, behind, ends):
    """Matches and their context are the same wherever the blocks of lines begin and end."""
    matcher = LineMatcher(compile_pattern("x|z", regex=True, ignore_case=False), context)
    whole = [line + "\n" for line in wanted]
    if whole and wanted[-1] and not ends:
        whole[-1] = wanted[-1]
    blocks, rest = [], whole
    for cut in cuts:
        blocks.append("".join(rest[:cut]).encode())
        rest = rest[cut:]
    blocks.append("".join(rest).encode())
    steps = list(matcher.steps([block for block in blocks if block], behind))
    expected = [
        {
            "line": index + 1,
            "text": line,
            "before": wanted[max(0, index - context) : index],
            "after": wanted[index + 1 : index + 1 + context],
        }
        for index, line in enumerate(wanted)
        if ("x" in line or "z" in line) and index + 1 > behind
    ]
    assert [match for _, match in steps if match is not None] == expected
    told = 0
    for number, match in steps:
        told += match is not None
        assert sum(one["line"] <= number for one in expected) == told


@given(
    st.lists(st.sampled_from([b"a", b"bc", b"\r", b"\n", b"\r\n", b"\xc3"]), max_size=30).map(b"".join),
    st.integers(1, 30),
    st.integers(1, 15),
)
def test_a_file_comes_in_whole_lines(tmp_path_factory, content, chunk, longest):
    file = tmp_path_factory.getbasetemp() / "lines"
    file.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(textfile, "_CHUNK", chunk)
        patch.setattr(textfile, "LONGEST_LINE", longest)
        fd = os.open(str(file), os.O_RDONLY)
        try:
            blocks = list(textfile.text_blocks(textfile.file_chunks(fd, lambda: None)))
        finally:
            os.close(fd)
    *ended, last = [line[:longest] for line in content.split(b"\n")]
    assert b"".join(blocks).split(b"\n") == [line[:-1] if line.endswith(b"\r") else line for line in ended] + [last]
    assert all(block.endswith(b"\n") for block in blocks[:-1])


def test_long_lines_are_shortened_around_the_match(root, tmp_path):
    (tmp_path / "file").write_text("a" * 1000 + "NEEDLE" + "b" * 1000 + "\n" + "c" * 400 + "\n" + "NEEDLE" + "d" * 400)
    first, second = search(root, ".", "NEEDLE", Job(), context=1)["matches"]
    assert first["text"] == "…" + "a" * 100 + "NEEDLE" + "b" * 194 + "…"
    assert first["after"] == ["c" * 300 + "…"]
    assert second["text"] == "NEEDLE" + "d" * 294 + "…"
    (tmp_path / "file").write_text("e" * 1000 + "NEEDLE")
    assert texts(search(root, ".", "NEEDLE", Job())) == ["…" + "e" * 294 + "NEEDLE"]


def test_a_very_long_line_is_searched_in_its_first_mebibyte(root, tmp_path):
    mebibyte = 1 << 20
    (tmp_path / "file").write_bytes(
        b"x" * (mebibyte - 4) + b"FOUND" + b"x" * mebibyte + b"FOUND\nFOUND" + b"y" * mebibyte + b"\nz FOUND\n"
    )
    answer = search(root, ".", "FOUND", Job())
    assert [match["line"] for match in answer["matches"]] == [2, 3]
    assert answer["gaps"] == [{"path": "file", "line": 1, "reason": "long"}]
    assert [match["line"] for match in search(root, ".", "FOUN", Job())["matches"]] == [1, 2, 3]


def test_a_long_line_is_told_by_every_page_that_passes_it(root, tmp_path):
    (tmp_path / "a").write_bytes(b"FOUND\n" + b"x" * (1 << 20) + b"FOUND\nFOUND\n")
    (tmp_path / "b").write_bytes(b"FOUND\n")
    gaps, after = [], None
    for line in (1, 3, 1):
        answer = search(root, ".", "FOUND", Job(), limit=1, after=after)
        assert [match["line"] for match in answer["matches"]] == [line]
        gaps += [(gap["path"], gap["line"]) for gap in answer["gaps"]]
        after = answer["after"]
    assert set(gaps) == {("a", 2)}


def test_no_cursor_after_a_page_that_is_just_full(root, tree):
    assert search(root, ".", "two", Job(), limit=4)["after"] is None
    assert search(root, ".", "two", Job(), limit=3)["after"] is not None


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from(["a", "a/b", "a.c", "b/a/c", "b-", "\udcff"]), lines, max_size=6),
    st.integers(1, 5),
    st.integers(0, 2),
)
def test_pages_lose_and_repeat_nothing(tmp_path_factory, files, limit, context):
    top = tmp_path_factory.mktemp("pages")
    for path, content in files.items():
        if path == "a" and "a/b" in files:
            continue
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text("\n".join(content))
    root = Root(str(top))
    whole = search(root, ".", "x|z", Job(), limit=10**6, context=context)["matches"]
    assert pages(root, "x|z", limit=limit, context=context) == whole
    root.close()


def test_a_cursor_goes_on_though_its_file_is_gone_or_behind_a_link(root, tree):
    (tree / "src" / "a.py").write_text("two\ntwo\n")
    first = search(root, "src", "two", Job(), limit=1)
    assert hits(first) == [("src/a.py", 1, "two")]
    rest = ["src/b.py", "src/deep/c.py"]

    def going_on():
        return [match["path"] for match in search(root, "src", "two", Job(), after=first["after"])["matches"]]

    assert going_on() == ["src/a.py", *rest]
    (tree / "src" / "a.py").unlink()
    assert going_on() == rest
    (tree / "src" / "a.py").symlink_to("../a.txt")
    assert going_on() == rest


def test_a_cursor_does_not_lead_through_a_link(root, tree):
    (tree / "src" / "b.py").write_text("two\n" * 9)
    first = search(root, ".", "two", Job(), limit=2)
    assert hits(first)[-1] == ("src/b.py", 1, "two")
    (tree / "src").rename(tree / "elsewhere")
    (tree / "src").symlink_to("elsewhere")
    assert hits(search(root, ".", "two", Job(), after=first["after"])) == [
        ("src-x/d.md", 1, "no newline at the end: two")
    ]


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "nonsense",
        make_cursor("name", ".", "a"),
        make_cursor("lines", ".", "a", "1"),
        make_cursor("lines", "b", "a", 1),
        make_cursor("lines", ".", "a", True),
        make_cursor("lines", ".", "../a", 1),
        make_cursor("lines", ".", "\ud800", 1),
    ],
)
def test_a_foreign_cursor_is_refused(root, cursor):
    with pytest.raises(GuestError) as caught:
        search(root, ".", "x", Job(), after=cursor)
    assert caught.value.code == "invalid_argument"


@pytest.mark.parametrize(
    ("pattern", "options", "position"),
    [
        ("(", {}, 0),
        ("a[b", {}, 1),
        ("*", {}, 0),
        ("(?P<a>x)(?P<a>y)", {}, 12),
        ("a{9999999999999}", {}, None),
        ("(" * 5000, {}, None),
        ("", {}, None),
        ("a\nb", {"regex": False}, None),
        ("a\nb", {}, None),
    ],
)
def test_a_bad_pattern_says_what_is_wrong_and_where(root, pattern, options, position):
    with pytest.raises(GuestError) as caught:
        search(root, ".", pattern, Job(), **options)
    assert caught.value.code == "invalid_argument"
    assert caught.value.data.get("position") == position or pattern.startswith("((")
    assert position is None or str(position) in caught.value.detail


@pytest.mark.parametrize(("path", "code"), [("nowhere", "not_found"), ("fifo.txt", "unsupported")])
def test_errors(root, tree, path, code):
    with pytest.raises(GuestError) as caught:
        search(root, path, "x", Job())
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
    whole = hits(search(root, ".", "two|three", Job()))
    found, after, rounds = [], None, 0
    while True:
        answer = search(root, ".", "two|three", Impatient(3 + rounds), after=after)
        found += hits(answer)
        if not answer["timed_out"]:
            break
        after = answer["after"] or after
        rounds += 1
        assert rounds < 40
    assert found == whole
    assert rounds > 1


def test_the_deadline_in_the_middle_of_a_file(root, tmp_path):
    (tmp_path / "file").write_text("x" * 999 + "\n" + ("y" * 999 + "\n") * 2000 + "x\n")
    answer = search(root, ".", "x", Impatient(6))
    assert [match["line"] for match in answer["matches"]] == [1]
    assert answer["timed_out"]
    rest = search(root, ".", "x", Job(), after=answer["after"])
    assert [match["line"] for match in rest["matches"]] == [2002]


def test_a_deadline_before_anything_is_searched_gives_no_cursor_that_leads_nowhere(root, tree):
    first = search(root, ".", "two", Job(), limit=1)["after"]
    for after in (None, first):
        answer = search(root, ".", "two", Impatient(0), after=after)
        assert (answer["timed_out"], answer["after"]) == (True, None)


def test_cancelled(root, tree):
    job = Job()
    job.cancel()
    with pytest.raises(GuestError) as caught:
        search(root, ".", "x", job)
    assert caught.value.code == "cancelled"


def test_no_handle_stays_open(root, tree):
    before = sorted(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else []
    search(root, ".", "two", Job(), limit=1)
    search(root, ".", "two", Impatient(5))
    with pytest.raises(GuestError):
        search(root, ".", "two", Job(), after="nonsense")
    assert (sorted(os.listdir("/proc/self/fd")) if before else []) == before


# -- passing over what cannot match


def test_every_other_form_of_a_letter_is_known():
    """In which files a pattern may match in spite of its case is known from a list; this is the proof."""
    letters = re.compile("[a-z]", re.IGNORECASE)
    others = [chr(code) for code in range(128, sys.maxunicode + 1) if letters.match(chr(code))]
    assert others == ["\u0130", "\u0131", "\u017f", "\u212a"]


pattern_pieces = st.recursive(
    st.sampled_from(
        [
            "a",
            "k",
            "S",
            "I",
            "é",
            "ab",
            ".",
            r"\n",
            r"[\n]",
            "\n",
            "[ab]",
            "[^a]",
            r"\w",
            r"\b",
            "^",
            "$",
            "",
            "x*",
            "(?=a)",
            "(?!k)",
        ]
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: "(?:%s)" % "|".join(parts)),
        st.builds("(?:{})+".format, inner),
        st.builds("(?:{})*?".format, inner),
        st.builds("(?:{}){{2}}".format, inner),
        st.builds("(?i:{})".format, inner),
        st.builds("(?:({})|k)".format, inner),
    ),
    max_leaves=6,
)


@settings(max_examples=500, deadline=None)
@given(pattern_pieces, st.lists(st.text("akSsiIéabx\u0130\u0131\u017f\u212a K", max_size=6), max_size=4), st.booleans())
def test_nothing_that_matches_is_passed_over(pattern, wanted, ignore_case):
    expression = re.compile(pattern, re.IGNORECASE if ignore_case else 0)
    quick = may_match(expression)
    if needs_line_break(expression):
        assert not any(expression.search(line) for line in wanted)
    if quick is not None and any(expression.search(line) for line in wanted):
        assert quick("\n".join(wanted).encode())
    for line in wanted:
        if quick is not None and expression.search(line):
            assert quick(line.encode())


@pytest.mark.parametrize(
    ("pattern", "passed_over", "looked_at"),
    [
        ("abc", b"ab c", b"-abc-"),
        (r"def\s+\w+_test", b"def x_tes", b"_test"),
        ("one|two", b"three", b"-two-"),
        ("(?:one|t(w)o)+x?", b"xyz", b"t"),
        ("(?i)Straße", b"str", b"STRA"),
        ("(?:abc){2,}", b"ab", b"abc"),
        ("(?i)ask", b"as", "a\u017f\u212a".encode()),
    ],
)
def test_much_is_passed_over(pattern, passed_over, looked_at):
    quick = may_match(re.compile(pattern))
    assert not quick(passed_over)
    assert quick(looked_at)


@pytest.mark.parametrize(
    "pattern",
    ["a\nb", r"a\nb", r"(?s)a.*\n", r"(a|(b\nlonger)+)\s*\n", r"a\n|b\r\n", r"(?:\n){2,}?", r"a(?=\n)", r"[\n]x"],
)
def test_what_spans_lines_is_known(pattern):
    assert needs_line_break(re.compile(pattern))


@pytest.mark.parametrize(
    "pattern", [r"a\n?", r"a|b\n", r"[\r\n]", r"[^\n]", r"a(?!\n)", r"a\s*", r"\\n", "(?x)a\n b", "$"]
)
def test_what_may_match_in_a_line_is_not_refused(pattern):
    assert not needs_line_break(re.compile(pattern))
