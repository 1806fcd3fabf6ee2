"""find_files and search_text."""

import os

import pytest

from tests.mcp.door import Answer, Door


def body(answer: Answer) -> list[str]:
    """Return the lines without the facts at the end."""
    return [line for line in answer.lines if not line.startswith("[")]


def cursor_of(answer: Answer) -> str | None:
    _, found, rest = answer.text.partition("continue with cursor=")
    return rest.partition("]")[0].partition(";")[0] if found else None


# -- find_files


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("*.py", ".", ["a.py", "src/b.py", "src/deep/c.py"]),
        ("src/*.py", ".", ["src/b.py"]),
        ("src/**/*.{py,js}", ".", ["src/b.py", "src/deep/c.py", "src/deep/d.js"]),
        ("**/deep", ".", ["src/deep/"]),
        ("*.py", "src", ["src/b.py", "src/deep/c.py"]),
        ("deep/*", "src", ["src/deep/c.py", "src/deep/d.js"]),
        (".env", ".", [".env"]),
        ("[ab].py", ".", ["a.py", "src/b.py"]),
    ],
)
async def test_files_are_found_by_glob(door: Door, pattern: str, path: str, found: list[str]) -> None:
    door.make(dict.fromkeys(["a.py", "src/b.py", "src/deep/c.py", "src/deep/d.js", ".env"], "x"))
    answer = await door.call("find_files", pattern=pattern, path=path)
    assert answer.lines == found


async def test_nothing_found_says_so(door: Door) -> None:
    assert (await door.call("find_files", pattern="*.rs")).text == "(nothing matches)"


async def test_newest_comes_first(door: Door) -> None:
    for age, name in enumerate(["b.txt", "c.txt", "a.txt"]):
        door.make({name: ""})
        os.utime(door.box / name, (1_000_000_000 - age, 1_000_000_000 - age))
    assert body(await door.call("find_files", pattern="*.txt", sort="newest")) == ["b.txt", "c.txt", "a.txt"]
    assert body(await door.call("find_files", pattern="*.txt", sort="name")) == ["a.txt", "b.txt", "c.txt"]


async def test_gitignore_and_git_are_left_out_unless_asked_for(door: Door) -> None:
    door.make({
        ".gitignore": "build/\n*.log\n!keep.log\n",
        "build/out.txt": "needle", "a.log": "needle", "keep.log": "needle", "sub/.gitignore": "c.txt\n",
        "sub/c.txt": "needle", ".git/config": "needle", "d.txt": "needle",
    })  # fmt: skip
    found = body(await door.call("find_files", pattern="*.{txt,log}"))
    assert found == ["d.txt", "keep.log"]
    everything = body(await door.call("find_files", pattern="*.{txt,log}", include_ignored=True))
    assert everything == ["a.log", "build/out.txt", "d.txt", "keep.log", "sub/c.txt"]
    assert body(await door.call("find_files", pattern="config")) == ["(nothing matches)"]
    matches = body(await door.call("search_text", pattern="needle"))
    assert matches == ["d.txt", "  1: needle", "keep.log", "  1: needle"]
    with_ignored = body(await door.call("search_text", pattern="needle", include_ignored=True))
    assert {"a.log", "build/out.txt", ".git/config", "sub/c.txt"} <= set(with_ignored)


@pytest.mark.parametrize("sort", ["name", "newest"])
async def test_pages_of_found_files_give_everything_once(door: Door, sort: str) -> None:
    names = [f"d{number % 4}/f{number:03d}.txt" for number in range(90)]
    door.make(dict.fromkeys(names, ""))
    for number, name in enumerate(names):
        # several files of one time, so that time alone does not tell where a page ends
        os.utime(door.box / name, (1_000_000_000 + number // 10, 1_000_000_000 + number // 10))
    seen: list[str] = []
    cursor = None
    while True:
        more = {} if cursor is None else {"cursor": cursor}
        answer = await door.call("find_files", pattern="*.txt", sort=sort, limit=8, **more)
        page = body(answer)
        assert len(page) <= 8
        seen += page
        cursor = cursor_of(answer)
        if cursor is None:
            break
    assert sorted(seen) == sorted(names)
    if sort == "name":
        assert seen == sorted(names)
    else:
        times = [os.stat(door.box / name).st_mtime for name in seen]
        assert times == sorted(times, reverse=True)


async def test_many_long_paths_keep_within_the_text_limit_and_the_cursor_goes_on_behind_them(door: Door) -> None:
    names = [f"{'d' * 200}/{'e' * 200}/{'f' * 200}/{number:03d}" for number in range(200)]
    door.make(dict.fromkeys(names, ""))
    answer = await door.call("find_files", pattern="[0-9]*")
    assert len(answer.text) <= 65_536 + 300
    assert len(body(answer)) < 200
    rest = await door.call("find_files", pattern="[0-9]*", cursor=cursor_of(answer))
    assert body(answer) + body(rest) == names


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"pattern": ""}, "invalid_argument"),
        ({"pattern": "{a,b}" * 20}, "invalid_argument"),
        ({"pattern": "*", "path": "missing"}, "not_found"),
        ({"pattern": "*", "path": "../"}, "escapes_root"),
        ({"pattern": "*", "limit": 0}, "invalid_argument"),
        ({"pattern": "*", "limit": 1001}, "invalid_argument"),
        ({"pattern": "*", "cursor": "%%%"}, "invalid_argument"),
        ({"pattern": "*", "sort": "size"}, "invalid_argument"),
    ],
)
async def test_a_bad_find_is_refused(door: Door, arguments: dict[str, object], code: str) -> None:
    assert f"[{code}]" in await door.refused("find_files", **arguments)


