"""What callers call the files of a devbox."""

from __future__ import annotations

from devbox_mcp import paths
from devbox_mcp.backends.base import Backend
from devbox_mcp.errors import EscapesRoot, InvalidArgument
from devbox_mcp.paths import SandboxPath


class Naming:
    """The names of the files beneath ``root`` in the devbox ``name``."""

    def __init__(self, name: str, root: str, backend: Backend) -> None:
        self._name = name
        self._root = root
        self._backend = backend

    async def parse(self, text: str, op: str) -> SandboxPath:
        """Parse a path as a caller wrote it: relative, absolute beneath the root, or a ``devbox://`` URI. Raises
        InvalidArgument, EscapesRoot."""
        uri = paths.split_uri(text)
        if uri is not None:
            if uri[0] != self._name:
                raise InvalidArgument(op, text, f"this URI belongs to another devbox than {self._name}")
            text = uri[1]
            if paths.is_absolute(text):
                raise InvalidArgument(op, text, "the path in a devbox:// URI is relative to the root")
        if not paths.is_absolute(text):
            return paths.parse(text, op)
        paths.check_means_file(text, op)
        found = await self.beneath(text)
        if found is None:
            raise EscapesRoot(op, text, "this absolute path is outside the root")
        return found

    def glob(self, pattern: str, path: SandboxPath, op: str) -> str:
        """Return a glob as it is below ``path``, where a caller wrote it there or with the root before it. Raises
        InvalidArgument for one that leads elsewhere."""
        if ".." in pattern.split("/"):
            raise InvalidArgument(op, path.text, "the glob holds ..", hint="name the directory to look in by path")
        root = self._root.rstrip("/") + "/"
        if root == "/" or not pattern.startswith(root):
            return pattern
        start = root if path.text == "." else f"{root}{path.text}/"
        if not pattern.startswith(start):
            raise InvalidArgument(
                op,
                path.text,
                f"nothing below it is matched by {pattern}",
                hint="leave path out, or the root before the glob",
            )
        return "/" + pattern[len(start) :]

    async def beneath(self, absolute: str) -> SandboxPath | None:
        """Return the path beneath the root for an absolute one, None if it is not beneath it."""
        if "\0" in absolute:
            return None
        below = paths.beneath(absolute, self._root)
        return await self._backend.relative(absolute) if below is None else SandboxPath(below)
