"""The scripts of the evaluation. They stumble as models do, and go on by what the error says."""

from __future__ import annotations

import re
from collections.abc import Callable

from conversation import Script, call, expect


def find_a_setting() -> Script:
    [found] = yield [call("search_text", pattern="timeout", ignore_case=True, glob="*.py")]
    expect(found, r"shop/settings\.py\n\s+4: TIMEOUT = 45")
    yield [call("write_file", path="answer.txt", content="45")]
    return "45 seconds."


def look_into_a_long_log() -> Script:
    [begun] = yield [call("read_file", path="log/server.log")]
    expect(begun, r"of 3000")
    [found] = yield [call("search_text", pattern="ERROR", path="log/server.log")]
    line = int(expect(found, r"(\d+): .*disk full")[1])
    [around] = yield [call("read_file", path="log/server.log", offset=line - 1, limit=2)]
    before = expect(around, r"\t(.*10:40:16 INFO ok)")[1]
    yield [call("write_file", path="answer.txt", content=f"boat-7\n{before}\n")]
    return "It was boat-7."


def a_path_that_is_wrong() -> Script:
    [missing] = yield [call("read_file", path="src/settings.py")]
    expect(missing, r"\[not_found\].*find_files")
    [found] = yield [call("find_files", pattern="settings.py")]
    path = expect(found, r"shop/settings\.py")[0]
    [code] = yield [call("read_file", path=path)]
    expect(code, 'CURRENCY = "EUR"')
    yield [call("write_file", path="answer.txt", content="EUR")]
    return "EUR; the file is shop/settings.py."


def an_edit_by_heart() -> Script:
    path = "shop/settings.py"
    [mismatch] = yield [call("edit_file", path=path, edits=[{"old_text": "RETRIES=3", "new_text": "RETRIES=5"}])]
    expect(mismatch, r"\[edit_mismatch\]")
    [code] = yield [call("read_file", path=path)]
    old = expect(code, r"RETRIES = 3")[0]
    [diff] = yield [call("edit_file", path=path, edits=[{"old_text": old, "new_text": "RETRIES = 5"}])]
    expect(diff, r"\+RETRIES = 5")
    return "RETRIES is 5."


def an_ambiguous_edit() -> Script:
    path = "shop/orders.py"
    [twice] = yield [call("edit_file", path=path, edits=[{"old_text": "fetch_all('/", "new_text": "fetch_all('/a"}])]
    expect(twice, r"\[edit_\w+\]")
    [code] = yield [call("read_file", path=path)]
    expect(code, r"done = fetch_all\('/done'\)")
    edit = {"old_text": "done = fetch_all('/done')", "new_text": "done = fetch_all('/archive')"}
    [diff] = yield [call("edit_file", path=path, edits=[edit])]
    expect(diff, r"\+done = fetch_all\('/archive'\)")
    return "The done orders come from /archive."


def a_file_that_is_there() -> Script:
    [refused] = yield [call("write_file", path="README.md", content="# Shop\n\nApache-2.0\n", mode="create")]
    expect(refused, r"\[exists\].*edit_file")
    [text] = yield [call("read_file", path="README.md")]
    expect(text, "Sells boats")
    [told] = yield [call("write_file", path="README.md", content="\nLicence: Apache-2.0\n", mode="append")]
    expect(told, r"README\.md")
    return "It names the licence."


def others_write_too() -> Script:
    path = "visits.txt"
    [seen] = yield [call("read_file", path=path)]
    while True:
        days = re.findall(r"\w+day \d+", seen)
        version = expect(seen, r"sha256 ([0-9a-f]{12})")[1]
        whole = "\n".join([*days, "Thursday 11", ""])
        [told] = yield [call("write_file", path=path, content=whole, if_match=version)]
        if "[conflict]" not in told:
            return f"Thursday is there, after {len(days)} days."
        [seen] = yield [call("read_file", path=path)]


def clear_up() -> Script:
    [refused] = yield [call("delete", path="build")]
    expect(refused, r"\[not_empty\].*recursive=true")
    [told] = yield [call("delete", path="build", recursive=True)]
    expect(told, "build")
    return "build is gone."


def rename_everywhere() -> Script:
    [found] = yield [call("search_text", pattern=r"\bfetch_all\b")]
    paths = re.findall(r"^(shop/\w+\.py)$", found, re.MULTILINE)
    edit = {"old_text": "fetch_all", "new_text": "fetch_everything", "replace_all": True}
    diffs = yield [call("edit_file", path=path, edits=[edit]) for path in paths]
    for diff in diffs:
        expect(diff, "fetch_everything")
    [left] = yield [call("search_text", pattern=r"\bfetch_all\b")]
    expect(left, r"(?i)no match")
    return f"Renamed in {len(paths)} files."


def many_files_at_once() -> Script:
    names = ("one", "two", "three", "four", "five")
    files = [{"path": f"pages/{name}.md", "content": f"# {name}\n"} for name in names]
    [told] = yield [call("upload_batch", files=files, atomic=True)]
    expect(told, r"pages/five\.md")
    return "Five pages are there."


#: By words of the task, in examples/agents/evaluation/tasks.py.
EXERCISES: dict[str, Callable[[], Script]] = {
    "the timeout of the shop's client": find_a_setting,
    "Which boat's disk was full": look_into_a_long_log,
    "the currency that src/settings.py sets": a_path_that_is_wrong,
    "`RETRIES=3` should become 5": an_edit_by_heart,
    "the done orders are to be fetched": an_ambiguous_edit,
    "names the licence": a_file_that_is_there,
    "Add `Thursday 11` to visits.txt": others_write_too,
    "Delete the directory build": clear_up,
    "Rename the function fetch_all": rename_everywhere,
    "Make pages/ with one.md to five.md": many_files_at_once,
}