async def test_a_find_never_leaves_by_a_link(door: Door) -> None:
    (door.box / "out").symlink_to("..")
    answer = await door.call("find_files", pattern="secret.txt")
    assert answer.text == "(nothing matches)"
    assert (await door.call("search_text", pattern="not yours")).text.startswith("(no file to search")


# -- search_text


async def test_matches_are_grouped_by_file_with_line_numbers(door: Door) -> None:
    door.make({"a.py": "import os\nx = 1\nimport sys\n", "b/c.py": "    import re\n", "d.txt": "imports none\n"})
    answer = await door.call("search_text", pattern=r"^\s*import \w+$")
    assert answer.lines == ["a.py", "  1: import os", "  3: import sys", "b/c.py", "  1:     import re"]
    assert answer.result.structured_content is None


async def test_glob_case_and_exact_text_narrow(door: Door) -> None:
    door.make({"a.py": "x = a.b(c)\nX = A.B(C)\n", "b.txt": "a.b(c)\n"})
    exact = body(await door.call("search_text", pattern="a.b(c)", regex=False))
    assert exact == ["a.py", "  1: x = a.b(c)", "b.txt", "  1: a.b(c)"]
    python = body(await door.call("search_text", pattern="a.b(c)", regex=False, glob="*.py", ignore_case=True))
    assert python == ["a.py", "  1: x = a.b(c)", "  2: X = A.B(C)"]
    assert body(await door.call("search_text", pattern=r"A\.B", ignore_case=False)) == ["a.py", "  2: X = A.B(C)"]


async def test_context_is_shown_once_and_gaps_are_marked(door: Door) -> None:
    door.make({"a.txt": "".join(f"{'hit' if number in (3, 5, 12) else 'line'} {number}\n" for number in range(1, 15))})
    answer = await door.call("search_text", pattern="hit", context=1)
    assert answer.lines == [
        "a.txt",
        "  2- line 2", "  3: hit 3", "  4- line 4", "  5: hit 5", "  6- line 6",
        "  --",
        "  11- line 11", "  12: hit 12", "  13- line 13",
    ]  # fmt: skip


async def test_a_single_file_can_be_searched(door: Door) -> None:
    door.make({"a.txt": "x\nneedle\n", "b.txt": "needle\n"})
    assert (await door.call("search_text", pattern="needle", path="a.txt")).lines == ["a.txt", "  2: needle"]


async def test_no_match_says_how_much_was_looked_at(door: Door) -> None:
    door.make({"a.txt": "x\n", "b.txt": "y\n"})
    assert (await door.call("search_text", pattern="needle")).text == "(no match in 2 files)"


async def test_binaries_are_passed_over(door: Door) -> None:
    door.make({"a.bin": b"\0needle\n", "b.txt": "needle\n"})
    assert body(await door.call("search_text", pattern="needle")) == ["b.txt", "  1: needle"]


async def test_text_in_another_encoding_is_found_and_can_be_shown(door: Door) -> None:
    door.make({"latin.txt": b"gr\xfcn needle\n"})
    answer = await door.call("search_text", pattern="needle")
    assert answer.lines[0] == "latin.txt"
    assert "needle" in answer.lines[1]


async def test_a_match_in_a_minified_file_is_shown_short(door: Door) -> None:
    door.make({"min.js": "a" * 300_000 + "needle" + "b" * 300_000 + "\n"})
    answer = await door.call("search_text", pattern="needle")
    assert "needle" in answer.text
    assert len(answer.text) < 5000


async def test_pages_of_matches_give_every_line_once(door: Door) -> None:
    wanted = []
    for number in range(9):
        name = f"f{number}.txt"
        door.make({name: "".join(f"{'needle' if line % 2 else 'hay'} {number} {line}\n" for line in range(1, 20))})
        wanted += [(name, line) for line in range(1, 20, 2)]
    seen: list[tuple[str, int]] = []
    cursor = None
    while True:
        more = {} if cursor is None else {"cursor": cursor}
        answer = await door.call("search_text", pattern="needle", limit=7, **more)
        file = ""
        for line in body(answer):
            if line.startswith("  "):
                seen.append((file, int(line.strip().partition(":")[0])))
            else:
                file = line
        cursor = cursor_of(answer)
        if cursor is None:
            break
    assert seen == wanted


