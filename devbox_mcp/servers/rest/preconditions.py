"""The conditions of a change, as the backends know them: the version that must be there, or nothing."""

from __future__ import annotations

from dataclasses import dataclass

from devbox_mcp.errors import Conflict, InvalidArgument, NotFound
from devbox_mcp.models import FileInfo
from devbox_mcp.servers.rest import conditions
from devbox_mcp.servers.rest.calls import Call
from devbox_mcp.servers.rest.conditions import ANY
from devbox_mcp.servers.rest.describing import tag_of


@dataclass(frozen=True, slots=True)
class Preconditions:
    """``if_match`` is a sha256 or its beginning; ``create``: nothing may be there."""

    if_match: str | None = None
    create: bool = False

    @classmethod
    async def of(cls, call: Call) -> Preconditions:
        """Read the headers, and look at what is there where the backend could not. Raises InvalidArgument, and
        Conflict where a condition is not met already."""
        headers = call.headers
        wanted, unless = headers.get("if-match"), headers.get("if-none-match")
        until = conditions.date(headers.get("if-unmodified-since")) if wanted is None else None
        if wanted is None and unless is None and until is None:
            return _NONE
        try:
            listed = None if wanted is None else conditions.tags(wanted)
            refused = None if unless is None else conditions.tags(unless)
        except ValueError as error:
            raise InvalidArgument(call.op, call.path.text, str(error)) from None
        if refused is ANY:
            if listed is not None:
                raise InvalidArgument(call.op, call.path.text, "If-Match and If-None-Match: * cannot both be met")
            return cls(create=True)
        if listed and len(listed) == 1 and not listed[0].weak and refused is None:
            return cls(if_match=listed[0].text)
        return cls(if_match=await _looked_at(call, listed, refused or (), until))


_NONE = Preconditions()


async def _looked_at(
    call: Call,
    listed: tuple[conditions.Tag, ...] | None,
    refused: tuple[conditions.Tag, ...],
    until: float | None,
) -> str | None:
    """Return the version that is there, if it is one of those that may be, and not from after ``until``; None for
    nothing where that is right."""
    try:
        info: FileInfo | None = await call.sandbox.stat(call.path, sha256=True)
    except NotFound:
        info = None
    if info is not None and conditions.changed_after(until, info.modified):
        raise Conflict(call.op, call.path.text, "it was changed after If-Unmodified-Since", sha256=info.sha256)
    if info is None or info.sha256 is None:
        if listed is None:
            return None
        if info is None or listed is not ANY:
            raise Conflict(call.op, call.path.text, "there is no such version", sha256=None)
        return None
    tag = tag_of(info)
    if (listed and not any(one.names(tag) for one in listed)) or any(one.text == tag.text for one in refused):
        raise Conflict(call.op, call.path.text, "the file is another version", sha256=info.sha256)
    return info.sha256
