"""Who calls, which devboxes it may reach, and what it may do there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase


class Scope(StrEnum):
    """A right. ``READ`` looks at files, ``WRITE`` changes them, ``LIFECYCLE`` makes and ends devboxes."""

    READ = "read"
    WRITE = "write"
    LIFECYCLE = "lifecycle"


@dataclass(frozen=True, slots=True)
class Caller:
    """A principal with its rights, for one request. ``devboxes`` are globs of names. ``request_id`` is what the audit
    log and the answer call this request."""

    name: str
    devboxes: tuple[str, ...] = ("*",)
    scopes: frozenset[Scope] = frozenset(Scope)
    request_id: str | None = None

    def may_reach(self, devbox: str) -> bool:
        """Whether a devbox exists for this caller."""
        return any(fnmatchcase(devbox, pattern) for pattern in self.devboxes)

    def asking(self, request_id: str) -> Caller:
        """Return the same caller with another request."""
        return replace(self, request_id=request_id)


#: Whoever started the process: over stdio, in the SDK and on the command line, nobody else can call.
OPERATOR = Caller("operator")
#: Whoever has not said who they are.
ANONYMOUS = Caller("anonymous", (), frozenset())
