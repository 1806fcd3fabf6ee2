"""What is there: entries, listings, lines, and what matches."""

from __future__ import annotations

import json

from starlette.responses import Response

from devbox_mcp import paths
from devbox_mcp.backends import told as telling
from devbox_mcp.callers import Scope
from devbox_mcp.errors import InvalidArgument
from devbox_mcp.models import SortOrder
from devbox_mcp.paths import SandboxPath, decoded, parse
from devbox_mcp.servers.rest.calls import Bytes, Call, told
from devbox_mcp.servers.rest.operations import Answer, Body, Header, Operation, Routes, json_of
from devbox_mcp.servers.rest.parameters import Choice, Flag, Number, Seconds, Text

ROUTES = Routes("looking")

FOLLOW = Flag("follow", "Tell of what a link leads to; false tells of the link.", True)
SHA256 = Flag("sha256", "Compute the content's sha256, whatever the size.", False)
DEPTH: Number[int] = Number("depth", "Levels to list.", 1, low=1)
GLOB: Text[str | None] = Text("glob", "Only entries whose path below the directory matches.", None)
LIMIT: Number[int | None] = Number("limit", "Most entries of one answer.", None, low=1)
CURSOR: Text[str | None] = Text("cursor", "Go on behind an earlier answer.", None)
DETAILS = Flag("details", "Tell everything of each entry; otherwise path, type and target.", False)
PATH = Text("path", "The directory to look in.", ".")
PATTERN = Text("pattern", "A glob such as `**/*.py`.", "", required=True)
REGEX_PATTERN = Text("pattern", "What a line must match.", "", required=True)
SORT: Choice[SortOrder] = Choice("sort", "The order.", "name", words=("name", "newest"))
IGNORED = Flag("ignored", "Also what .gitignore files exclude.", False)
REGEX = Flag("regex", "The pattern is a regular expression; false takes it by its letters.", True)
IGNORE_CASE = Flag("ignore_case", "Upper and lower case are the same.", False)
CONTEXT = Number("context", "Lines before and after each match.", 0, low=0, high=50)
FIRST = Number("first", "Number of the first line, from 1; negative counts from the end.", 1)
COUNT: Number[int | None] = Number("count", "Most lines.", None, low=1)
MOST: Number[int | None] = Number("most", "Most bytes of lines.", None, low=1)
SECONDS = Seconds("seconds", "End after so long with what there is; the operator's limit holds too.", 60.0, high=600.0)
ABSOLUTE = Text("absolute", "An absolute path as programs in the devbox see it.", "", required=True)

_ERRORS = ("escapes_root", "permission_denied", "denied", "too_many_links")


def resumed(call: Call) -> str | None:
    """Return what the cursor resumes behind."""
    cursor = call.get(CURSOR)
    return None if cursor is None else decoded(cursor)


def _resumed_path(call: Call) -> SandboxPath | None:
    after = resumed(call)
    return None if after is None else parse(after, call.op)


STAT = Operation(
    ("GET",), "/stat/{path}", "stat", "stat", Scope.READ, "Describe an entry",
    "Of a link, `target` is where it leads, and with `follow` the rest is of what is there.",
    {200: Answer("The entry.", json_of(telling.InfoJson))}, (FOLLOW, SHA256), errors=_ERRORS,
)  # fmt: skip


@ROUTES.add(STAT)
async def stat(call: Call) -> Response:
    info = await call.sandbox.stat(call.path, follow=call.get(FOLLOW), sha256=call.get(SHA256))
    return told(telling.info(call.sandbox.name, info))


LIST = Operation(
    ("GET",), "/list/{path}", "list", "list", Scope.READ, "List a directory",
    "Parents come before their entries, in the order of the names' bytes.",
    {200: Answer("A page.", json_of(telling.PageJson))}, (DEPTH, GLOB, LIMIT, CURSOR, DETAILS),
    errors=("not_directory", *_ERRORS),
)  # fmt: skip


@ROUTES.add(LIST)
async def list_directory(call: Call) -> Response:
    page = await call.sandbox.list(
        call.path,
        depth=call.get(DEPTH),
        glob=call.get(GLOB),
        limit=call.get(LIMIT),
        after=_resumed_path(call),
        details=call.get(DETAILS),
    )
    return told(telling.page(call.sandbox.name, page))


