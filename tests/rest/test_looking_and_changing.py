"""Entries, listings, lines, finds and searches; directories, names, permissions and edits."""

from __future__ import annotations

import hashlib
import json
import os
from urllib.parse import quote

import pytest

from tests.rest.served import Client


@pytest.fixture
def project(ask: Client) -> Client:
    """A few files, one of them by a name that is no text, and a link whose target is none."""
    (ask.box / "src").mkdir()
    (ask.box / "src" / "app.py").write_text("import os\n\nprint('hello')\n")
    (ask.box / "notes.md").write_text("# Notes\nhello\n")
    (ask.box / "link").symlink_to("notes.md")
    os.symlink(b"\xff", os.fsencode(ask.box) + b"/odd")
    with open(os.fsencode(ask.box) + b"/\xfe\n", "wb"):
        pass
    return ask


def test_the_devboxes_and_one_of_them(ask: Client) -> None:
    listed = ask("GET", "/v1/devboxes").json()["devboxes"]
    assert [(one["name"], one["default"]) for one in listed] == [("main", True), ("other", False)]
    one = ask("GET", "/v1/devboxes/main").json()
    assert one["root"] == str(ask.box)
    assert "search" in one["capabilities"]
    assert one["limits"]["file"] == 8 << 20
    assert ask("GET", "/v1/devboxes/none").code == "not_found"


def test_who_may_only_get_may_not_ask_for_the_head(ask: Client) -> None:
    answer = ask("HEAD", "/v1/devboxes")
    assert (answer.status, answer.headers["allow"]) == (405, "GET")


def test_stat_tells_a_link_or_what_it_leads_to(project: Client) -> None:
    followed = project("GET", "stat/link").json()
    assert (followed["type"], followed["target"], followed["size"]) == ("file", "notes.md", 14)
    itself = project("GET", "stat/link?follow=false&sha256=true").json()
    assert (itself["type"], itself["sha256"]) == ("symlink", None)
    hashed = project("GET", "stat/notes.md?sha256=true").json()
    assert hashed["sha256"] == hashlib.sha256(b"# Notes\nhello\n").hexdigest()
    odd = project("GET", "stat/odd?follow=false").json()
    assert (odd["target"], odd["target_encoded"]) == ("\ufffd", "%FF")
    assert project("GET", "stat/").json()["path"] == "."


def test_a_listing_goes_on_behind_its_cursor(project: Client) -> None:
    seen: list[str] = []
    cursor = ""
    while True:
        page = project("GET", f"list/?depth=3&limit=2{cursor}").json()
        seen += [entry["path"] for entry in page["entries"]]
        if page["cursor"] is None:
            break
        cursor = f"&cursor={quote(page['cursor'], safe='')}"
    assert seen == ["link", "notes.md", "odd", "src", "src/app.py", "devbox://main/%FE%0A"]
    assert project("GET", "list/src?details=true").json()["entries"][0]["mode"] == "0644"
    assert project("GET", "list/?glob=*.md").json()["entries"][0]["path"] == "notes.md"
    assert project("GET", "list/notes.md").code == "not_directory"


def test_names_are_the_same_by_name(project: Client) -> None:
    found = project("GET", "names/?depth=2").json()
    assert found["names"] == ["link", "notes.md", "odd", "src/", "src/app.py", "devbox://main/%FE%0A"]
    assert found["targets"] == {"link": "notes.md", "odd": "\ufffd"}
    assert found["targets_encoded"] == {"odd": "%FF"}
    below = project("GET", "names/?limit=4").json()
    assert project("GET", f"names/?cursor={below['cursor']}").json()["names"] == ["devbox://main/%FE%0A"]


@pytest.mark.parametrize(
    "query", ["depth=0", "depth=999", "limit=0", "limit=99999", "depth=x", "limit=1e3", "cursor=%00"]
)
@pytest.mark.parametrize("route", ["list", "names"])
def test_a_listing_takes_sensible_numbers_only(project: Client, route: str, query: str) -> None:
    assert project("GET", f"{route}/?{query}").code == "invalid_argument"


def test_lines_come_as_bytes_with_what_is_around_them_beside(project: Client) -> None:
    found = project("GET", "lines/src/app.py?first=2&count=2")
    assert found.body == b"\nprint('hello')\n"
    about = json.loads(found.headers["x-devbox-lines"])
    assert (about["first"], about["count"], about["total"], about["more"]) == (2, 2, 3, False)
    assert project("GET", "lines/src/app.py?first=-1").body == b"print('hello')\n"
    assert project("GET", "lines/src/app.py?first=0").code == "invalid_argument"


