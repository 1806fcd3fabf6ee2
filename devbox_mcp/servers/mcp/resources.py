"""Files as resources: ``devbox://{devbox}/{path}``, whole or in pieces, and completion of both variables."""

from __future__ import annotations

import base64
import codecs
import re
from urllib.parse import parse_qs

import mcp_types as types

from devbox_mcp import text as texts
from devbox_mcp.errors import DevboxError, InvalidArgument, TooLarge
from devbox_mcp.paths import ROOT, SandboxPath, decoded, split_uri
from devbox_mcp.sandbox import Sandbox
from devbox_mcp.sandboxes import Sandboxes
from devbox_mcp.servers.mcp.zips import ZipStore

TEMPLATE = types.ResourceTemplate(
    uri_template="devbox://{devbox}/{+path}{?offset,length}",
    name="file",
    title="File in a devbox",
    description="A file beneath a devbox's root. Big files are read in pieces: ?offset=0&length=262144 (bytes).",
)
_MOST_COMPLETIONS = 100
_BYTES = re.compile(r"[0-9]{1,18}")


def link(sandbox: Sandbox, path: SandboxPath, mime_type: str, size: int) -> types.ResourceLink:
    """Return a link to a file that is too big to embed, which says how to read it."""
    piece = sandbox.limits.inline
    return types.ResourceLink(
        uri=path.uri(sandbox.name),
        name=path.name,
        mime_type=mime_type,
        size=size,
        description=f"{size} bytes; read it in pieces: append ?offset=0&length={piece}, then offset={piece}, …",
    )


async def read(sandboxes: Sandboxes, zips: ZipStore, uri: str) -> types.ReadResourceResult:
    """Answer resources/read for a file or a piece of a zip that was kept for the caller. Raises DevboxError."""
    bare, offset, length = _split_query(uri)
    if zips.owns(bare):
        data = await zips.read(sandboxes.caller.name, bare, offset or 0, length)
        return _bytes(uri, "application/zip", data)
    if split_uri(bare) is None:
        raise InvalidArgument("read", uri, "this is no devbox:// URI")
    sandbox, path = await sandboxes.resolve(None, bare, "read")
    info = await sandbox.stat(path)
    size = info.size
    if length is None and size - (offset or 0) > sandbox.limits.inline and info.type == "file":
        raise TooLarge(
            "read",
            path.text,
            f"{size} bytes are more than the {sandbox.limits.inline} that one answer holds",
            hint=f"read it in pieces: {path.uri(sandbox.name)}?offset=0&length={sandbox.limits.inline}",
        )
    if length is not None and length > sandbox.limits.inline:
        raise TooLarge("read", path.text, f"a piece is at most {sandbox.limits.inline} bytes")
    if info.type == "directory":
        return await _directory(sandbox, path, uri)
    # limited all the same, for the file may have grown since it was looked at
    piece = sandbox.limits.inline if length is None else length
    data = await (await sandbox.read_bytes(path, offset=offset or 0, length=piece)).read()
    mime_type = texts.mime_type(path.name, data[:512] if not offset else b"")
    text = texts.decode(data) if offset is None and length is None else None
    if text is None:
        return _bytes(uri, mime_type, data)
    # exact, with the byte order mark that read_file leaves out
    mark = "\ufeff" if data.startswith(codecs.BOM_UTF8) else ""
    contents = types.TextResourceContents(uri=uri, mime_type=mime_type, text=mark + text)
    return types.ReadResourceResult(contents=[contents])


def _bytes(uri: str, mime_type: str, data: bytes) -> types.ReadResourceResult:
    encoded = base64.b64encode(data).decode("ascii")
    contents = types.BlobResourceContents(uri=uri, mime_type=mime_type, blob=encoded)
    return types.ReadResourceResult(contents=[contents])


async def _directory(sandbox: Sandbox, path: SandboxPath, uri: str) -> types.ReadResourceResult:
    """Show a directory as the URIs of its entries, one a line."""
    page = await sandbox.list(path, limit=sandbox.limits.page_most)
    lines = [entry.path.uri(sandbox.name) + ("/" if entry.type == "directory" else "") for entry in page.entries]
    if page.after is not None:
        lines.append(f"# the first {len(lines)} entries; list_dir pages through the rest")
    contents = types.TextResourceContents(uri=uri, mime_type="text/uri-list", text="\n".join(lines))
    return types.ReadResourceResult(contents=[contents])


def _split_query(uri: str) -> tuple[str, int | None, int | None]:
    bare, _, query = uri.partition("?")
    values = parse_qs(query, keep_blank_values=True)
    numbers: dict[str, int | None] = {"offset": None, "length": None}
    for name, given in values.items():
        if name not in numbers or len(given) != 1 or not _BYTES.fullmatch(given[0]):
            raise InvalidArgument("read", bare, f"bad query {name!r}", hint="use ?offset=BYTES&length=BYTES")
        numbers[name] = int(given[0])
    return bare, numbers["offset"], numbers["length"]


async def listed(sandboxes: Sandboxes) -> types.ListResourcesResult:
    """Answer resources/list: the root of each devbox, from which the template leads on."""
    return types.ListResourcesResult(
        resources=[
            types.Resource(
                uri=f"devbox://{name}/",
                name=name,
                title=f"Devbox {name}",
                description="The root directory; its text lists the URIs of what is in it.",
                mime_type="text/uri-list",
            )
            for name in sandboxes.names
        ]
    )


async def complete(sandboxes: Sandboxes, params: types.CompleteRequestParams) -> types.CompleteResult:
    """Complete the template's ``devbox`` and ``path``; anything else completes to nothing."""
    values: list[str] = []
    begun = params.argument.value
    if isinstance(params.ref, types.ResourceTemplateReference) and params.ref.uri == TEMPLATE.uri_template:
        if params.argument.name == "devbox":
            values = [name for name in sandboxes.names if name.startswith(begun)]
        elif params.argument.name == "path":
            chosen = (params.context.arguments or {}).get("devbox") if params.context is not None else None
            values = await _paths(sandboxes, chosen, begun)
    more = len(values) > _MOST_COMPLETIONS
    return types.CompleteResult(
        completion=types.Completion(
            values=values[:_MOST_COMPLETIONS], has_more=more, total=None if more else len(values)
        )
    )


async def _paths(sandboxes: Sandboxes, devbox: str | None, begun: str) -> list[str]:
    """Return the paths that begin so, percent-encoded as in a URI, directories with a slash; none where nothing can
    be listed."""
    above, _, beginning = decoded(begun).rpartition("/")
    glob = re.sub(r"([^\w])", r"\\\1", beginning) + "*"
    try:
        sandbox, path = await sandboxes.resolve(devbox, above or ".", "list")
        page = await sandbox.list(path, glob=glob, limit=_MOST_COMPLETIONS + 1)
    except DevboxError:
        return []
    return [
        entry.path.uri(sandbox.name).removeprefix(ROOT.uri(sandbox.name)) + ("/" if entry.type == "directory" else "")
        for entry in page.entries
    ]
