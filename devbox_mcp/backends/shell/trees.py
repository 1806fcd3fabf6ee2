"""Directories: what is beneath one, sorted, filtered and cut into pages here."""

from __future__ import annotations

import os
from collections.abc import Iterator

from devbox_mcp.backends.shell.asking import Asker
from devbox_mcp.backends.shell.places import Way
from devbox_mcp.backends.shell.records import Malformed, printed_entries, stat_entries
from devbox_mcp.errors import Denied, InvalidArgument, PermissionDenied
from devbox_mcp.guest import names
from devbox_mcp.guest.globs import Glob
from devbox_mcp.guest.policy import Policy
from devbox_mcp.models import FileInfo
from devbox_mcp.paths import SandboxPath

#: More than any tree is deep.
EVERYTHING = 4096
_SLACK = 4096

Key = tuple[bytes, ...]


def key_of(below: str) -> Key:
    """Return what sorts paths: by the bytes of their parts, parents before their entries."""
    return tuple(os.fsencode(below).split(b"/"))


class Listing:
    """What lies beneath a directory, ``way`` to it, at most ``depth`` levels deep: the first ``most`` entries in
    order, by their paths below it, without what the policy denies. ``denied`` names one of those."""

    def __init__(
        self,
        asker: Asker,
        way: Way,
        path: SandboxPath,
        policy: Policy,
        *,
        depth: int,
        most: int | None = None,
        after: Key | None = None,
        glob: Glob | None = None,
    ) -> None:
        self._asker = asker
        self._way = way
        self._path = path
        self._policy = policy
        self._depth = depth
        self._most = most
        self._after = after
        self._glob = glob
        self._found: list[tuple[Key, FileInfo]] = []
        self._targets: dict[bytes, str] = {}
        self.denied: str | None = None
        self.unreadable: list[str] = []

    async def run(self) -> list[FileInfo]:
        """List it."""
        status: list[object] = []

        def records(data: bytearray) -> Iterator[object]:
            # one kind begins with a slash, the other with a letter
            take = stat_entries(data, self._targets) if data[:1] == b"/" else printed_entries(data)
            for one in take:
                if isinstance(one, FileInfo):
                    self._add(one)
                else:
                    yield one

        def ask_anew() -> list[str]:
            self._found.clear()
            self._targets.clear()
            return [self._way.text, str(self._depth)]

        await self._asker.follow(
            [self._way],
            lambda: self._asker.ask("list", ask_anew(), paths=[self._path.text], records=(records, status), slow=True),
        )
        self._cut()
        if status != [0] and self._depth > 1:
            await self._look_for_unreadable()
        return [info for _, info in self._found]

    def _add(self, info: FileInfo) -> None:
        below = info.path.text
        path = names.join(self._way.text, below)
        if self._policy.denies(path):
            self.denied = self.denied or path
            return
        key = key_of(below)
        if self._after is not None and key <= self._after:
            return
        if self._glob is not None and not self._glob.matches(below.split("/")):
            return
        self._found.append((key, info))
        if self._most is not None and len(self._found) > 2 * self._most + _SLACK:
            self._cut()

    def _cut(self) -> None:
        self._found.sort(key=lambda one: one[0])
        if self._most is not None:
            del self._found[self._most :]

    async def _look_for_unreadable(self) -> None:
        """Ask which directories were not gone into."""
        found: list[object] = []

        def records(data: bytearray) -> Iterator[object]:
            while (end := data.find(b"\0")) >= 0:
                name = bytes(data[:end])
                del data[: end + 1]
                if name == b"=":
                    yield 0
                    return
                yield os.fsdecode(name.removeprefix(b"./"))

        await self._asker.ask(
            "unreadable", [self._way.text, str(self._depth - 1)], paths=[self._path.text], records=(records, found),
            slow=True,
        )  # fmt: skip
        texts = [one for one in found if isinstance(one, str)]
        for text in sorted(texts, key=key_of):
            if any(part in ("", ".", "..") for part in text.split("/")):
                raise Malformed(repr(text))
            if self._policy.denies(names.join(self._way.text, text)):
                continue
            if self._after is None or not self._is_before(key_of(text)):
                self.unreadable.append(text)

    def _is_before(self, key: Key) -> bool:
        """Whether an earlier page told of it, unless the walk goes on inside."""
        return self._after is not None and key <= self._after and self._after[: len(key)] != key


async def require_whole(asker: Asker, way: Way, path: SandboxPath, policy: Policy, op: str) -> list[FileInfo]:
    """Return everything beneath a directory that is to be dealt with as a whole. Raises denied where the policy
    denies something in it, permission_denied where that cannot be told."""
    listing = Listing(asker, way, path, policy, depth=EVERYTHING)
    found = await listing.run()
    if listing.denied is not None:
        raise Denied(op, listing.denied, f"the operator's deny rules cover it, and {path.text} contains it")
    require_readable(listing, way, op)
    return found


def require_readable(listing: Listing, way: Way, op: str) -> None:
    """Raise permission_denied where a part of a tree was left out."""
    if listing.unreadable:
        raise PermissionDenied(op, names.join(way.text, listing.unreadable[0]), "this directory cannot be read")


def cursor_key(path: SandboxPath, after: SandboxPath | None) -> Key | None:
    """Return where a listing of ``path`` resumes. Raises InvalidArgument for the cursor of another one, GuestError
    for what is no path."""
    if after is None:
        return None
    above, parts = names.parts(path.text), names.parts(after.text)
    if parts[: len(above)] != above or len(parts) == len(above):
        raise InvalidArgument(
            "list", after.text, "the cursor belongs to another listing", hint="start without a cursor"
        )
    return key_of("/".join(parts[len(above) :]))