def test_find_and_search(project: Client) -> None:
    found = project("GET", "find?pattern=**/*.py").json()
    assert [entry["path"] for entry in found["entries"]] == ["src/app.py"]
    matches = project("GET", "search?pattern=hell.&context=1").json()
    assert [(one["path"], one["line"]) for one in matches["matches"]] == [("notes.md", 2), ("src/app.py", 3)]
    assert matches["matches"][0]["before"] == ["# Notes"]
    assert project("GET", "search?pattern=hell.&regex=false").json()["matches"] == []
    assert project("GET", "search?pattern=HELLO&ignore_case=true&glob=*.md").json()["matches"][0]["path"] == "notes.md"
    assert project("GET", "search?pattern=(").code == "invalid_argument"
    assert project("GET", "search").code == "invalid_argument"
    assert project("GET", "find").code == "invalid_argument"


def test_an_absolute_path_is_found_beneath_the_root(project: Client) -> None:
    inside = quote(f"{project.box}/src", safe="")
    assert project("GET", f"root?absolute={inside}").json() == {"path": "src"}
    assert project("GET", "root?absolute=/etc").json() == {"path": None}
    assert project("GET", "root?absolute=etc").code == "invalid_argument"


def test_directories_are_made_once(ask: Client) -> None:
    assert ask("PUT", "directories/a/b").status == 201
    assert ask("PUT", "directories/a/b").json() == {"created": False}
    ask("PUT", "files/file", b"")
    assert ask("PUT", "directories/file").code == "exists"


def test_move_copy_and_chmod(project: Client) -> None:
    moved = project.post("move", {"source": "notes.md", "destination": "docs/notes.md"})
    assert moved.json()["path"] == "docs/notes.md"
    copied = project.post("copy", {"source": "devbox://main/src", "destination": f"{project.box}/copy"})
    assert copied.json()["type"] == "directory"
    assert project.post("copy", {"source": "src", "destination": "copy"}).code == "exists"
    assert project.post("move", {"source": "src", "destination": "docs", "overwrite": True}).code == "not_empty"
    changed = project.post("chmod", {"path": "copy", "mode": "0700", "recursive": True})
    assert changed.json() == {"changed": 2}
    assert os.stat(project.box / "copy/app.py").st_mode & 0o777 == 0o700
    wrong = project.post("move", {"source": "docs/notes.md", "destination": "x", "if_match": "0" * 12})
    assert (wrong.status, wrong.code) == (412, "conflict")


def test_an_edit_shows_what_it_does(project: Client) -> None:
    edits = [{"old_text": "hello", "new_text": "goodbye"}]
    dry = project.post("edit", {"path": "src/app.py", "edits": edits, "dry_run": True}).json()
    assert (dry["written"], dry["replacements"]) == (None, 1)
    done = project.post("edit", {"path": "src/app.py", "edits": edits, "if_match": dry["previous"][:12]}).json()
    assert "+print('goodbye')" in done["diff"]
    assert (project.box / "src/app.py").read_text() == "import os\n\nprint('goodbye')\n"
    stale = project.post("edit", {"path": "src/app.py", "edits": edits, "if_match": dry["previous"]})
    assert (stale.status, stale.code) == (412, "conflict")
    assert project.post("edit", {"path": "src/app.py", "edits": edits}).code == "edit_mismatch"


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("move", b"{}"),
        ("move", b'{"source": "a", "destination": "b", "unknown": 1}'),
        ("move", b'{"source": 1, "destination": "b"}'),
        ("move", b'{"source": "\\ud800", "destination": "b"}'),
        ("move", b"not json"),
        ("move", b"[" * 100_000),
        ("move", b""),
        ("copy", b'{"source": "", "destination": "b"}'),
        ("copy", b'{"source": "a\\u0000", "destination": "b"}'),
        ("copy", b'{"source": "../secret.txt", "destination": "b"}'),
        ("copy", b'{"source": "/etc/passwd", "destination": "b"}'),
        ("copy", b'{"source": "devbox://other/a", "destination": "b"}'),
        ("move", b'{"source": "nothing", "source": "a", "destination": "b"}'),
        ("edit", b'{"path": "a", "edits": [{"old_text": "2", "old_text": "1", "new_text": "3"}]}'),
        ("chmod", b'{"path": "a", "mode": "rwx"}'),
        ("chmod", b'{"path": "a", "mode": "4755"}'),
        ("edit", b'{"path": "a", "edits": []}'),
    ],
)
def test_a_body_that_makes_no_sense_changes_nothing(ask: Client, route: str, body: bytes) -> None:
    ask("PUT", "files/a", b"1")
    found = ask("POST", route, body, {"Content-Type": "application/json"})
    assert found.code in ("invalid_argument", "escapes_root")
    assert os.listdir(ask.box) == ["a"]
    assert not os.stat(ask.box / "a").st_mode & 0o4111


def test_json_is_asked_for_by_its_type_and_within_its_limit(ask: Client) -> None:
    assert ask("POST", "move", b"{}").status == 415
    large = ask("POST", "move", b" " * ((1 << 20) + 1), {"Content-Type": "application/json"})
    assert (large.status, large.code, large.json()["data"]["limit"]) == (413, "too_large", 1 << 20)
