"""Uploads that can be resumed: tus 1.0 (https://tus.io/protocols/resumable-upload).

What has arrived lies in the sandbox and the address says the rest, so any replica goes on with any upload.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from email.utils import formatdate
from functools import wraps
from typing import NamedTuple

from starlette.responses import Response

from devbox_mcp.callers import Scope
from devbox_mcp.errors import Conflict, DevboxError, Integrity, InvalidArgument, NotFound, TooLarge, Unsupported
from devbox_mcp.models import Capability
from devbox_mcp.servers.rest import incoming, tickets
from devbox_mcp.servers.rest.calls import Bytes, Call
from devbox_mcp.servers.rest.failures import HttpFailure
from devbox_mcp.servers.rest.operations import Answer, Body, Handler, Header, Operation, Routes
from devbox_mcp.servers.rest.tickets import OP, Checksum, Ticket

ROUTES = Routes("resumable uploads")

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,termination,checksum,expiration"
_CONTENT = "application/offset+octet-stream"
#: Seconds that an upload is kept which nobody adds to; the sandbox sweeps no sooner.
_KEPT = 24 * 3600
_OVERRIDE = "x-http-method-override"

_PART = Body({_CONTENT: None}, "Bytes of the file, from the offset on.", required=False)
_RESUMABLE = Header("Tus-Resumable", "The version of the protocol.", VERSION)
_CHECKSUM = Header("Upload-Checksum", "The part's sha1 or sha256: the algorithm, a space, base64.")
_OFFSET = Header("Upload-Offset", "How many bytes have arrived.")
_EXPIRES = Header("Upload-Expires", "Until when it is kept, if nobody adds to it.")
_ETAG = Header("ETag", "The file's sha256, where it is complete.")
#: Another version of the protocol, and an upload that another request is adding to.
_STATUSES = {412: "invalid_argument", 423: "busy"}
_FINISHING = (
    "conflict",
    "exists",
    "integrity",
    "read_only",
    "denied",
    "escapes_root",
    "no_space",
    "busy",
    "unsupported",
)

DISCOVER = Operation(
    ("OPTIONS",),
    "/uploads",
    "discover_uploads",
    OP,
    None,
    "What of tus is spoken",
    "The version, the extensions and the largest file, as headers.",
    {204: Answer("Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm.")},
    errors=("unsupported",),
)
CREATE = Operation(
    ("POST",),
    "/uploads",
    "create_upload",
    OP,
    Scope.WRITE,
    "Begin a resumable upload",
    "Upload-Metadata names the file as path (or filename); mode (overwrite, create), if_match, executable and sha256 "
    "(of the whole) if wanted. The body may be the file's first bytes. An empty file is complete with this.",
    {201: Answer("Begun.", headers=(Header("Location", "The upload's address."), _OFFSET, _EXPIRES, _ETAG))},
    headers=(
        _RESUMABLE,
        Header("Upload-Length", "The file's bytes."),
        Header("Upload-Metadata", "Pairs of a name and a value in base64, separated by commas."),
        _CHECKSUM,
    ),
    body=_PART,
    errors=(*_FINISHING, "too_large"),
    statuses=_STATUSES,
)
LOOK = Operation(
    ("HEAD",),
    "/uploads/{upload}",
    "look_at_upload",
    OP,
    Scope.WRITE,
    "How much has arrived",
    "Where all of it has arrived, and the last answer got lost on its way, this makes it the file.",
    {200: Answer("How much.", headers=(_OFFSET, Header("Upload-Length", "The file's bytes."), _ETAG))},
    headers=(_RESUMABLE,),
    errors=_FINISHING,
    statuses=_STATUSES,
)
ADD = Operation(
    ("PATCH",),
    "/uploads/{upload}",
    "add_to_upload",
    OP,
    Scope.WRITE,
    "Add a part",
    "The last byte makes it the file, atomically. If the connection breaks, what had arrived stays; of a part with a "
    "checksum nothing does. 409 tells the offset in data.size, 460 is for a part that has not its checksum.",
    {204: Answer("Added.", headers=(_OFFSET, _EXPIRES, _ETAG))},
    headers=(_RESUMABLE, Header("Upload-Offset", "How many bytes have arrived before this part."), _CHECKSUM),
    body=_PART,
    errors=(*_FINISHING, "too_large"),
    statuses=_STATUSES,
)
END = Operation(
    ("DELETE",),
    "/uploads/{upload}",
    "end_upload",
    OP,
    Scope.WRITE,
    "Give an upload up",
    "What has arrived is removed.",
    {204: Answer("Removed.")},
    headers=(_RESUMABLE,),
    errors=("read_only", "unsupported", "invalid_argument"),
    statuses={412: "invalid_argument"},
)
INSTEAD = Operation(
    ("POST",),
    "/uploads/{upload}",
    "upload_by_post",
    OP,
    Scope.WRITE,
    "HEAD, PATCH or DELETE, for clients that cannot send them",
    "X-HTTP-Method-Override tells which one is meant.",
    {200: Answer("As for HEAD."), 204: Answer("As for PATCH or DELETE.")},
    headers=(_RESUMABLE, Header("X-HTTP-Method-Override", "HEAD, PATCH or DELETE."), Header("Upload-Offset", "")),
    body=_PART,
    errors=(*_FINISHING, "too_large"),
    statuses=_STATUSES,
)


class Standing(NamedTuple):
    """How much has arrived; the file's hash where it is complete."""

    size: int
    sha256: str | None = None


