"""What every test of the suite is given: an open backend and the sandbox seen from inside."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager

import pytest

from devbox_mcp.backends.base import Backend
from devbox_mcp.errors import DevboxError
from devbox_mcp.guest.policy import Policy
from devbox_mcp.paths import SandboxPath

from .inside import Entry, Inside, Seen, Tree

at = SandboxPath


def sha256(data: bytes) -> str:
    """Return the version of a content."""
    return hashlib.sha256(data).hexdigest()


async def stream(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Return a body that arrives in these pieces."""
    for chunk in chunks:
        yield chunk


class Harness(ABC):
    """What a new backend brings: the sandbox seen from inside, and how to open the backend on it."""

    inside: Inside

    @abstractmethod
    async def open(self, policy: Policy) -> Backend:
        """Open the backend on the sandbox. May be called several times; the suite closes what it opens."""


class Box:
    """An open backend, ``backend``, and the same sandbox from inside."""

    def __init__(self, backend: Backend, inside: Inside) -> None:
        self.backend = backend
        self.inside = inside

    def make(self, tree: Tree) -> None:
        """Make entries behind the backend's back."""
        self.inside.make(tree)

    def snapshot(self, path: str = ".") -> dict[str, Entry]:
        """Return what is really there, temporaries and all."""
        return self.inside.snapshot(path)

    def look(self, path: str) -> Seen:
        """Return one entry's own stat."""
        return self.inside.look(path)

    async def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read a range of a file through the backend, whole."""
        content = await self.backend.read(at(path), offset=offset, length=length)
        return await content.read()

    async def names(self, path: str = ".", depth: int = 1) -> list[str]:
        """List paths through the backend."""
        page = await self.backend.list(at(path), depth=depth)
        assert page.after is None
        return [entry.path.text for entry in page.entries]

    @contextmanager
    def refuses(self, *errors: type[DevboxError]) -> Iterator[list[DevboxError]]:
        """The block must raise one of the errors and leave everything as it was, beside the root too. The list
        holds the error afterwards."""
        before = self.snapshot("..")
        found: list[DevboxError] = []
        with pytest.raises(errors) as caught:
            yield found
        found.append(caught.value)
        assert type(caught.value) in errors
        assert self.snapshot("..") == before
