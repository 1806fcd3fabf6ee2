"""Tool results as a model reads them: few tokens, and always the way to go on."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import mcp_types as types
from pydantic import BaseModel

from devbox_mcp.errors import Conflict, DevboxError

SHORT_HASH = 12


def short(sha256: str | None) -> str:
    """Return the part of a hash that results show; ``if_match`` takes it."""
    return "unknown" if sha256 is None else sha256[:SHORT_HASH]


def when(seconds: float) -> str:
    """Return a time in UTC, to the second, in ISO 8601; what no calendar holds as seconds since 1970."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.0f} s"


def text_block(text: str) -> types.TextContent:
    """Return a text block."""
    return types.TextContent(text=text)


def shown(*blocks: types.ContentBlock) -> types.CallToolResult:
    """Return a result that has no structured form."""
    return types.CallToolResult(content=list(blocks))


def answered(text: str, structured: BaseModel) -> types.CallToolResult:
    """Return a result that says the same in text and in structured form."""
    return types.CallToolResult(
        content=[text_block(text)], structured_content=structured.model_dump(mode="json", exclude_none=True)
    )


def failure(text: str) -> types.CallToolResult:
    """Return an error result."""
    return types.CallToolResult(content=[text_block(text)], is_error=True)


def error_result(error: DevboxError) -> types.CallToolResult:
    """Render an error: what happened, to which path, what to do next; a conflict with what is there now."""
    text = str(error)
    if isinstance(error, Conflict):
        current = error.data.get("sha256")
        if isinstance(current, str):
            text += f"\nif_match of what is there now: {short(current)}"
        if error.data.get("diff"):
            text += f"\nFrom what is there now to what you sent:\n{error.data['diff']}"
    return failure(text)


def blob(uri: str, mime_type: str, data: bytes) -> types.EmbeddedResource:
    """Return bytes embedded in a result."""
    return types.EmbeddedResource(
        resource=types.BlobResourceContents(uri=uri, mime_type=mime_type, blob=base64.b64encode(data).decode("ascii"))
    )


def notes(parts: Sequence[str]) -> str:
    """Return the line of facts that stands below a result."""
    return "[" + " · ".join(part for part in parts if part) + "]"


def columns(rows: Sequence[Sequence[Any]]) -> str:
    """Return rows as lines of tab-separated cells."""
    return "\n".join("\t".join(str(cell) for cell in row) for row in rows)