async def test_a_result_keeps_within_the_text_limit_and_its_cursor_goes_on_behind_it(door: Door) -> None:
    door.make({"a.txt": f"needle {'x' * 200}\n" * 1000})
    seen, cursor = [], {}
    while True:
        answer = await door.call("search_text", pattern="needle", limit=1000, **cursor)
        assert len(answer.text) <= 65_536 + 300
        seen += [int(line.partition(":")[0]) for line in body(answer)[1:]]
        if cursor_of(answer) is None:
            break
        assert "truncated" in answer.lines[-1]
        cursor = {"cursor": cursor_of(answer)}
    assert seen == list(range(1, 1001))


async def test_what_was_not_searched_at_all_is_told(door: Door) -> None:
    door.make({"nul.bin": b"\0needle", ".gitignore": "build/\n", "build/x.js": "needle\n", "one": "x\n"})
    for arguments, text in (
        ({"path": "nul.bin"}, "(no file to search, 1 binary file passed over)"),
        ({"glob": "build/*"}, "(no file to search; include_ignored=true also searches what .gitignore excludes)"),
        ({"glob": "build/*", "include_ignored": True, "pattern": "z"}, "(no match in 1 file)"),
        ({"glob": "none", "include_ignored": True}, "(no file to search)"),
        ({"path": "."}, "(no match in 2 files, 1 binary file passed over)"),
    ):
        assert (await door.call("search_text", **{"pattern": "needle", **arguments})).text == text


@pytest.mark.parametrize(
    ("arguments", "code", "advice"),
    [
        ({"pattern": "("}, "invalid_argument", ""),
        ({"pattern": "a{2,1}"}, "invalid_argument", ""),
        ({"pattern": ""}, "invalid_argument", ""),
        ({"pattern": "x", "glob": ""}, "invalid_argument", ""),
        ({"pattern": "x", "path": "missing"}, "not_found", "list_dir"),
        ({"pattern": "x", "path": "../secret.txt"}, "escapes_root", ""),
        ({"pattern": "x", "context": 21}, "invalid_argument", "context"),
        ({"pattern": "x", "context": -1}, "invalid_argument", "context"),
        ({"pattern": "x", "limit": 1001}, "invalid_argument", "from 1 to 1000"),
        ({"pattern": "x", "cursor": "%%%"}, "invalid_argument", "or none to begin anew"),
        ({"pattern": "x", "cursor": "Li4vLi4"}, "invalid_argument", "cursor"),
    ],
)
async def test_a_bad_search_is_refused(door: Door, arguments: dict[str, object], code: str, advice: str) -> None:
    text = await door.refused("search_text", **arguments)
    assert f"[{code}]" in text
    assert advice in text
    assert "\n" not in text


async def test_a_line_that_explodes_is_named_and_the_other_files_are_searched(door: Door) -> None:
    door.make({"a.txt": "a" * 5000 + "!\n", "b.txt": "a\n"})
    answer = await door.call("search_text", pattern="(a+)+$")
    assert answer.lines == [
        "b.txt",
        "  1: a",
        "[not searched: a.txt from line 1 on, which takes too long · use a simpler pattern]",
    ]


async def test_what_a_long_line_hides_is_told(door: Door) -> None:
    door.make({"a.js": "x" * (1 << 20) + "needle\n"})
    answer = await door.call("search_text", pattern="needle")
    assert answer.lines[1:] == ["[not searched: a.js line 1 beyond its first MiB]"]


async def test_a_glob_may_begin_with_the_root_and_never_climbs(door: Door) -> None:
    door.make({"src/a.py": "needle\n", "src/d/src/a.py": "needle\n", "a.py": ""})
    glob = f"{door.box}/src/*.py"
    for path in (".", "src", f"{door.box}/src"):
        assert body(await door.call("find_files", pattern=glob, path=path)) == ["src/a.py"]
        assert (await door.call("search_text", pattern="needle", glob=glob, path=path)).lines[0::2] == ["src/a.py"]
        assert (await door.call("list_dir", glob=glob, path=path, depth=4)).lines == [
            f"{'' if path != '.' else 'src/'}a.py"
        ]
    assert body(await door.call("find_files", pattern=f"{door.box}/*.py")) == ["a.py"]
    for tool, arguments in (
        ("find_files", {"pattern": "{}"}),
        ("search_text", {"pattern": "x", "glob": "{}"}),
        ("list_dir", {"glob": "{}"}),
    ):
        for wrong, advice in (("../*", "by path"), ("src/**/../x", "by path"), (f"{door.box}/a.py", "leave path out")):
            refused = await door.refused(
                tool, path="src", **{name: text.format(wrong) for name, text in arguments.items()}
            )
            assert "[invalid_argument]" in refused
            assert advice in refused