def _resumable(handler: Handler) -> Handler:
    """Let a handler speak the protocol: its version is asked for and told, in errors too."""

    @wraps(handler)
    async def handle(call: Call) -> Response:
        try:
            _require_version(call)
            _require_uploads(call)
            return await handler(call)
        except HttpFailure as failure:
            failure.headers["Tus-Resumable"] = VERSION
            raise
        except DevboxError as error:
            raise HttpFailure(error, _status(error), {"Tus-Resumable": VERSION}) from error

    return handle


def _status(error: DevboxError) -> int | None:
    """Return the status that the protocol has for an error, None where it has none of its own."""
    if error.code == "busy":
        return 423
    return 409 if isinstance(error, Conflict) and "size" in error.data else None


def _require_version(call: Call) -> None:
    if call.headers.get("tus-resumable") != VERSION:
        detail = f"Tus-Resumable is not {VERSION}"
        raise HttpFailure(InvalidArgument(OP, ".", detail), 412, {"Tus-Version": VERSION})


def _require_length(call: Call, path: str, length: int) -> None:
    if length > call.limits.file:
        raise TooLarge(
            OP,
            path,
            f"{length} bytes are more than the largest file allowed, {call.limits.file}",
            hint="split it into several files, or have the operator raise --max-file-size",
            limit=call.limits.file,
        )


def _require_uploads(call: Call) -> None:
    if Capability.UPLOAD not in call.sandbox.capabilities:
        raise Unsupported(
            OP,
            ".",
            "uploads that can be resumed need Python in the sandbox, and there is none",
            hint="PUT files/{path} writes a file in one request",
        )


@ROUTES.add(DISCOVER)
async def discover(call: Call) -> Response:
    _require_uploads(call)
    return _answer(
        204,
        ("Tus-Version", VERSION),
        ("Tus-Extension", EXTENSIONS),
        ("Tus-Max-Size", str(call.limits.file)),
        ("Tus-Checksum-Algorithm", ",".join(tickets.ALGORITHMS)),
    )


@ROUTES.add(CREATE)
@_resumable
async def create(call: Call) -> Response:
    if "upload-defer-length" in call.headers or "upload-concat" in call.headers:
        raise InvalidArgument(
            OP, ".", "Upload-Defer-Length and Upload-Concat are not spoken", hint="send Upload-Length"
        )
    length = tickets.number(call.headers.get("upload-length"), "Upload-Length")
    wishes = tickets.wishes(call.headers.get("upload-metadata", ""))
    path = await call.named(wishes.path)
    _require_length(call, path.text, length)
    ticket = Ticket(path.text, secrets.token_hex(8), length, **wishes.options)
    with_part = incoming.media_type(call.request) == _CONTENT
    if not with_part and _has_body(call):
        incoming.require_type(call.request, OP, path.text, _CONTENT)
    await call.sandbox.uploads.begin(path, ticket.token, mode=ticket.mode, if_match=ticket.if_match)
    try:
        standing = await (_add(call, ticket, 0) if with_part else _grown(call, ticket, 0))
    except BaseException:
        # nobody was told the address
        with suppress(DevboxError):
            await call.sandbox.uploads.abandon(path, ticket.token)
        raise
    # relative, for a proxy may have put this address beneath another
    location = f"uploads/{ticket.encode()}"
    return _answer(201, ("Location", location), ("Content-Length", "0"), *_told(standing))


