"""Edits: exact, all or nothing, endings kept; what is said where one does not fit; the diff."""

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from devbox_mcp.edits import Edit, apply, unified_diff
from devbox_mcp.errors import EditMismatch, InvalidArgument, TooLarge, Unsupported

BOM = b"\xef\xbb\xbf"


def edited(data, *edits):
    return apply(data, [Edit(*edit) for edit in edits], "f").data


def refused(data, *edits, kind=EditMismatch):
    with pytest.raises(kind) as caught:
        edited(data, *edits)
    assert caught.value.op == "edit"
    assert caught.value.path == "f"
    return caught.value


class TestReplacing:
    def test_one_place(self):
        result = apply(b"one two three", [Edit("two", "2")], "f")
        assert (result.data, result.replacements) == (b"one 2 three", 1)

    def test_every_place(self):
        result = apply(b"a b a b a", [Edit("a", "c", replace_all=True)], "f")
        assert (result.data, result.replacements) == (b"c b c b c", 3)

    def test_one_after_the_other(self):
        result = apply(b"one", [Edit("one", "two"), Edit("two", "three three"), Edit("three", "4", True)], "f")
        assert (result.data, result.replacements) == (b"4 4", 4)

    def test_text_is_taken_as_it_is(self):
        assert edited(b"a.c abc \\1", ("a.c", r"\1\g<0>$&")) == rb"\1\g<0>$& abc \1"
        assert edited("grün €".encode(), ("ü", "\U0001f40d")) == "gr\U0001f40dn €".encode()

    def test_deleting(self):
        assert edited(b"one\ntwo\nthree\n", ("two\n", "")) == b"one\nthree\n"
        assert edited(b"all", ("all", "")) == b""

    def test_a_file_with_nul_and_odd_separators(self):
        assert edited(b"a\0b\x0b\x0c\xe2\x80\xa8c", ("b", "B")) == b"a\0B\x0b\x0c\xe2\x80\xa8c"

    @pytest.mark.parametrize("data", [b"", BOM])
    def test_an_empty_file_is_filled(self, data):
        result = apply(data, [Edit("", "one\r\ntwo\n"), Edit("two", "2")], "f")
        assert (result.data, result.replacements) == (data + b"one\r\n2\n", 2)

    def test_a_byte_order_mark_is_kept_and_no_part_of_the_text(self):
        assert edited(BOM + b"first line", ("first", "1st")) == BOM + b"1st line"
        assert refused(BOM + b"x", ("\ufeffx", "y"))
        assert edited(b"in the " + BOM + b" middle", ("\ufeff", "")) == b"in the  middle"


