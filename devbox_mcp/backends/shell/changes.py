"""Changes of names and modes: make, delete, move, copy, chmod."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from devbox_mcp.backends.shell.asking import Asker
from devbox_mcp.backends.shell.places import Way
from devbox_mcp.backends.shell.records import parse_stat
from devbox_mcp.backends.shell.session import Answer
from devbox_mcp.backends.shell.trees import EVERYTHING, Listing, require_readable, require_whole
from devbox_mcp.backends.shell.uploads import hidden_name
from devbox_mcp.errors import InvalidArgument, Unsupported
from devbox_mcp.guest import names
from devbox_mcp.guest.guards import refuse_into_itself
from devbox_mcp.guest.policy import Policy
from devbox_mcp.models import FileInfo
from devbox_mcp.paths import SandboxPath

#: Bytes of names that one request carries.
_NAMES = 256 * 1024


class Changes:
    """The operations; that they are allowed at all was asked before."""

    def __init__(self, asker: Asker, policy: Policy) -> None:
        self._asker = asker
        self._policy = policy

    async def mkdir(self, path: SandboxPath) -> bool:
        """Make a directory and its missing parents, and return False if it was there."""
        way = Way(path, self._policy, "mkdir")
        answer = await self._follow("mkdir", [way], [path])
        return answer.words == ["1"]

    async def delete(self, path: SandboxPath, recursive: bool, if_match: str | None) -> int:
        """Delete an entry and return how many went."""
        way = Way(path, self._policy, "delete")
        if path.is_root:
            raise InvalidArgument("delete", path.text, "the root itself cannot be deleted")
        await self._refuse_denied("delete", path)
        answer = await self._follow(
            "delete", [way], [path], "1" if recursive else "", if_match or "", hidden_name("trash")
        )
        return answer.number(0)

    async def move(
        self, source: SandboxPath, destination: SandboxPath, overwrite: bool, if_match: str | None
    ) -> FileInfo:
        """Rename an entry, and describe it."""
        refuse_into_itself(source.text, destination.text)
        ways = [Way(source, self._policy, "move"), Way(destination, self._policy, "move")]
        if destination.is_root:
            raise InvalidArgument("move", destination.text, "the root itself cannot be replaced")
        await self._refuse_denied("move", source)
        answer = await self._follow(
            "move", ways, [source, destination], "1" if overwrite else "", if_match or "", hidden_name("part")
        )
        return _described(answer, destination)

    async def copy(self, source: SandboxPath, destination: SandboxPath, overwrite: bool) -> FileInfo:
        """Copy a file, or a directory with everything in it, and describe the copy."""
        ways = [Way(source, self._policy, "copy"), Way(destination, self._policy, "copy")]
        if source.is_root:
            refuse_into_itself(source.text, destination.text)
        await self._refuse_denied("copy", source, follow=True)
        answer = await self._follow("copy", ways, [source, destination], "1" if overwrite else "", hidden_name("part"))
        return _described(answer, destination)

    async def chmod(self, path: SandboxPath, mode: int, recursive: bool) -> int:
        """Set permission bits, and return how many entries that changed."""
        way = Way(path, self._policy, "chmod")
        answer = await self._asker.follow(
            [way], lambda: self._asker.ask("stat", [way.text, "1", ""], paths=[path.text])
        )
        info = parse_stat(answer.words[1:]).info(path)
        if info.type not in ("file", "directory"):
            raise Unsupported("chmod", path.text, f"this is a {info.type}, whose mode is left alone")
        if not recursive or info.type != "directory":
            return await self._set_modes(way, path, [replace(info, path=SandboxPath("."))], mode)
        listing = Listing(self._asker, way, path, self._policy, depth=EVERYTHING)
        below = [one for one in await listing.run() if one.type in ("file", "directory")]
        top = replace(info, path=SandboxPath("."))
        # a mode that shuts directories comes last, from the bottom up; one that opens them first
        if mode & 0o500 == 0o500:
            order = [top, *below]
        else:
            directories = [one for one in below if one.type == "directory"]
            order = [one for one in below if one.type == "file"] + directories[::-1] + [top]
        changed = await self._set_modes(way, path, order, mode)
        require_readable(listing, way, "chmod")
        return changed

    async def _set_modes(self, way: Way, path: SandboxPath, entries: Sequence[FileInfo], mode: int) -> int:
        """Set the mode of entries that are named from ``path``, and return how many had another."""
        todo = [
            (one, wanted)
            for one in entries
            if (wanted := mode | (one.mode & 0o3000 if one.type == "directory" else 0)) != one.mode
        ]
        parent, name = _split(way.text)
        start = 0
        while start < len(todo):
            wanted = todo[start][1]
            body = bytearray()
            end = start
            while end < len(todo) and todo[end][1] == wanted and len(body) < _NAMES:
                below = todo[end][0].path.text
                body += b"./" + os.fsencode(name if below == "." else names.join(name, below)) + b"\0"
                end += 1
            await self._asker.ask(
                "chmod", [parent, f"{wanted:04o}"], bytes(body), paths=[path.text], changes=True, slow=True
            )
            start = end
        return len(todo)

    async def _refuse_denied(self, op: str, path: SandboxPath, *, follow: bool = False) -> None:
        """Raise denied where a directory holds something that the policy denies."""
        if not self._policy.deny:
            return
        way = Way(path, self._policy, op)
        answer = await self._asker.follow(
            [way], lambda: self._asker.ask("stat", [way.text, "1" if follow else "", ""], paths=[path.text])
        )
        if parse_stat(answer.words[1:]).info(path).type == "directory":
            await require_whole(self._asker, way, path, self._policy, op)

    async def _follow(
        self, operation: str, ways: Sequence[Way], paths: Sequence[SandboxPath], *arguments: str
    ) -> Answer:
        """Ask for a change, again behind every link."""

        async def ask() -> Answer:
            if operation == "move":
                refuse_into_itself(ways[0].text, ways[1].text)
            return await self._asker.ask(
                operation, [*(way.text for way in ways), *arguments], paths=[path.text for path in paths],
                changes=True, slow=True,
            )  # fmt: skip

        return await self._asker.follow(ways, ask)


def _split(path: str) -> tuple[str, str]:
    """Return the directory and the name of a path."""
    parent, _, name = path.rpartition("/")
    return parent or ".", name


def _described(answer: Answer, path: SandboxPath) -> FileInfo:
    info = parse_stat(answer.words[1:]).info(path)
    return replace(info, target=os.fsdecode(answer.data)) if info.type == "symlink" else info
