"""Changes that are asked for in JSON: directories, names, permissions, edits."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, FailFast, Field
from starlette.responses import Response

from devbox_mcp import edits as editing
from devbox_mcp.backends import told as telling
from devbox_mcp.callers import Scope
from devbox_mcp.errors import InvalidArgument
from devbox_mcp.servers.rest.calls import Call, told
from devbox_mcp.servers.rest.incoming import json_body, no_body
from devbox_mcp.servers.rest.operations import Answer, Operation, Routes, json_of

ROUTES = Routes("changing")

#: Of a body that names things.
SMALL_JSON = 1 << 20

_CHANGES = ("read_only", "escapes_root", "permission_denied", "denied", "no_space", "busy", "too_many_links")

Version = Annotated[str | None, Field(description="Only this version: its sha256, or 12 hex digits and more of it.")]


class Asked(BaseModel):
    """A body: what is not known in it is refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Move(Asked):
    source: str
    destination: str
    overwrite: bool = False
    if_match: Version = None


class Copy(Asked):
    source: str
    destination: str
    overwrite: bool = False


class Chmod(Asked):
    path: str
    mode: Annotated[str, Field(pattern=r"^[0-7]{3,4}$", description="Permission bits, octal.", examples=["0644"])]
    recursive: bool = False


class Replacement(Asked):
    old_text: str
    new_text: str
    replace_all: bool = False


class Edit(Asked):
    path: str
    edits: Annotated[list[Replacement], FailFast(), Field(min_length=1, max_length=1000)]
    if_match: Version = None
    dry_run: Annotated[bool, Field(description="Only tell what would come of it.")] = False
    in_place: bool = False


MKDIR = Operation(
    ("PUT",), "/directories/{path}", "make_directory", "mkdir", Scope.WRITE, "Make a directory",
    "Missing parents are made as well.",
    {
        200: Answer("It was there.", json_of(telling.CreatedJson, {"created": False})),
        201: Answer("It is new.", json_of(telling.CreatedJson, {"created": True})),
    },
    errors=("exists", "not_directory", *_CHANGES),
)  # fmt: skip


@ROUTES.add(MKDIR)
async def make_directory(call: Call) -> Response:
    await no_body(call.request, "mkdir", call.path.text)
    created = await call.sandbox.make_dir(call.path)
    return told({"created": created}, 201 if created else 200)


MOVE = Operation(
    ("POST",), "/move", "move", "move", Scope.WRITE, "Rename an entry",
    "A link is renamed itself. With `overwrite`, a file or an empty directory may be replaced.",
    {200: Answer("The entry where it is now.", json_of(telling.InfoJson))},
    body=json_of(Move, {"source": "draft.md", "destination": "docs/guide.md"}),
    errors=("exists", "not_empty", "conflict", "not_directory", "is_directory", *_CHANGES),
)  # fmt: skip


@ROUTES.add(MOVE)
async def move(call: Call) -> Response:
    asked = await json_body(call.request, "move", Move, SMALL_JSON)
    info = await call.sandbox.move(
        await call.named(asked.source),
        await call.named(asked.destination),
        overwrite=asked.overwrite,
        if_match=asked.if_match,
    )
    return told(telling.info(call.sandbox.name, info))


COPY = Operation(
    ("POST",), "/copy", "copy", "copy", Scope.WRITE, "Copy a file or a directory",
    "All or nothing; links as links.",
    {200: Answer("The copy.", json_of(telling.InfoJson))},
    body=json_of(Copy, {"source": "template", "destination": "projects/new"}),
    errors=("exists", "not_empty", "not_directory", "is_directory", "too_large", *_CHANGES),
)  # fmt: skip


@ROUTES.add(COPY)
async def copy(call: Call) -> Response:
    asked = await json_body(call.request, "copy", Copy, SMALL_JSON)
    info = await call.sandbox.copy(
        await call.named(asked.source), await call.named(asked.destination), overwrite=asked.overwrite
    )
    return told(telling.info(call.sandbox.name, info))


CHMOD = Operation(
    ("POST",), "/chmod", "chmod", "chmod", Scope.WRITE, "Set permission bits",
    "A link is followed for `path` itself, never within a recursion.",
    {200: Answer("How many entries changed.", json_of(telling.ChangedJson, {"changed": 1}))},
    body=json_of(Chmod, {"path": "run.sh", "mode": "0755"}),
    errors=_CHANGES,
)  # fmt: skip


@ROUTES.add(CHMOD)
async def chmod(call: Call) -> Response:
    asked = await json_body(call.request, "chmod", Chmod, SMALL_JSON)
    changed = await call.sandbox.chmod(await call.named(asked.path), int(asked.mode, 8), recursive=asked.recursive)
    return told({"changed": changed})


EDIT = Operation(
    ("POST",), "/edit", "edit", "edit", Scope.WRITE, "Replace exact texts in a file",
    "In order, all or none; what is not touched stays byte for byte. A dry run needs the scope `read` only.",
    {200: Answer("What it did, or would do.", json_of(telling.EditedJson))},
    body=json_of(Edit, {"path": "app.py", "edits": [{"old_text": "debug = True", "new_text": "debug = False"}]}),
    errors=("edit_mismatch", "conflict", "is_directory", "too_large", "unsupported", *_CHANGES),
)  # fmt: skip


@ROUTES.add(EDIT)
async def edit(call: Call) -> Response:
    # JSON may need six letters for one byte, but hardly does for all of them
    asked = await json_body(call.request, "edit", Edit, 2 * call.limits.edit + SMALL_JSON)
    if any(not one.old_text and one.replace_all for one in asked.edits):
        raise InvalidArgument("edit", asked.path[:200], "an empty old_text is nowhere and everywhere")
    done = await call.sandbox.edit(
        await call.named(asked.path),
        [editing.Edit(one.old_text, one.new_text, one.replace_all) for one in asked.edits],
        if_match=asked.if_match,
        dry_run=asked.dry_run,
        in_place=asked.in_place,
    )
    name = call.sandbox.name
    return told(
        {
            "path": done.path.shown(name),
            "diff": done.diff,
            "replacements": done.replacements,
            "previous": done.previous,
            "written": None if done.written is None else telling.written(name, done.written),
        }
    )
