"""A file that arrives in parts whose token the sender makes up: what a gateway needs of another one. For everybody
else there is tus (``tus.py``)."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.responses import Response
from typing_extensions import TypedDict  # pydantic takes no other before Python 3.12

from devbox_mcp.backends import told as telling
from devbox_mcp.callers import Scope
from devbox_mcp.models import WriteMode
from devbox_mcp.servers.rest import incoming
from devbox_mcp.servers.rest.calls import Call, told
from devbox_mcp.servers.rest.files import EXECUTABLE
from devbox_mcp.servers.rest.operations import Answer, Body, Header, Operation, Routes, json_of
from devbox_mcp.servers.rest.parameters import Choice, Flag, Number, Text

ROUTES = Routes("uploads")

OP = "upload"
_PLACE = "/parts/{token}/{path}"

MODE: Choice[WriteMode] = Choice("mode", "As for a write.", "overwrite", words=("overwrite", "create", "append"))
IF_MATCH: Text[str | None] = Text("if_match", "Only over this version: 12 hex digits of its sha256 or more.", None)
OFFSET: Number[int] = Number("offset", "How many bytes have arrived before these.", 0, low=0)
WHOLE = Flag("whole", "All of the body is added or none; otherwise, of one that breaks, what had come.", False)
SIZE: Number[int] = Number("size", "How many bytes have arrived.", 0, required=True, low=0)
SHA256: Text[str | None] = Text("sha256", "Of the whole, in hex.", None)

_CHANGES = ("read_only", "escapes_root", "permission_denied", "denied", "no_space", "busy", "unsupported")
_WRITES = (*_CHANGES, "exists", "conflict", "is_directory", "not_directory", "integrity", "too_large")


class SizeJson(TypedDict):
    """How much has arrived."""

    size: int


_SIZE = {200: Answer("How much has arrived.", json_of(SizeJson, {"size": 1024}))}

BEGIN = Operation(
    ("PUT",), _PLACE, "begin_parts", OP, Scope.WRITE, "Begin an upload in parts",
    "`token` is 16 random hex digits that protect the upload. One that was begun stays as it is. What the write would "
    "refuse, and can be refused now, is refused now.",
    {200: Answer("Begun.", json_of(SizeJson, {"size": 0}))}, (MODE, IF_MATCH), errors=_WRITES,
)  # fmt: skip


@ROUTES.add(BEGIN)
async def begin(call: Call) -> Response:
    token = _token(call)
    await call.sandbox.uploads.begin(call.path, token, mode=call.get(MODE), if_match=call.get(IF_MATCH))
    return told({"size": await call.sandbox.uploads.size(call.path, token)})


LOOK = Operation(
    ("GET",), _PLACE, "look_at_parts", OP, Scope.WRITE, "How much has arrived", "In bytes.", _SIZE, errors=_CHANGES,
)  # fmt: skip


@ROUTES.add(LOOK)
async def look(call: Call) -> Response:
    return told({"size": await call.sandbox.uploads.size(call.path, _token(call))})


ADD = Operation(
    ("PATCH",), _PLACE, "add_part", OP, Scope.WRITE, "Add a part", "Behind the bytes that have arrived.",
    _SIZE, (OFFSET, WHOLE),
    (
        Header("Repr-Digest", "Of this part, as sha-256=:BASE64: — 422 for another one."),
        Header(incoming.TRAILER, "The body's last 32 bytes are the sha256 of those before them.", "sha-256"),
    ),
    Body({"application/octet-stream": None}, "The part."), (*_CHANGES, "conflict", "integrity", "too_large"),
)  # fmt: skip


@ROUTES.add(ADD)
async def add(call: Call) -> Response:
    incoming.require_type(call.request, OP, call.path.text, "application/octet-stream")
    path = call.path
    digest = incoming.Digest.of(call.headers, OP, path.text)
    stream = incoming.without_trailer(call.request, OP, path.text, max(call.limits.file - call.get(OFFSET), 0))
    # one whose length is not known is not waited for: whoever else comes meanwhile is to be told
    known = "content-length" in call.headers
    body: bytes | AsyncIterator[bytes] = await incoming.small_or_stream(call.request, stream) if known else stream
    if digest is not None:
        if isinstance(body, bytes):
            digest.check(body, OP, path.text)
        else:
            body = digest.checked(body, OP, path.text)
    size = await call.sandbox.uploads.add(path, _token(call), call.get(OFFSET), body, whole=call.get(WHOLE))
    return told({"size": size})


FINISH = Operation(
    ("POST",), _PLACE, "finish_parts", OP, Scope.WRITE, "Let what has arrived become the file", "Atomically.",
    {200: Answer("The file.", json_of(telling.WrittenJson))}, (SIZE, SHA256, MODE, IF_MATCH, EXECUTABLE),
    errors=_WRITES,
)  # fmt: skip


@ROUTES.add(FINISH)
async def finish(call: Call) -> Response:
    written = await call.sandbox.uploads.finish(
        call.path,
        _token(call),
        call.get(SIZE),
        sha256=call.get(SHA256),
        mode=call.get(MODE),
        if_match=call.get(IF_MATCH),
        executable=call.get(EXECUTABLE),
    )
    return told(telling.written(call.sandbox.name, written))


class AbandonedJson(TypedDict):
    """The end of an upload."""

    abandoned: bool


ABANDON = Operation(
    ("DELETE",), _PLACE, "abandon_parts", OP, Scope.WRITE, "Give an upload up", "What has arrived is removed.",
    {200: Answer("Removed, if there was anything.", json_of(AbandonedJson, {"abandoned": True}))}, errors=_CHANGES,
)  # fmt: skip


@ROUTES.add(ABANDON)
async def abandon(call: Call) -> Response:
    await call.sandbox.uploads.abandon(call.path, _token(call))
    return told({"abandoned": True})


def _token(call: Call) -> str:
    token: str = call.request.path_params["token"]
    return token
