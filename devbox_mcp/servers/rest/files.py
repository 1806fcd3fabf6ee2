"""The bytes of files: read, written, appended to, deleted."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace

from starlette.responses import Response

from devbox_mcp.backends import told as telling
from devbox_mcp.callers import Scope
from devbox_mcp.errors import Conflict, Exists, InvalidArgument, IsDirectory, Unsupported
from devbox_mcp.models import Content, FileInfo, WriteMode
from devbox_mcp.servers.access.fields import require_whole
from devbox_mcp.servers.outgoing import Stream
from devbox_mcp.servers.rest import conditions, incoming, ranges
from devbox_mcp.servers.rest.calls import Bytes, Call, told
from devbox_mcp.servers.rest.describing import headers_of, tag_of
from devbox_mcp.servers.rest.failures import HttpFailure, RangeNotSatisfiable
from devbox_mcp.servers.rest.operations import Answer, Body, Header, Operation, Routes, json_of
from devbox_mcp.servers.rest.parameters import Flag
from devbox_mcp.servers.rest.preconditions import Preconditions

ROUTES = Routes("files")

DOWNLOAD = Flag("download", "Have a browser save it instead of showing it.", False)
EXECUTABLE: Flag[bool | None] = Flag("executable", "Set or clear the executable bits.", None)
IN_PLACE = Flag("in_place", "Keep the inode, and so hard links; the write is then not atomic.", False)
RECURSIVE = Flag("recursive", "Delete a directory with everything in it.", False)

_BYTES = Body({"application/octet-stream": None}, "The file's bytes.")
_VERSION = (
    Header("ETag", "The content's sha256 in quotes; weak where the file is too large to hash."),
    Header("Last-Modified", "When the content was last changed."),
    Header("X-Devbox-Info", "The file's FileInfo as ASCII JSON."),
)
_IF_MATCH = Header("If-Match", "Only this version: its sha256, or 12 hex digits and more of it, in quotes.")
_UNMODIFIED = Header("If-Unmodified-Since", "Only if it was not changed since; of less use, as it counts in seconds.")
_CHANGES = ("read_only", "escapes_root", "permission_denied", "denied", "conflict", "no_space", "busy")

READ = Operation(
    ("GET", "HEAD"),
    "/files/{path}",
    "read",
    "read",
    Scope.READ,
    "Read a file",
    "The bytes, all of one version. Should the file be changed in place meanwhile, the connection breaks. One range is "
    "answered with 206, several with the whole.",
    {
        200: Answer("The whole file.", _BYTES, (*_VERSION, Header("Accept-Ranges", "bytes"))),
        206: Answer("The range.", _BYTES, (*_VERSION, Header("Content-Range", "What of it this is."))),
        304: Answer("The version is the one that If-None-Match or If-Modified-Since names."),
    },
    (DOWNLOAD,),
    (
        Header("Range", "Bytes of the file.", "bytes=0-1023"),
        Header("If-Range", "The range only of this version; otherwise the whole."),
        Header("If-None-Match", "304 if it still is this version."),
        Header("If-Modified-Since", "304 if it was not changed since."),
        _IF_MATCH,
        _UNMODIFIED,
    ),
    errors=("is_directory", "not_directory", "conflict", "range_not_satisfiable", "unsupported", "escapes_root"),
)


@ROUTES.add(READ)
async def read(call: Call) -> Response:
    if call.request.method == "GET" and "range" not in call.headers:
        content = await call.sandbox.read_bytes(call.path)
        if content.info.size <= incoming.SMALL:
            return await _small(call, content)
        known = call.service.versions.known(call.sandbox, content.info)
        if known is not None:
            return await _large(call, replace(content.info, sha256=known), content)
        await content.aclose()
        return await _large(call, content.info)
    info = await call.sandbox.stat(call.path)
    _require_file(call, info)
    if call.request.method == "GET" and info.size <= incoming.SMALL:
        return await _small(call, await call.sandbox.read_bytes(call.path))
    return await _large(call, info)


def _require_file(call: Call, info: FileInfo) -> None:
    if info.type == "directory":
        raise IsDirectory("read", call.path.text)
    if info.type != "file":
        raise Unsupported("read", call.path.text, f"this is a {info.type}, not a regular file")


async def _small(call: Call, content: Content) -> Response:
    """Answer with a file that is read as a whole, whatever of it is asked for."""
    data = await content.read()
    info = replace(content.info, sha256=hashlib.sha256(data).hexdigest())
    span = _span(call, info)
    if isinstance(span, Response):
        return span
    headers = headers_of(call.sandbox.name, call.path, info, download=call.get(DOWNLOAD))
    if span is not None:
        data = data[span.first : span.first + span.length]
        headers.append((b"content-range", span.of(info.size).encode("ascii")))
    headers.append((b"content-length", b"%d" % len(data)))
    return Bytes(200 if span is None else 206, headers, data)


async def _large(call: Call, info: FileInfo, content: Content | None = None) -> Response:
    """Answer with a file that is streamed. What is sent is of the version that the entity tag names."""
    for hashing in (True, True, False):
        if hashing:
            info = await _hashed(call, info)
        span = _span(call, info)
        if isinstance(span, Response):
            if content is not None:
                await content.aclose()
            return span
        if call.request.method == "HEAD":
            break
        if content is None:
            first, length = (0, None) if span is None else (span.first, span.length)
            content = await call.sandbox.read_bytes(call.path, offset=first, length=length)
        if content.info.revision == info.revision:
            break
        if not hashing and (span is None or span.first + span.length <= content.info.size):
            # it is changed faster than it can be hashed: this version then, without its hash
            info = content.info
            break
        await content.aclose()
        info, content = content.info, None
    else:
        raise Conflict("read", call.path.text, "the file is changed again and again", hint="read it again")
    headers = headers_of(call.sandbox.name, call.path, info, download=call.get(DOWNLOAD))
    if span is not None:
        headers.append((b"content-range", span.of(info.size).encode("ascii")))
    headers.append((b"content-length", b"%d" % (info.size if span is None else span.length)))
    status = 200 if span is None else 206
    return Bytes(status, headers) if content is None else Stream(status, headers, content.chunks)


async def _hashed(call: Call, info: FileInfo) -> FileInfo:
    """Return the info with its hash where the file is not too large for that; perhaps of a later version."""
    if info.sha256 is not None or info.size > call.limits.transfer:
        return info
    known = call.service.versions.known(call.sandbox, info)
    if known is not None:
        return replace(info, sha256=known)
    return await call.service.versions.hashed(call.sandbox, info)


def _span(call: Call, info: FileInfo) -> ranges.Span | Response | None:
    """Return the range to send, None for the whole; or the answer where no bytes are to be sent."""
    tag = tag_of(info)
    try:
        status = conditions.unmet(call.headers, tag, info.modified)
    except ValueError as error:
        raise InvalidArgument("read", call.path.text, str(error)) from None
    if status == 412:
        raise Conflict("read", call.path.text, "the file is another version", sha256=info.sha256)
    if status == 304:
        keep = (b"etag", b"last-modified", b"x-devbox-info")
        headers = headers_of(call.sandbox.name, call.path, info, download=False)
        return Bytes(304, [header for header in headers if header[0] in keep])
    if call.request.method != "GET" or not conditions.same_for_range(call.headers, tag, info.modified):
        return None
    try:
        return ranges.wanted(call.headers.get("range"), info.size)
    except ranges.Unsatisfiable:
        raise HttpFailure(
            RangeNotSatisfiable("read", call.path.text, f"the file has {info.size} bytes"),
            headers={"Content-Range": f"bytes */{info.size}", "ETag": str(tag)},
        ) from None


_WRITTEN = {
    200: Answer("Replaced.", json_of(telling.WrittenJson), _VERSION[:1]),
    201: Answer("A new file.", json_of(telling.WrittenJson), _VERSION[:1]),
}
_EXAMPLE = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"
_DIGESTS = (
    Header("Content-Digest", "Checked before the file is replaced: 422 for another body.", _EXAMPLE),
    Header("Repr-Digest", "As Content-Digest."),
)

WRITE = Operation(
    ("PUT",),
    "/files/{path}",
    "write",
    "write",
    Scope.WRITE,
    "Write a file",
    "The body becomes the file, atomically, and missing parents are made. A body that breaks off leaves the old file.",
    _WRITTEN,
    (EXECUTABLE, IN_PLACE),
    (_IF_MATCH, Header("If-None-Match", "`*`: only if nothing is there.", "*"), _UNMODIFIED, *_DIGESTS),
    Body({"application/octet-stream": None, "*/*": None}, "The file's new bytes, of any media type."),
    (*_CHANGES, "is_directory", "not_directory", "too_large", "integrity", "cancelled"),
)


@ROUTES.add(WRITE)
async def write(call: Call) -> Response:
    return await _write(call, "overwrite")


APPEND = Operation(
    ("PATCH",),
    "/files/{path}",
    "append",
    "write",
    Scope.WRITE,
    "Append to a file",
    "The body is added at the end, atomically; a file that is not there is made.",
    _WRITTEN,
    (EXECUTABLE, IN_PLACE),
    (_IF_MATCH, _UNMODIFIED, *_DIGESTS),
    _BYTES,
    (*_CHANGES, "is_directory", "not_directory", "too_large", "integrity", "cancelled"),
)


@ROUTES.add(APPEND)
async def append(call: Call) -> Response:
    incoming.require_type(call.request, "write", call.path.text, "application/octet-stream")
    return await _write(call, "append")


async def _write(call: Call, mode: WriteMode) -> Response:
    path = call.path
    call.sandbox.require("write", path, Scope.WRITE)
    whole = "send the whole file, PATCH to append, or use a resumable upload"
    require_whole(call.headers, path.text, hint=whole)
    wanted = await Preconditions.of(call)
    digest = incoming.Digest.of(call.headers, "write", path.text)
    stream = incoming.without_trailer(call.request, "write", path.text, call.limits.file)
    body: bytes | AsyncIterator[bytes] = await incoming.small_or_stream(call.request, stream)
    if digest is not None:
        if isinstance(body, bytes):
            digest.check(body, "write", path.text)
        else:
            body = digest.checked(body, "write", path.text)
    try:
        done = await call.sandbox.write(
            path,
            body,
            mode="create" if wanted.create else mode,
            if_match=wanted.if_match,
            executable=call.get(EXECUTABLE),
            in_place=call.get(IN_PLACE),
        )
    except Exists as error:
        # what If-None-Match asks for is a condition, and HTTP has a status for those
        raise HttpFailure(error, status=412 if wanted.create else None) from None
    return told(
        telling.written(call.sandbox.name, done),
        201 if done.created else 200,
        (b"etag", str(tag_of(done.info)).encode("ascii")),
    )


DELETE = Operation(
    ("DELETE",),
    "/files/{path}",
    "delete",
    "delete",
    Scope.WRITE,
    "Delete a file, a link or a directory",
    "A link goes itself, never what it leads to.",
    {200: Answer("How many entries went.", json_of(telling.DeletedJson, {"deleted": 1}))},
    (RECURSIVE,),
    (_IF_MATCH, _UNMODIFIED),
    errors=(*_CHANGES, "not_empty"),
)


@ROUTES.add(DELETE)
async def delete(call: Call) -> Response:
    wanted = await Preconditions.of(call)
    if wanted.create:
        raise InvalidArgument("delete", call.path.text, "If-None-Match: * is met by nothing that can be deleted")
    await incoming.no_body(call.request, "delete", call.path.text)
    count = await call.sandbox.delete(call.path, recursive=call.get(RECURSIVE), if_match=wanted.if_match)
    return told({"deleted": count})
