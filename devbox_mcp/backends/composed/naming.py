"""Listing by names only."""

from __future__ import annotations

from devbox_mcp.backends.base import Backend
from devbox_mcp.guest.names import join, parts
from devbox_mcp.models import Names
from devbox_mcp.paths import SandboxPath


async def list_names(
    backend: Backend, path: SandboxPath, *, depth: int, glob: str | None, limit: int, after: str | None
) -> Names:
    """Answer as ``Backend.names``. Raises GuestError for what is no cursor, and what ``list`` raises."""
    resume = None
    if after is not None:
        resume = SandboxPath(join(path.text, after))
        parts(resume.text)
    page = await backend.list(path, depth=depth, glob=glob, limit=limit, after=resume)
    names: list[str] = []
    targets: dict[str, str] = {}
    for entry in page.entries:
        name = entry.path.below(path)
        names.append(f"{name}/" if entry.type == "directory" else name)
        if entry.target is not None:
            targets[name] = entry.target
    return Names(names, targets, None if page.after is None else page.after.below(path), page.unreadable)
