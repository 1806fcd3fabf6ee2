"""Going through a tree by lists: in the order of the names' bytes, parents first, never through a link."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.composed.small import GONE, Resolver, closing, of_one
from devbox_mcp.errors import DevboxError
from devbox_mcp.guest.gitignore import LARGEST, Own, Rule, RuleStack, parse_rules
from devbox_mcp.models import FileInfo
from devbox_mcp.paths import SandboxPath

_MOST_LEVELS = 256
_PAGE = 1000

Parts = tuple[str, ...]


def parts_below(path: SandboxPath, start: SandboxPath) -> Parts:
    """Return the names that lead from ``start`` to ``path`` beneath it."""
    return () if path == start else tuple(path.below(start).split("/"))


async def list_whole(
    backend: Backend, path: SandboxPath, *, after: SandboxPath | None = None, details: bool = False
) -> list[FileInfo]:
    """List one directory, page by page."""
    found: list[FileInfo] = []
    while True:
        page = await backend.list(path, limit=_PAGE, after=after, details=details)
        found += page.entries
        after = page.after
        if after is None:
            return found


class _Level:
    """A directory that the walk is in: what is still to come, the first at the end. Before that, ``resume``: an entry
    told before, and where to go on in it."""

    def __init__(self, entries: Sequence[FileInfo], resume: tuple[FileInfo, Parts] | None) -> None:
        self.pending = list(reversed(entries))
        self.resume = resume


class Walk:
    """One walk. ``unreadable`` are the directories that could not be looked into so far."""

    def __init__(
        self,
        backend: Backend,
        start: SandboxPath,
        *,
        ignored: bool,
        details: bool,
        enter: Callable[[Parts], bool] | None = None,
    ) -> None:
        """Without ``ignored``, ``.git`` and what .gitignore files exclude is left out. ``enter`` says whether to go
        into a directory just told, given its parts below the start."""
        self._backend = backend
        self._start = start
        self._details = details
        self._enter = enter
        self._rules = None if ignored else _Rules(backend, start)
        self.unreadable: list[SandboxPath] = []

    async def entries(self, after: Parts = ()) -> AsyncGenerator[FileInfo, None]:
        """Yield what is there; ``after`` (parts below the start) resumes behind an entry, which may be gone.
        Raises NotFound, NotDirectory, … for the start itself."""
        stack = [await self._level(self._start, after)]
        if self._rules is not None:
            await self._rules.begin()
            await self._rules.enter(self._start, None if after else stack[0].pending)
        while stack:
            level = stack[-1]
            resume: Parts = ()
            if level.resume is not None:
                (info, resume), level.resume = level.resume, None
            elif level.pending:
                info = level.pending.pop()
                if self._is_excluded(info):
                    continue
                yield info
            else:
                stack.pop()
                continue
            if info.type == "directory" and (self._enter is None or self._enter(parts_below(info.path, self._start))):
                below = await self._below(info, resume, len(stack))
                if below is not None:
                    stack.append(below)

    def _is_excluded(self, info: FileInfo) -> bool:
        return self._rules is not None and self._rules.excludes(info)

    async def _below(self, info: FileInfo, resume: Parts, depth: int) -> _Level | None:
        """Go into a directory; None where that cannot be done, or it is gone."""
        if depth >= _MOST_LEVELS:
            self.unreadable.append(info.path)
            return None
        try:
            level = await self._level(info.path, resume)
        except GONE:
            return None
        except DevboxError as error:
            if not of_one(error):
                raise
            self.unreadable.append(info.path)
            return None
        if self._rules is not None:
            await self._rules.enter(info.path, None if resume else level.pending)
        return level

    async def _level(self, directory: SandboxPath, after: Parts) -> _Level:
        if not after:
            return _Level(await list_whole(self._backend, directory, details=self._details), None)
        first = directory.child(after[0])
        resume = None
        try:
            resume = (await self._backend.stat(first, follow=False), after[1:])
        except DevboxError as error:
            if not of_one(error):
                raise
        entries = await list_whole(self._backend, directory, after=first, details=self._details)
        return _Level(entries, resume)


class _Rules:
    """The rules of .gitignore files along one walk, read where it comes by."""

    def __init__(self, backend: Backend, start: SandboxPath) -> None:
        self._backend = backend
        self._start = start
        self._stack = RuleStack(())

    async def begin(self) -> None:
        """Read what the directories above the start say."""
        start = await Resolver(self._backend).resolve(self._start)
        above = () if start.is_root else tuple(start.text.split("/"))
        self._stack = RuleStack(above)
        for depth in range(len(above)):
            directory = SandboxPath("/".join(above[:depth]) or ".")
            self._stack.inherit(depth, await self._own(directory, None))

    async def enter(self, directory: SandboxPath, entries: Sequence[FileInfo] | None) -> None:
        """Follow the walk into a directory, whose entries are known if it was listed whole."""
        depth = len(parts_below(directory, self._start))
        self._stack.enter(depth, await self._own(directory, entries))

    def excludes(self, info: FileInfo) -> bool:
        """Whether git would ignore the entry."""
        return self._stack.excludes(parts_below(info.path, self._start), info.type == "directory")

    async def _own(self, directory: SandboxPath, entries: Sequence[FileInfo] | None) -> Own:
        git = await self._type(directory.child(".git"), entries)
        excludes: Sequence[Rule] = ()
        if git == "directory":
            excludes = await self._read(directory.child(".git/info/exclude"))
        rules: Sequence[Rule] = ()
        if await self._type(directory.child(".gitignore"), entries) == "file":
            rules = await self._read(directory.child(".gitignore"))
        return Own(git is not None, excludes, rules)

    async def _type(self, path: SandboxPath, entries: Sequence[FileInfo] | None) -> str | None:
        """Return what there is, asking only where the entries of its directory are not known."""
        if entries is not None:
            return next((entry.type for entry in entries if entry.path == path), None)
        try:
            return (await self._backend.stat(path, follow=False)).type
        except DevboxError as error:
            if not of_one(error):
                raise
            return None

    async def _read(self, path: SandboxPath) -> list[Rule]:
        try:
            async with closing(await self._backend.read(path, length=LARGEST + 1)) as content:
                return parse_rules(await content.read())
        except DevboxError as error:
            if not of_one(error):
                raise
            return []