class TestEndings:
    @pytest.mark.parametrize(
        ("data", "old", "new", "expected"),
        [
            # a file with CRLF
            (b"a\r\nb\r\nc\r\n", "a\nb", "x\ny\nz", b"x\r\ny\r\nz\r\nc\r\n"),
            (b"a\r\nb\r\nc\r\n", "a\r\nb", "x\ny", b"x\r\ny\r\nc\r\n"),
            (b"a\r\nb\r\nc\r\n", "a\r\nb\n", "x\r\ny\n", b"x\r\ny\r\nc\r\n"),
            (b"a\r\nb\r\n", "b", "b\nc", b"a\r\nb\r\nc\r\n"),
            (b"a\r\nb\r\n", "\n", " ", None),
            (b"a\r\nb", "\n", " ", b"a b"),
            (b"a\r\nb", "a\n", "", b"b"),
            # a file with LF
            (b"a\nb\n", "b\n", "c\r\nd\r\n", b"a\nc\nd\n"),
            (b"a\nb\n", "a\r\nb", "x", None),
            # none yet: as it is given
            (b"a", "a", "x\r\ny\n", b"x\r\ny\n"),
            # a CR alone ends no line
            (b"a\rb\nc\n", "a\rb", "x\n", b"x\n\nc\n"),
            (b"a\r\r\nb\r\n", "a\r\nb", "x", None),
            # both: where the place has one, that one
            (b"a\r\nb\nc\n", "a\nb", "x\ny", b"x\r\ny\nc\n"),
            (b"a\nb\r\nc\r\n", "a\nb", "x\ny\nz", b"x\ny\nz\r\nc\r\n"),
            (b"a\nb\r\nc", "b\nc", "x\ny", b"a\nx\r\ny"),
            (b"a\nb\r\nc\r\n", "b", "x\ny", b"a\nx\r\ny\r\nc\r\n"),
            (b"a\nb\r\nc\r\n", "a", "x\ny", b"x\ny\nb\r\nc\r\n"),
            (b"a\nb\r\n", "a\nb\r\n", "x\ny", b"x\ny"),
            (b"\r\na\nb", "\na", "x\n", b"x\r\n\nb"),
            # and otherwise the one of most lines
            (b"a\nb\r\nc\r\nd", "d", "x\ny", b"a\nb\r\nc\r\nx\r\ny"),
            (b"a\r\nb\nc\nd", "d", "x\ny", b"a\r\nb\nc\nx\ny"),
            (b"a\r\nb\nc", "c", "x\ny", b"a\r\nb\nx\ny"),
        ],
    )
    def test_endings(self, data, old, new, expected):
        if expected is None:
            refused(data, (old, new))
        else:
            assert edited(data, (old, new)) == expected

    def test_each_place_of_a_file_with_both(self):
        data = b"a\nb\r\na\r\nb\na\n"
        assert edited(data, ("a\nb", "x\ny", True)) == b"x\ny\r\nx\r\ny\na\n"
        assert edited(data, ("a", "x\ny", True)) == b"x\ny\nb\r\nx\r\ny\r\nb\nx\ny\n"
        assert edited(data, ("a", "x", True)) == b"x\nb\r\nx\r\nb\nx\n"

    def test_the_file_decides_even_if_an_edit_took_its_last_ending(self):
        assert edited(b"a\r\nb", ("a\nb", "ab"), ("ab", "x\ny")) == b"x\r\ny"
        assert edited(b"a\r\n", ("a\n", ""), ("", "x\ny\n")) == b"x\r\ny\r\n"

    def test_a_file_without_endings_takes_those_of_the_first_edit_that_brings_one(self):
        assert edited(b"a", ("a", "b\r\n"), ("b", "b\nc")) == b"b\r\nc\r\n"

    def test_endings_alone_cannot_be_changed(self):
        error = refused(b"a\r\nb\r\n", ("\r\n", "\n", True), kind=InvalidArgument)
        assert "ending" in error.detail


LINE = st.text(alphabet="ab \t\r", max_size=4)
LINE_WITHOUT_CR = st.text(alphabet="ab \t", max_size=4)
BOTH = st.sampled_from(["\n", "\r\n"])


@st.composite
def texts(draw, endings=BOTH, line=LINE):
    rows = draw(st.lists(st.tuples(line, endings), max_size=8))
    return "".join(text + ending for text, ending in rows) + draw(line)


@st.composite
def files_and_edits(draw, endings=BOTH, line=LINE):
    """A file and edits most of which name a piece of it, its line endings as they are or as LF."""
    text = draw(texts(endings, line))
    edits = []
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        old = text[start : start + draw(st.integers(1, 8))] or draw(line)
        if draw(st.booleans()):
            old = old.replace("\r\n", "\n")
        edits.append(Edit(old, draw(texts(BOTH, LINE_WITHOUT_CR)), draw(st.booleans())))
    return text, edits


def simply(text, edit):
    """Return what one edit makes of a text, line endings of the new text aside; None if it does not fit."""
    old = edit.old_text
    if not old:
        return None if text else edit.new_text
    if re.search("(?<!\r)\n", text) and "\r" in old:
        expression = re.escape(old)
    else:
        expression = "(?:\r\n|(?<!\r)\n)".join(map(re.escape, old.replace("\r\n", "\n").split("\n")))
        if "\r\n" in old and "\r\n" not in text:
            return None
    places = len(re.findall(f"(?={expression})", text))
    if not places or (places > 1 and not edit.replace_all):
        return None
    return re.sub(expression, lambda _: edit.new_text, text)


