"""A tree by many listings, for the server has no recursive one."""

from __future__ import annotations

from devbox_mcp.backends.http.sealos.calls import Calls
from devbox_mcp.errors import DevboxError, TooLarge
from devbox_mcp.guest.globs import Glob
from devbox_mcp.guest.names import OWN_PREFIX
from devbox_mcp.models import FileInfo
from devbox_mcp.paths import SandboxPath

Key = tuple[bytes, ...]


class Walk:
    """Gathers the entries of a directory, ``depth`` levels of them, parents first: ``found``, at most ``limit``. There
    are ``more`` behind the last. ``unreadable`` are directories that could not be looked into."""

    def __init__(
        self, calls: Calls, top: SandboxPath, *, depth: int, limit: int, glob: Glob | None = None,
        after: SandboxPath | None = None,
    ) -> None:  # fmt: skip
        self._calls = calls
        self._top = top
        self._depth = depth
        self._limit = limit
        self._glob = glob
        self._after = () if after is None else _key(top, after)
        self._listings = 0
        self.found: list[FileInfo] = []
        self.unreadable: list[SandboxPath] = []
        self.more = False

    async def run(self) -> None:
        """Raises what listing the directory itself does."""
        await self._enter(self._top, self._depth)

    async def _enter(self, here: SandboxPath, depth: int) -> None:
        self._listings += 1
        most = self._calls.most_listings
        if self._listings > most:
            raise TooLarge(
                "list", here.text, f"there are more than {most} directories, or links lead in circles",
                hint="look at a part of it", limit=most,
            )  # fmt: skip
        try:
            entries = await self._calls.entries(here, "list")
        except DevboxError as error:
            if here == self._top or error.retryable:
                raise
            self.unreadable.append(here)
            return
        for info in entries:
            if info.path.name.startswith(OWN_PREFIX):
                continue
            key = _key(self._top, info.path)
            passed = key <= self._after
            if not passed and self._is_wanted(info):
                if len(self.found) == self._limit:
                    self.more = True
                    return
                self.found.append(info)
            if depth > 1 and info.type == "directory" and (not passed or self._after[: len(key)] == key):
                await self._enter(info.path, depth - 1)
                if self.more:
                    return

    def _is_wanted(self, info: FileInfo) -> bool:
        return self._glob is None or self._glob.matches(info.path.below(self._top).split("/"))


def _key(top: SandboxPath, path: SandboxPath) -> Key:
    """Return what entries are in the order of."""
    return tuple(part.encode("utf-8", "surrogateescape") for part in path.below(top).split("/"))
