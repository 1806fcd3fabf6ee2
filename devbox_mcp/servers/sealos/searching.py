"""Files by their names, by what is in them, and texts replaced in many."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, FailFast, Field
from starlette.requests import Request
from starlette.responses import Response

from devbox_mcp.edits import Edit
from devbox_mcp.errors import DevboxError, EditMismatch, InvalidArgument, NotDirectory, TooLarge, Unsupported
from devbox_mcp.paths import SandboxPath
from devbox_mcp.sandbox import Sandbox
from devbox_mcp.servers.sealos.answering import message_of, succeeded
from devbox_mcp.servers.sealos.asking import absolute, json_body, place

#: The answer has no way to say that there is more: what is over these is an error.
_MOST_FILES = 10_000
_MOST_PAGES = 200
_SPECIAL = frozenset("*?[]{}\\!^-,")


class Searched(BaseModel):
    dir: str = "."
    pattern: str


class FoundIn(BaseModel):
    dir: str = "."
    keyword: str


class Replaced(BaseModel):
    files: Annotated[list[str], FailFast(), Field(max_length=1000)]
    from_: str = Field(alias="from")
    to: str


async def search(sandbox: Sandbox, request: Request) -> Response:
    """Files whose name holds a text, in whatever case; what .gitignore excludes is left out."""
    asked = await json_body(request, Searched, sandbox.limits.body, "search")
    directory = await _directory(sandbox, asked.dir, asked.pattern, "pattern")
    if "/" in asked.pattern:
        return succeeded({"files": []})  # no name holds one
    glob = f"*{''.join(_in_any_case(character) for character in asked.pattern)}*"
    files: list[str] = []
    after: str | None = None
    while True:
        page = await sandbox.find(directory, glob, limit=sandbox.limits.page_most, after=after)
        files += [absolute(sandbox, entry.path) for entry in page.entries if entry.type == "file"]
        after = page.after
        if after is None:
            return succeeded({"files": files})
        if len(files) > _MOST_FILES:
            raise _too_many("search", directory)


async def find(sandbox: Sandbox, request: Request) -> Response:
    """Text files that hold a text within a line."""
    asked = await json_body(request, FoundIn, sandbox.limits.body, "find")
    directory = await _directory(sandbox, asked.dir, asked.keyword, "keyword")
    files: dict[SandboxPath, None] = {}
    after: str | None = None
    for _ in range(_MOST_PAGES):
        page = await sandbox.search(directory, asked.keyword, regex=False, limit=sandbox.limits.page_most, after=after)
        files.update(dict.fromkeys(match.path for match in page.matches))
        after = page.after
        if after is None:
            return succeeded({"files": [absolute(sandbox, path) for path in files]})
    raise _too_many("find", directory)


async def replace(sandbox: Sandbox, request: Request) -> Response:
    """Every place in every file; a file is changed as a whole, or not at all."""
    asked = await json_body(request, Replaced, sandbox.limits.body, "edit")
    if not asked.from_:
        raise InvalidArgument("edit", ".", "from is empty")
    # a path that makes no sense is an error of the call, before anything is changed
    paths = [await place(sandbox, text, "edit") for text in asked.files]
    edit = Edit(asked.from_, asked.to, replace_all=True)
    results = [await _replaced(sandbox, text, path, edit) for text, path in zip(asked.files, paths, strict=True)]
    return succeeded({"results": results})


async def _replaced(sandbox: Sandbox, text: str, path: SandboxPath, edit: Edit) -> dict[str, Any]:
    try:
        if edit.old_text == edit.new_text:
            await sandbox.stat(path)
            return {"file": text, "status": "skipped", "replacements": 0}
        edited = await sandbox.edit(path, [edit])
    except EditMismatch:
        return {"file": text, "status": "skipped", "replacements": 0}
    except (Unsupported, TooLarge) as error:
        return {"file": text, "status": "skipped", "replacements": 0, "error": message_of(error)}
    except DevboxError as error:
        return {"file": text, "status": "error", "replacements": 0, "error": message_of(error)}
    return {"file": text, "status": "success", "replacements": edited.replacements}


async def _directory(sandbox: Sandbox, text: str, wanted: str, name: str) -> SandboxPath:
    if not wanted:
        raise InvalidArgument("search", ".", f"{name} is empty")
    path = await place(sandbox, text.strip() or ".", "search")
    if (await sandbox.stat(path)).type != "directory":
        raise NotDirectory("search", path.text, "this is no directory")
    return path


def _in_any_case(character: str) -> str:
    cases = {one for one in (character.lower(), character.upper()) if len(one) == 1}
    if len(cases) == 2:
        return f"[{''.join(sorted(cases))}]"
    return f"\\{character}" if character in _SPECIAL else character


def _too_many(op: str, path: SandboxPath) -> TooLarge:
    return TooLarge(op, path.text, "more is found than one answer holds", hint="ask for a directory further down")