@settings(max_examples=400, deadline=None)
@given(files_and_edits(), st.booleans())
def test_an_edit_does_what_it_does_simply_or_nothing(file_and_edits, marked):
    text, (edit, *_) = file_and_edits
    mark = BOM * marked
    expected = simply(text, edit)
    try:
        result = apply(mark + text.encode(), [edit], "f").data
    except EditMismatch:
        assert expected is None
    except InvalidArgument as error:
        assert edit.old_text == edit.new_text or expected is None or "changes nothing" in error.detail
    else:
        assert expected is not None
        assert result.startswith(mark)
        # endings aside, also where a CR stood before the place already
        assert re.sub("\r*\n", "\n", result[len(mark) :].decode()) == re.sub("\r*\n", "\n", expected)


@settings(max_examples=200, deadline=None)
@given(files_and_edits(st.just("\n"), LINE_WITHOUT_CR))
def test_several_edits_are_one_after_the_other_or_none(file_and_edits):
    text, edits = file_and_edits
    data, count, failed = text.encode(), 0, None
    for number, edit in enumerate(edits, 1):
        try:
            step = apply(data, [edit], "f")
        except (EditMismatch, InvalidArgument) as error:
            failed = (number, error.code)
            break
        data, count = step.data, count + step.replacements
    try:
        together = apply(text.encode(), edits, "f")
    except (EditMismatch, InvalidArgument) as error:
        assert failed == (int(error.detail.split()[1]), error.code)
    else:
        assert failed is None
        assert together.replacements == count
        # endings aside: together, the ending of the file before all edits counts
        assert together.data.replace(b"\r\n", b"\n") == data.replace(b"\r\n", b"\n")


@settings(max_examples=300, deadline=None)
@given(texts(), st.data())
def test_what_is_not_named_stays_byte_by_byte(text, data):
    # made unique, so that the edit hits this place and no other
    at = data.draw(st.integers(0, len(text)))
    assume(text[at - 1 : at + 1] != "\r\n")
    before, after = text[:at].encode(), text[at:].encode()
    old = data.draw(st.sampled_from(["@", "@\n@", "@\r\n@"]))
    new = data.draw(st.sampled_from(["", "one", "two\nlines\n", "two\r\nlines"]))
    result = edited(before + old.encode() + after, (old.replace("\r\n", "\n"), new))
    assert result.startswith(before)
    assert result.endswith(after)
    assert result[len(before) : len(result) - len(after)].replace(b"\r\n", b"\n") == new.replace("\r\n", "\n").encode()


@settings(max_examples=200, deadline=None)
@given(files_and_edits(st.just("\r\n"), LINE_WITHOUT_CR))
def test_a_file_with_crlf_keeps_it(file_and_edits):
    text, edits = file_and_edits
    # half of a line ending may be named, and is then replaced as it says
    halves = any(re.search("\r(?!\n)", edit.old_text) for edit in edits)
    assume("\n" in text and not halves)
    try:
        result = apply(text.encode(), edits, "f").data
    except (EditMismatch, InvalidArgument):
        return
    assert not re.search(rb"(?<!\r)\n", result)


