"""Signed URLs on request: for bytes that should go to a browser, a shell or a worker by themselves."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from devbox_mcp.callers import Scope
from devbox_mcp.errors import InvalidArgument
from devbox_mcp.servers.access.metadata import base_url
from devbox_mcp.servers.access.signing import DEFAULT_SECONDS, LONGEST_SECONDS, ArchiveKind, Method, Target, UrlSigner
from devbox_mcp.servers.rest.calls import Call, told
from devbox_mcp.servers.rest.incoming import json_body
from devbox_mcp.servers.rest.operations import Answer, Operation, Routes, json_of

ROUTES = Routes("signed URLs")

_LARGEST_BODY = 64 * 1024


class Wanted(BaseModel):
    """A file to read or to write, or what an archive is made of."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    method: Annotated[Method, Field(description="GET allows HEAD as well; a PUT counts once.")] = "GET"
    path: Annotated[str | None, Field(description="The file.")] = None
    paths: Annotated[list[str] | None, Field(description="Instead of path: what goes into an archive.")] = None
    format: Annotated[ArchiveKind, Field(description="The archive's kind.")] = "zip"
    download: Annotated[bool, Field(description="Browsers save the file rather than show it.")] = False
    expires_in: Annotated[int, Field(description="Seconds.", ge=1, le=LONGEST_SECONDS)] = DEFAULT_SECONDS


class Made(BaseModel):
    """A signed URL; ``expires`` in seconds since 1970."""

    url: str
    method: Method
    expires: int


SIGN = Operation(
    ("POST",), "/signed-urls", "sign_url", "sign_url", Scope.READ, "Make a URL that opens by itself",
    "Whoever has the URL may do this one thing with it, for 15 minutes unless `expires_in` says otherwise. It has no "
    "more rights than whoever asks for it, and loses them with their key. A PUT needs the scope `write`.",
    {201: Answer("The URL.", json_of(Made))},
    body=json_of(Wanted, {"method": "GET", "path": "report.pdf", "expires_in": 600}),
    errors=("escapes_root",),
)  # fmt: skip


@ROUTES.add(SIGN)
async def sign_url(call: Call) -> Response:
    wanted = await json_body(call.request, "sign_url", Wanted, _LARGEST_BODY)
    signer: UrlSigner = call.request.scope["app"].state.signer
    url = await signer.sign(
        call.caller,
        call.sandbox.name,
        await _target(call, wanted),
        # the configured address comes first; a proxy may have changed this one
        origin=base_url(call.request.scope, None),
        expires_in=wanted.expires_in,
    )
    return told(Made(url=url.url, method=url.method, expires=url.expires).model_dump(), 201)


async def _target(call: Call, wanted: Wanted) -> Target:
    if (wanted.path is None) == (wanted.paths is None):
        raise InvalidArgument("sign_url", ".", "either path or paths is needed, and not both")
    if wanted.path is not None:
        return Target.file(wanted.method, await call.named(wanted.path), download=wanted.download)
    if wanted.method != "GET":
        raise InvalidArgument("sign_url", ".", "an archive can only be read", hint="PUT one path")
    return Target.archive([await call.named(path) for path in wanted.paths or ()], wanted.format)