@ROUTES.add(LOOK)
@_resumable
async def look(call: Call) -> Response:
    ticket = _ticket(call)
    try:
        standing = await _grown(call, ticket, await call.sandbox.uploads.size(ticket.place, ticket.token))
    except NotFound:
        standing = await _finished(call, ticket)
    headers = _told(standing, expires=False)
    return _answer(200, ("Upload-Length", str(ticket.length)), ("Cache-Control", "no-store"), *headers)


@ROUTES.add(ADD)
@_resumable
async def add(call: Call) -> Response:
    ticket = _ticket(call)
    incoming.require_type(call.request, OP, ticket.path, _CONTENT)
    offset = tickets.number(call.headers.get("upload-offset"), "Upload-Offset")
    try:
        standing = await _add(call, ticket, offset)
    except NotFound:
        if offset != ticket.length:
            raise
        standing = await _finished(call, ticket)
    return _answer(204, *_told(standing))


@ROUTES.add(END)
@_resumable
async def end(call: Call) -> Response:
    ticket = _ticket(call)
    await call.sandbox.uploads.size(ticket.place, ticket.token)
    await call.sandbox.uploads.abandon(ticket.place, ticket.token)
    return _answer(204)


@ROUTES.add(INSTEAD)
async def instead(call: Call) -> Response:
    meant: dict[str, Callable[[Call], Awaitable[Response]]] = {"HEAD": look, "PATCH": add, "DELETE": end}
    handler = meant.get(call.headers.get(_OVERRIDE, "").upper())
    if handler is None:
        raise InvalidArgument(OP, ".", f"POST to an upload needs X-HTTP-Method-Override: {', '.join(meant)}")
    return await handler(call)


async def _add(call: Call, ticket: Ticket, offset: int) -> Standing:
    """Add the body; the upload becomes the file when that was the last of it."""
    # the address says the length, and anybody can write an address
    _require_length(call, ticket.path, ticket.length)
    checksum = call.headers.get("upload-checksum")
    # looked at now, or a body that is refused anyway would be read first
    checked = None if checksum is None else Checksum(checksum)
    body: AsyncIterator[bytes] = incoming.pieces(call.request, OP, ticket.path, max(ticket.length - offset, 0))
    if checked is None:
        size = await call.sandbox.uploads.add(ticket.place, ticket.token, offset, body)
        return await _grown(call, ticket, size)
    body = checked.checked(body, ticket.path)
    try:
        size = await call.sandbox.uploads.add(ticket.place, ticket.token, offset, body, whole=True)
    except Integrity as error:
        raise HttpFailure(error, 460) from error
    return await _grown(call, ticket, size)


async def _grown(call: Call, ticket: Ticket, size: int) -> Standing:
    """Finish an upload of which all has arrived."""
    if size < ticket.length:
        return Standing(size)
    written = await call.sandbox.uploads.finish(
        ticket.place,
        ticket.token,
        ticket.length,
        sha256=ticket.sha256,
        mode=ticket.mode,
        if_match=ticket.if_match,
        executable=ticket.executable,
    )
    return Standing(ticket.length, written.info.sha256)


async def _finished(call: Call, ticket: Ticket) -> Standing:
    """Look whether an upload that is gone has become the file: its last answer may have got lost. That can be known
    only where the sender told the sha256. Raises NotFound."""
    gone = NotFound(OP, ticket.path, "the upload is gone", hint="begin again with POST uploads")
    if ticket.sha256 is None:
        raise gone
    try:
        info = await call.sandbox.stat(ticket.place, sha256=True)
    except NotFound:
        raise gone from None
    if info.sha256 != ticket.sha256:
        raise gone
    return Standing(ticket.length, info.sha256)


def _ticket(call: Call) -> Ticket:
    encoded: str = call.request.path_params["upload"]
    return Ticket.decode(encoded)


def _has_body(call: Call) -> bool:
    return call.headers.get("content-length", "0") != "0" or "transfer-encoding" in call.headers


def _told(standing: Standing, *, expires: bool = True) -> list[tuple[str, str]]:
    headers = [("Upload-Offset", str(standing.size))]
    if standing.sha256 is not None:
        headers.append(("ETag", f'"{standing.sha256}"'))
    elif expires:
        headers.append(("Upload-Expires", formatdate(time.time() + _KEPT, usegmt=True)))
    return headers


def _answer(status: int, *headers: tuple[str, str]) -> Response:
    every = (("Tus-Resumable", VERSION), *headers)
    return Bytes(status, [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in every])