class TestRefusals:
    def test_nothing_to_do(self):
        refused(b"x", kind=InvalidArgument)
        assert "same" in refused(b"x", ("x", "x"), kind=InvalidArgument).detail
        assert "empty" in refused(b"x", ("", "y"), kind=InvalidArgument).detail
        refused(b"", ("", ""), kind=InvalidArgument)

    @pytest.mark.parametrize("data", ["grün".encode("latin-1"), "text".encode("utf-16"), b"\xff\xfe"])
    def test_what_is_not_utf8(self, data):
        error = refused(data, ("t", "x"), kind=Unsupported)
        assert "UTF-" in error.detail
        assert "write_file" in error.hint

    def test_a_lone_surrogate(self):
        refused(b"x", ("x", "\ud800"), kind=InvalidArgument)

    def test_which_edit_it_was(self):
        error = refused(b"one two", ("one", "1"), ("zwei", "2"), ("two", "3"))
        assert error.detail.startswith("edit 2 of 3: ")

    def test_found_more_than_once(self):
        error = refused(b"a\nb\na\nb a\n", ("a", "x"))
        assert "3 times" in error.detail
        assert "lines 1, 3, 4" in error.detail
        assert "replace_all" in error.hint
        assert error.data == {"count": 3, "lines": [1, 3, 4]}

    def test_found_more_than_once_in_a_file_with_both_endings(self):
        error = refused(b"x\r\na\nb\r\na\r\nb\n", ("a\nb", "x"))
        assert error.data == {"count": 2, "lines": [2, 4]}

    def test_found_overlapping_itself(self):
        assert refused(b"-aba ba-", ("a", "x")).detail.endswith("occurs 3 times, on line 1")
        assert refused(b"ababa", ("aba", "x")).data["count"] == 2
        assert edited(b"ababa", ("aba", "x", True)) == b"xba"

    def test_found_very_often(self):
        error = refused(b"line\n" * 5000, ("line", "x"))
        assert "more than 1000 times" in error.detail
        assert error.data["lines"] == list(range(1, 11))
        assert error.detail.endswith("10, …")

    def test_a_result_beyond_all_bounds(self):
        refused(b"a" * 1_000_000, ("a", "b" * 1000, True), kind=TooLarge)


SOURCE = """import os


def first(path):
    if not path:
        return None
    return os.stat(path)


def second(path):
    if not path:
        return None
    return os.lstat(path)
"""