NAMES = Operation(
    ("GET",), "/names/{path}", "names", "list", Scope.READ, "List a directory by name",
    "The same entries as `list`, at their cheapest.",
    {200: Answer("A page.", json_of(telling.NamesJson))}, (DEPTH, GLOB, LIMIT, CURSOR),
    errors=("not_directory", *_ERRORS),
)  # fmt: skip


@ROUTES.add(NAMES)
async def names(call: Call) -> Response:
    found = await call.sandbox.names(
        call.path, depth=call.get(DEPTH), glob=call.get(GLOB), limit=call.get(LIMIT), after=resumed(call)
    )
    return told(telling.names(call.sandbox.name, call.path, found))


LINES = Operation(
    ("GET",), "/lines/{path}", "lines", "read", Scope.READ, "Read a window of lines",
    "Whole lines as bytes, endings included, within the limit of one text.",
    {
        200: Answer(
            "The lines.",
            Body({"application/octet-stream": None}),
            (Header("X-Devbox-Lines", "The rest of the window as ASCII JSON."),),
        )
    },
    (FIRST, COUNT, MOST), errors=("is_directory", "unsupported", *_ERRORS),
)  # fmt: skip


@ROUTES.add(LINES)
async def lines(call: Call) -> Response:
    window = await call.sandbox.read_lines(
        call.path, first=call.get(FIRST), count=call.get(COUNT), max_bytes=call.get(MOST)
    )
    about = json.dumps(telling.window(call.sandbox.name, window), separators=(",", ":"))
    return Bytes(
        200,
        [
            (b"content-type", b"application/octet-stream"),
            (b"content-length", b"%d" % len(window.data)),
            (b"x-devbox-lines", about.encode("ascii")),
        ],
        window.data,
    )


FIND = Operation(
    ("GET",), "/find", "find", "find", Scope.READ, "Find entries by glob",
    "What .gitignore files exclude is left out unless `ignored`.",
    {200: Answer("A page.", json_of(telling.FoundJson))}, (PATH, PATTERN, SORT, IGNORED, LIMIT, CURSOR, SECONDS),
    errors=("not_directory", *_ERRORS),
)  # fmt: skip


@ROUTES.add(FIND)
async def find(call: Call) -> Response:
    found = await call.sandbox.find(
        await call.named(call.get(PATH)),
        call.get(PATTERN),
        sort=call.get(SORT),
        ignored=call.get(IGNORED),
        limit=call.get(LIMIT),
        after=resumed(call),
        seconds=call.get(SECONDS),
    )
    return told(telling.found_entries(call.sandbox.name, found))


SEARCH = Operation(
    ("GET",), "/search", "search", "search", Scope.READ, "Find lines that match",
    "Python's regular expressions, line by line. Binary files are skipped.",
    {200: Answer("A page.", json_of(telling.MatchesJson))},
    (PATH, REGEX_PATTERN, GLOB, REGEX, IGNORE_CASE, CONTEXT, IGNORED, LIMIT, CURSOR, SECONDS),
    errors=("not_directory", *_ERRORS),
)  # fmt: skip


@ROUTES.add(SEARCH)
async def search(call: Call) -> Response:
    found = await call.sandbox.search(
        await call.named(call.get(PATH)),
        call.get(REGEX_PATTERN),
        glob=call.get(GLOB),
        regex=call.get(REGEX),
        ignore_case=call.get(IGNORE_CASE),
        context=call.get(CONTEXT),
        ignored=call.get(IGNORED),
        limit=call.get(LIMIT),
        after=resumed(call),
        seconds=call.get(SECONDS),
    )
    return told(telling.matches(call.sandbox.name, found))


ROOT = Operation(
    ("GET",), "/root", "root", "root", Scope.READ, "Find an absolute path's place beneath the root",
    "Null where it is outside.",
    {200: Answer("The path.", json_of(telling.RootJson))}, (ABSOLUTE,),
)  # fmt: skip


@ROUTES.add(ROOT)
async def root(call: Call) -> Response:
    absolute = call.get(ABSOLUTE)
    call.sandbox.require("root", paths.ROOT, Scope.READ)
    if not absolute.startswith("/"):
        raise InvalidArgument("root", absolute[:200], "this path is not absolute")
    found = await call.sandbox.contains(absolute)
    return told({"path": None if found is None else found.shown(call.sandbox.name)})
