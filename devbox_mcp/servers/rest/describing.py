"""The headers that tell a version of a file."""

from __future__ import annotations

import json
import mimetypes
from urllib.parse import quote_from_bytes

from devbox_mcp.backends import told
from devbox_mcp.models import FileInfo
from devbox_mcp.paths import SandboxPath
from devbox_mcp.servers.rest.conditions import Tag, last_modified

RawHeaders = list[tuple[bytes, bytes]]


def tag_of(info: FileInfo) -> Tag:
    """Return a version's entity tag: its hash, or where that is not known its revision, weakly."""
    return Tag(info.revision, weak=True) if info.sha256 is None else Tag(info.sha256)


def media_type(path: SandboxPath) -> str:
    """Return what a file is by its name."""
    kind, packed = mimetypes.guess_type(path.name)
    if packed is not None:
        return "application/gzip" if packed == "gzip" else "application/octet-stream"
    return kind or "application/octet-stream"


def headers_of(devbox: str, path: SandboxPath, info: FileInfo, *, download: bool) -> RawHeaders:
    """Return the headers of an answer with a file's bytes, without their length."""
    about = json.dumps(told.info(devbox, info), separators=(",", ":"))
    headers = [
        (b"etag", str(tag_of(info)).encode("ascii")),
        (b"last-modified", last_modified(info.modified).encode("ascii")),
        (b"accept-ranges", b"bytes"),
        (b"content-type", media_type(path).encode("ascii")),
        (b"x-devbox-info", about.encode("ascii")),
        # what lies in a sandbox is not to act in the name of this server in a browser
        (b"content-security-policy", b"sandbox"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if download:
        headers.append((b"content-disposition", _attachment(path)))
    return headers


def _attachment(path: SandboxPath) -> bytes:
    name = quote_from_bytes(path.name.encode("utf-8", "replace"), safe="")
    return f"attachment; filename*=UTF-8''{name}".encode("ascii")
