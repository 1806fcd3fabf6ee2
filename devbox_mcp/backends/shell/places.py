"""Paths with links on their way: the shell tells of a link, and here it is judged and followed.

What comes out is a path without links, which the policy has seen, and which the shell uses only as long as no link is
on it. So ``..`` in a link counts from where the links before it lead, as it does in the kernel.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

from devbox_mcp.backends.shell.session import Answer
from devbox_mcp.errors import EscapesRoot, InvalidArgument, TooManyLinks
from devbox_mcp.guest import names
from devbox_mcp.guest.policy import Policy
from devbox_mcp.paths import SandboxPath

MOST_LINKS = 40
_LONGEST_NAME = 255

Look = Callable[[str, list[str]], Awaitable[Answer]]


class Way:
    """The way to one path. ``text`` is the path to try next; ``target`` the text of the link that the path itself
    is, once that is known."""

    def __init__(self, path: SandboxPath, policy: Policy, op: str) -> None:
        """Raises GuestError for a path that is refused by its letters."""
        self._path = path.text
        self._policy = policy
        self._op = op
        self._links = 0
        self._known: list[str] = []  # directories, none of them a link
        self._pending = names.parts(path.text)
        self.target: str | None = None
        self._check(path.text)

    @property
    def text(self) -> str:
        """The path from the root, without ``..``."""
        return "/".join([*self._known, *self._pending]) or "."

    async def follow(self, answer: Answer, look: Look) -> None:
        """Follow the link that an answer tells of. ``look`` asks the shell for directories and for what is behind
        the root in an absolute path. Raises EscapesRoot, TooManyLinks, InvalidArgument, denied, …"""
        self._splice(answer.number(1), os.fsdecode(answer.data), await self._start(answer, look))
        while ".." in self._pending:
            above = self._pending.index("..")
            if above == 0:
                if not self._known:
                    raise self._escape()
                self._known.pop()
                del self._pending[0]
                continue
            prefix = [*self._known, *self._pending[:above]]
            self._check("/".join(prefix))
            found = await look("look", ["/".join(prefix)])
            if found.status == "link":
                self._splice(found.number(1), os.fsdecode(found.data), await self._start(found, look))
            else:
                self._known, self._pending = prefix, self._pending[above:]
        self._check(self.text)

    async def _start(self, answer: Answer, look: Look) -> str | None:
        """Return what an absolute target is from the root, None for a relative one."""
        self._links += 1
        if self._links > MOST_LINKS:
            raise TooManyLinks(self._op, self._path, f"more than {MOST_LINKS} symbolic links in a row")
        if not answer.data.startswith(b"/"):
            return None
        found = await look("behind", [os.fsdecode(answer.data)])
        if found.words[0] != "yes":
            raise self._escape()
        return os.fsdecode(found.data)

    def _splice(self, depth: int, target: str, from_root: str | None) -> None:
        """Put a link's target in the link's place, which is behind ``depth`` directories."""
        parts = [*self._known, *self._pending]
        before, after = parts[:depth], parts[depth + 1 :]
        if not after and self.target is None:
            self.target = target
        found = [part for part in (target if from_root is None else from_root).split("/") if part not in ("", ".")]
        if any(names.is_own(part) for part in found):
            raise InvalidArgument(self._op, self._path, "a link on the way points at a reserved name")
        self._known = before if from_root is None else []
        self._pending = found + after

    def _check(self, text: str) -> None:
        if any(len(os.fsencode(part)) > _LONGEST_NAME for part in text.split("/")):
            raise InvalidArgument(self._op, self._path, "the name is too long for this file system")
        self._policy.check(text)

    def _escape(self) -> EscapesRoot:
        return EscapesRoot(
            self._op, self._path, "a symbolic link on the way leads outside the root", hint="use a path beneath it"
        )