class TestClosestPlace:
    def closest(self, old, source=SOURCE):
        error = refused(source.encode(), (old, "something else"))
        return error, error.hint.partition("\n")[2]

    def test_a_typing_error(self):
        error, shown = self.closest("    retrun os.stat(path)")
        assert "line 7 is most like it" in error.detail
        assert shown == "7\t    return os.stat(path)"
        assert error.data["lines"] == [7, 7]

    def test_a_line_of_several_is_wrong(self):
        error, shown = self.closest("def second(path):\n    if path is None:\n        return None\n")
        assert "lines 10-12 are most like it" in error.detail
        assert shown == "10\tdef second(path):\n11\t    if not path:\n12\t        return None"

        error, _ = self.closest("return Nnoe\n    return os.statt(path)")
        assert "lines 6-7 are most like it" in error.detail

    def test_some_lines_are_right_though_the_longest_is_not(self):
        source = "".join(f"the {word} line, number {number}\n" for number in range(200) for word in ("good", "bad"))
        error, _ = self.closest(
            "the good line, number 77\n§§§§ §§§§ §§§§ §§§§ §§§§ §§§§\nthe good line, number 78", source
        )
        assert "lines 155-157 are most like it" in error.detail

    def test_indentation(self):
        error, shown = self.closest("def second(path):\n  if not path:\n    return None")
        assert "lines 10-12 differ only in whitespace" in error.detail
        assert shown.startswith("10\tdef second(path):\n11\t    if")
        assert "line 7 differs only in whitespace" in self.closest("return  os.stat( path )")[0].detail

    def test_a_blank_line_too_many(self):
        error, _ = self.closest("def second(path):\n\n    if not path:")
        assert "lines 10-11 differ only in whitespace" in error.detail

    def test_numbers_that_were_pasted(self):
        error, shown = self.closest("6\t        return None\n7\t    return os.stat(path)\n")
        assert "lines 6-7 are the same, without the line numbers" in error.detail
        assert shown == "6\t        return None\n7\t    return os.stat(path)"
        error, _ = self.closest("7\treturn  os.stat(path)")
        assert "line 7 differs only in whitespace, without the line numbers" in error.detail

    def test_endings(self):
        error, _ = self.closest("import os\r\n\r\n")
        assert "other endings" in error.detail or "another ending" in error.detail
        error, _ = self.closest("import sys\n", SOURCE.replace("\n", "\r\n"))
        assert "line 1 is most like it" in error.detail

    def test_nothing_like_it(self):
        error, _ = self.closest("§§§§ §§ §")
        assert "nor anything like it" in error.detail
        assert "read the file" in error.hint
        for source in ("", "\n\n", "x"):
            assert "nor anything like it" in self.closest("absent\ntext", source)[0].detail
        self.closest("\n\n\n\n")

    def test_an_edit_before_it_took_it(self):
        error = refused(SOURCE.encode(), ("import os", "import sys"), ("import os\n", "import io\n"))
        assert "an edit before it" in error.detail

    def test_it_was_made_before(self):
        error = refused(SOURCE.encode(), ("return io.stat(path)", "return os.stat(path)"))
        assert "new_text is, on line 7" in error.detail
        assert "if not path" in self.closest("if nat path")[1]

    def test_a_long_line_and_many_lines_are_shortened(self):
        _, shown = self.closest("start" + "  " + "x" * 100_000, "start " + "x" * 100_000)
        assert len(shown) < 1000
        source = "".join(f"line number {number}\n" for number in range(100))
        _, shown = self.closest(source.replace(" ", "  "), source)
        assert shown.count("\n") == 20
        assert shown.endswith("and 80 more lines")

    def test_a_big_file(self):
        source = "".join(f"value_{number} = compute({number * 7919 % 10007})\n" for number in range(60_000))
        error, _ = self.closest("value_41234 = compote(3)", source)
        assert "line 41235" in error.detail

    def test_content_is_in_the_hint_alone(self):
        error, _ = self.closest("    retrun os.stat(path)")
        assert "os.stat" not in error.detail
        assert "os.stat" not in repr(error.data)


def patched(old, diff):
    """Apply a unified diff of texts that end with a line break."""
    before, after, at = old.split("\n"), [], 0
    for row in diff.split("\n")[2:]:
        hunk = re.match(r"@@ -(\d+)(,0)?", row)
        if hunk:
            start = int(hunk[1]) - (hunk[2] is None)
            after += before[at:start]
            at = start
            continue
        if row[0] != "+":
            assert before[at] == row[1:]
            at += 1
        if row[0] != "-":
            after.append(row[1:])
    return "\n".join(after + before[at:])


