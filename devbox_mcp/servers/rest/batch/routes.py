"""``POST files``: the body's files, with a result for each."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence
from typing import (
    IO,
    Annotated,
    Any,
    Literal,
    NotRequired,  # pydantic takes no other before Python 3.12
)

from pydantic import FailFast, Field
from starlette.responses import Response
from typing_extensions import TypedDict

from devbox_mcp.backends import told as telling
from devbox_mcp.callers import Scope
from devbox_mcp.errors import Cancelled, DevboxError, InvalidArgument, IoError
from devbox_mcp.models import BatchItem, BatchOutcome
from devbox_mcp.paths import ROOT
from devbox_mcp.servers.guarding.bodies import SMALL, bodies_of, pieces_of
from devbox_mcp.servers.problems import fields
from devbox_mcp.servers.rest import incoming
from devbox_mcp.servers.rest.batch import multipart, tarred, zipped
from devbox_mcp.servers.rest.batch.intake import OP, Intake, Member, Refusal
from devbox_mcp.servers.rest.calls import Call, told
from devbox_mcp.servers.rest.changing import SMALL_JSON, Asked, Version
from devbox_mcp.servers.rest.failures import HttpFailure
from devbox_mcp.servers.rest.operations import Answer, Body, Operation, Routes, json_of
from devbox_mcp.servers.rest.parameters import Flag, Text

ROUTES = Routes("files")

PATH = Text("path", "The directory that the files of a form or an archive go into.", ".")
ATOMIC = Flag("atomic", "All of the files or none.", False)


class NewFile(Asked):
    path: str
    content: str
    encoding: Literal["utf-8", "base64"] = "utf-8"
    executable: bool | None = None
    if_match: Version = None


class NewFiles(Asked):
    files: Annotated[list[NewFile], FailFast(), Field(min_length=1)]
    atomic: bool = False


class ErrorJson(TypedDict):
    """What went wrong with one file."""

    code: str
    op: str
    path: str
    detail: str
    hint: str
    retryable: bool
    data: NotRequired[dict[str, Any]]


class OutcomeJson(TypedDict):
    """What became of one file."""

    path: str
    ok: bool
    written: NotRequired[telling.WrittenJson]
    error: NotRequired[ErrorJson]


class OutcomesJson(TypedDict):
    """What became of a batch."""

    written: int
    failed: int
    files: list[OutcomeJson]


BATCH = Operation(
    ("POST",),
    "/files",
    "write_files",
    OP,
    Scope.WRITE,
    "Write many files",
    "As parts of a form (a part's filename is its path), in a tar, tar.gz or zip, or in JSON, which takes `files` and "
    "`atomic` of its own. Members of an archive that are no regular files or directories are refused one by one.",
    {200: Answer("What became of each file.", json_of(OutcomesJson))},
    (PATH, ATOMIC),
    body=Body(
        {
            "application/json": NewFiles,
            "multipart/form-data": None,
            "application/x-tar": None,
            "application/gzip": None,
            "application/zip": None,
        },
        "The files.",
        {"files": [{"path": "src/app.py", "content": "print('hello')\n"}], "atomic": True},
    ),
    errors=("too_large", "read_only", "escapes_root", "conflict", "integrity", "cancelled", "timeout", "no_space"),
)


@ROUTES.add(BATCH)
async def write_files(call: Call) -> Response:
    request = call.request
    call.sandbox.require(OP, ROOT, Scope.WRITE)
    kind = incoming.require_type(request, OP, ".", *BATCH.body.types)  # type: ignore[union-attr]  # it is there, above
    if kind == "application/json":
        return await _from_json(call)
    intake = Intake(call.sandbox.name, await call.named(call.get(PATH)), call.limits)
    body = incoming.pieces(request, OP, ".", intake.most)
    bodies = bodies_of(request.scope)
    async with bodies.spooled(body, incoming.size_of(request, intake.most)) as spooled:
        size_of = _UNPACKED.get(kind)
        size = spooled.tell() if size_of is None else await asyncio.to_thread(size_of, spooled, intake)
        if size > SMALL:
            await bodies.hold(min(size, call.limits.batch), request.receive)
        if kind == "multipart/form-data":
            await multipart.unpack(pieces_of(spooled), request.headers["content-type"], intake)
        else:
            spooled.seek(0)
            await asyncio.to_thread(_UNPACK[kind], spooled, intake)
    return await _write(call, intake.taken, atomic=call.get(ATOMIC))


_UNPACK: dict[str, Callable[[IO[bytes], Intake], None]] = {
    "application/x-tar": lambda file, intake: tarred.unpack(file, intake, packed=False),
    "application/gzip": lambda file, intake: tarred.unpack(file, intake, packed=True),
    "application/zip": zipped.unpack,
}
#: How much there is in what is packed, before any of it is held.
_UNPACKED: dict[str, Callable[[IO[bytes], Intake], int]] = {
    "application/gzip": tarred.unpacked_size,
    "application/zip": zipped.unpacked_size,
}


async def _from_json(call: Call) -> Response:
    asked = await incoming.json_body(call.request, OP, NewFiles, 2 * call.limits.batch + SMALL_JSON)
    taken: list[Member | Refusal] = []
    for file in asked.files:
        try:
            path = await call.named(file.path)
            taken.append(Member(path, _content(file), file.executable, file.if_match))
        except DevboxError as error:
            taken.append(Refusal(file.path, error))
    return await _write(call, taken, atomic=asked.atomic)


def _content(file: NewFile) -> bytes:
    if file.encoding == "utf-8":
        return file.content.encode("utf-8")
    try:
        return base64.b64decode(file.content, validate=True)
    except ValueError:  # binascii.Error too
        raise InvalidArgument(OP, file.path[:200], "the content is not base64") from None


async def _write(call: Call, taken: list[Member | Refusal], *, atomic: bool) -> Response:
    """Write what was taken, and answer with what became of each. With ``atomic``, a refusal refuses all."""
    for one in taken:
        if isinstance(one, Refusal) and not one.error.recorded:
            call.sandbox.refused(OP, one.name, one.error)
    items = [
        BatchItem(one.path, one.data, one.executable, one.if_match)
        for one in taken
        if isinstance(one, Member) and one.data is not None
    ]
    refused = next((one.error for one in taken if isinstance(one, Refusal)), None) if atomic else None
    if refused is not None:
        outcomes: Sequence[BatchOutcome] = [BatchOutcome(item.path, None, _given_up()) for item in items]
    else:
        outcomes = await call.sandbox.write_batch(items, atomic=atomic) if items else []
    failed = (refused or _first_failure(outcomes)) if atomic else None
    remaining = iter(outcomes)
    files: list[OutcomeJson] = []
    for one in taken:
        if isinstance(one, Refusal):
            files.append(_failed(one.name, one.error))
        elif one.data is None:
            files.append(await _directory(call, one, failed))
        else:
            files.append(_outcome(call, next(remaining)))
    done = sum(one["ok"] for one in files)
    result: OutcomesJson = {"written": done, "failed": len(files) - done, "files": files}
    if failed is not None:
        failed.data = {**failed.data, **result}
        raise HttpFailure(failed, status=409)
    return told(result)


def _first_failure(outcomes: Sequence[BatchOutcome]) -> DevboxError | None:
    """Return why a batch failed: those that were given up for it do not tell."""
    errors = [outcome.error for outcome in outcomes if isinstance(outcome.error, DevboxError)]
    return next((error for error in errors if not isinstance(error, Cancelled)), errors[0] if errors else None)


async def _directory(call: Call, one: Member, failed: DevboxError | None) -> OutcomeJson:
    try:
        if failed is not None:
            raise _given_up()
        await call.sandbox.make_dir(one.path)
    except DevboxError as error:
        return _failed(one.path.text, error)
    return {"path": one.path.shown(call.sandbox.name), "ok": True}


def _outcome(call: Call, outcome: BatchOutcome) -> OutcomeJson:
    if outcome.written is None:
        error = outcome.error if isinstance(outcome.error, DevboxError) else IoError("write", outcome.path.text)
        return _failed(outcome.path.text, error)
    name = call.sandbox.name
    return {"path": outcome.path.shown(name), "ok": True, "written": telling.written(name, outcome.written)}


def _failed(name: str, error: DevboxError) -> OutcomeJson:
    shown = name if name.isprintable() else telling.encoded(name)
    return {"path": shown, "ok": False, "error": fields(error)}  # type: ignore[typeddict-item]  # it is its shape


def _given_up() -> Cancelled:
    return Cancelled("write", ".", "nothing was written, because another file failed")
