"""The scripts: for each errand of the examples, the calls that a model makes and what it must be told."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from functools import partial

from conversation import Script, ScriptError, call, expect
from exercises import EXERCISES


class Errands:
    """The scripts of one run, found by words of the task."""

    def __init__(self) -> None:
        self._readers: set[str] = set()
        self._read = threading.Condition()
        self._scripts: dict[str, Callable[[re.Match[str]], Script]] = {
            r"The tests of this project fail": mend,
            r"Report on (\S+\.csv)": report,
            r"Add the line `(- \w+: .+?)` to `(.+?)`": self.add_a_line,
            r"`inbox/(\S+)\.txt` arrived": note,
        }

    def script_for(self, task: str) -> Callable[[], Script]:
        """The script for a task. Raises ScriptError where there is none."""
        for pattern, script in self._scripts.items():
            if words := re.search(pattern, task):
                return partial(script, words)
        for phrase, exercise in EXERCISES.items():
            if phrase in task:
                return exercise
        raise ScriptError(f"there is no script for this task: {task[:200]!r}")

    def add_a_line(self, words: re.Match[str]) -> Script:
        """Two agents overwrite one file: they have read the same version, and so one of them is refused."""
        line, path = words[1], words[2]
        [seen] = yield [call("read_file", path=path)]
        self._until_both_have_read(line)
        while True:
            lines = re.findall(r"- \w+: [^\n\"\\]+", seen)
            whole = "\n".join(["# Log", "", *lines, line, ""])
            [told] = yield [call("write_file", path=path, content=whole, if_match=sha256(seen))]
            if "[conflict]" not in told:
                expect(told, re.escape(path))
                return f"The line is there, below {len(lines)} others."
            [seen] = yield [call("read_file", path=path)]

    def _until_both_have_read(self, reader: str) -> None:
        with self._read:
            self._readers.add(reader)
            self._read.notify_all()
            if not self._read.wait_for(lambda: len(self._readers) > 1, timeout=60):
                raise ScriptError("the second agent did not read the file")


def sha256(seen: str) -> str:
    """What a read says that the version is, for if_match."""
    return expect(seen, r"sha256 ([0-9a-f]{12})")[1]


def mend(_words: re.Match[str]) -> Script:
    """Find the bug of examples/wordcount, mend it, note it."""
    [there] = yield [call("list_dir", depth=2)]
    expect(there, r"wordcount/__init__\.py")
    test, code = yield [
        call("read_file", path="tests/test_wordcount.py"),
        call("read_file", path="wordcount/__init__.py"),
    ]
    expect(test, "test_case_does_not_matter")
    edit = {"old_text": "WORD.findall(text)", "new_text": "WORD.findall(text.lower())"}
    expect(code, r"WORD\.findall\(text\)")
    [diff] = yield [call("edit_file", path="wordcount/__init__.py", edits=[edit], if_match=sha256(code))]
    expect(diff, r"\+    return Counter\(WORD\.findall\(text\.lower\(\)\)\)")
    note = "# Changes\n\n- Words are counted whatever their case.\n"
    [noted] = yield [call("write_file", path="CHANGELOG.md", content=note, mode="create")]
    expect(noted, r"CHANGELOG\.md")
    return "`count` looked for lower-case letters in a text that it had not lowered. It does now."


def report(words: re.Match[str]) -> Script:
    """Look at a table, let the program's own tools add it up and draw it, write what that says."""
    path = words[1]
    [head] = yield [call("read_file", path=path, limit=5)]
    expect(head, "month,region,revenue")
    regions, months = yield [
        call("total", path=path, of="revenue", by="region"),
        call("total", path=path, of="revenue", by="month"),
    ]
    north, south = (float(expect(regions, rf"{region}\W+([\d.]+)")[1]) for region in ("north", "south"))
    best = max(re.findall(r"(2026-\d\d)\W+([\d.]+)", months), key=lambda month: float(month[1]))
    [drawn] = yield [call("plot", path=path, of="revenue", by="month", to="report/revenue.png")]
    expect(drawn, r"report/revenue\.png")
    text = f"""# Revenue

North brought {north:,.0f}, south {south:,.0f}. The best month was {best[0]} with {float(best[1]):,.0f}.

![Revenue by month](revenue.png)
"""
    [written] = yield [call("write_file", path="report/report.md", content=text)]
    expect(written, r"report/report\.md")
    return f"The report is in report/. The best month was {best[0]}."


def note(words: re.Match[str]) -> Script:
    """Write down in a line what arrived."""
    name = words[1]
    [letter] = yield [call("read_file", path=f"inbox/{name}.txt", line_numbers=False)]
    subject = expect(letter, r"Subject: ([^\n\"\\]+)")[1]
    [written] = yield [call("write_file", path=f"notes/{name}.md", content=f"- {subject}\n")]
    expect(written, rf"notes/{name}\.md")
    return f"{name} is about: {subject}"