class TestDiff:
    def test_one_line(self):
        old, new = b"1\n2\n3\n4\n5\n6\n7\n8\n9\n", b"1\n2\n3\n4\nfive\n6\n7\n8\n9\n"
        assert unified_diff(old, new, "src/a.py") == (
            "--- a/src/a.py\n+++ b/src/a.py\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8"
        )
        assert unified_diff(old, new, "a", context=0).endswith("@@ -5 +5 @@\n-5\n+five")

    def test_no_difference(self):
        assert unified_diff(b"a\n", b"a\n", "f") == ""

    def test_from_and_to_nothing(self):
        assert unified_diff(b"", b"a\nb\n", "f").endswith("@@ -0,0 +1,2 @@\n+a\n+b")
        assert unified_diff(b"a\n", b"", "f").endswith("@@ -1 +0,0 @@\n-a")

    def test_no_newline_at_the_end(self):
        mark = "\\ No newline at end of file"
        assert unified_diff(b"a", b"b\n", "f").endswith(f"-a\n{mark}\n+b")
        assert unified_diff(b"a\n", b"a", "f").endswith(f"-a\n+a\n{mark}")
        assert unified_diff(b"a\nb", b"c\nb", "f").endswith(f"-a\n+c\n b\n{mark}")

    def test_crlf(self):
        assert unified_diff(b"a\r\nb\r\n", b"a\r\nc\r\n", "f").endswith(" a\n-b\n+c")
        assert unified_diff(b"a\r\n", b"a\n", "f").endswith("-a␍\n+a")
        assert unified_diff(b"a\r\nb\n", b"a\r\nc\n", "f").endswith(" a␍\n-b\n+c")

    def test_odd_bytes_and_names(self):
        assert unified_diff(b"a\xff\n", b"a\xfe\n", "new\nline").endswith("b/new\\nline\n@@ -1 +1 @@\n-a\\xff\n+a\\xfe")
        assert unified_diff(b"a\x0bb\x0c\n", b"c\n", "f").endswith("-a\x0bb\x0c\n+c")

    def test_too_many_lines(self):
        old = b"".join(b"%d\n" % number for number in range(1000))
        diff = unified_diff(old, old.replace(b"\n", b"x\n"), "f", max_lines=10)
        assert len(diff.split("\n")) == 13
        assert diff.endswith("\n-8\n… 1991 more lines of diff left out")

    def test_a_long_line_is_shown_where_it_changed(self):
        old = b"x" * 100_000 + b"old" + b"y" * 100_000 + b"\n"
        rows = unified_diff(old, old.replace(b"old", b"new"), "f").split("\n")
        assert re.fullmatch(r"-…x+oldy+… \[200003 characters\]", rows[3])
        assert re.fullmatch(r"\+…x+newy+… \[200003 characters\]", rows[4])
        assert len(rows[3]) < 600

    def test_changes_far_apart_in_a_big_file(self):
        lines = [f"line {number}\n" for number in range(100_000)]
        old = "".join(lines).encode()
        for number in (7, 50_000, 99_990):
            lines[number] = "changed\n"
        diff = unified_diff(old, "".join(lines).encode(), "f", context=1)
        assert diff.count("@@ -") == 3
        assert len(diff.split("\n")) == 2 + 3 * 5

    def test_lines_that_repeat_are_no_obstacle(self):
        old = ["}", "", "return"] * 60
        new = [*old[:40], "one", *old[40:120], "two", *old[120:]]
        diff = unified_diff("\n".join(old).encode(), "\n".join(new).encode(), "f")
        assert [row for row in diff.split("\n")[2:] if row[0] in "+-"] == ["+one", "+two"]

    def test_lines_that_occur_once_divide_a_file_of_many_that_repeat(self):
        old = [line for number in range(400) for line in ("", f"line {number}")]
        new = list(old)
        new[101], new[701] = old[701], old[101]  # swapped
        new[301] = "changed"
        self.check("\n".join(old) + "\n", "\n".join(new) + "\n")
        diff = unified_diff("\n".join(old).encode(), "\n".join(new).encode(), "f", context=0)
        assert len(diff.split("\n")) == 2 + 3 * 3

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.sampled_from("abcdefgh"), max_size=30), st.lists(st.sampled_from("abcdefgh"), max_size=30))
    def test_it_leads_from_old_to_new(self, old, new):
        self.check("".join(f"{line}\n" for line in old), "".join(f"{line}\n" for line in new))

    @settings(max_examples=40, deadline=None)
    @given(st.randoms(use_true_random=False), st.integers(2, 600))
    def test_it_leads_from_old_to_new_in_larger_files(self, random, kinds):
        old = [str(random.randrange(kinds)) for _ in range(600)]
        new = list(old)
        for _ in range(random.randrange(1, 40)):
            at = random.randrange(len(new))
            new[at : at + random.randrange(8)] = [f"new {random.randrange(9)}"] * random.randrange(8)
        if random.random() < 0.3:
            random.shuffle(new)
        self.check("\n".join(old) + "\n", "\n".join(new) + "\n")

    def check(self, old, new):
        diff = unified_diff(old.encode(), new.encode(), "f", max_lines=100_000)
        assert (patched(old, diff) if diff else old) == new
