"""What a batch holds, taken in within its limits. What cannot be taken is refused file by file; what is over a limit
ends the whole."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from devbox_mcp import paths
from devbox_mcp.errors import DevboxError, EscapesRoot, InvalidArgument, Timeout, TooLarge
from devbox_mcp.limits import Limits
from devbox_mcp.paths import SandboxPath

OP = "upload_batch"
#: The head of a member in an archive and what pads it, at most on average.
_HEAD = 4096
#: Unpacking takes no longer than that.
_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Member:
    """A file, or with ``data`` None a directory."""

    path: SandboxPath
    data: bytes | None
    executable: bool | None = None
    if_match: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """What could not be taken, by the name that it came with."""

    name: str
    error: DevboxError


class Intake:
    """Collects the members of one batch, which go into the directory ``above``."""

    def __init__(self, devbox: str, above: SandboxPath, limits: Limits) -> None:
        self.taken: list[Member | Refusal] = []
        self.left = limits.batch
        self._devbox = devbox
        self._above = above
        self._limits = limits
        self._seen = 0
        self._deadline = math.inf

    @property
    def most(self) -> int:
        """The bytes that a batch has at most with all that is around its files, packed or not."""
        return self._limits.batch + _HEAD * (self._limits.batch_files + 2)

    @property
    def most_members(self) -> int:
        """How many members there may be."""
        return self._limits.batch_files

    def count(self) -> None:
        """Count a member, whatever becomes of it. Raises TooLarge, Timeout."""
        if not self._seen:
            # not while the body arrives, or waits for its turn
            self._deadline = time.monotonic() + _SECONDS
        self._seen += 1
        if self._seen > self._limits.batch_files:
            raise TooLarge(
                OP,
                ".",
                f"there are more than {self._limits.batch_files} files",
                hint="send several batches",
                limit=self._limits.batch_files,
            )
        if time.monotonic() > self._deadline:
            raise Timeout(OP, ".", f"unpacking takes longer than {_SECONDS:g} seconds", hint="send several batches")

    def reserve(self, size: int) -> None:
        """Count content before it is read. Raises TooLarge."""
        self.left -= size
        if self.left < 0:
            raise self.too_large()

    def too_large(self) -> TooLarge:
        """Return the error for more content than a batch may have."""
        return TooLarge(
            OP,
            ".",
            f"the files have more than {self._limits.batch} bytes",
            hint="send several batches, or large files each by itself",
            limit=self._limits.batch,
        )

    def file(self, name: str, data: bytes, executable: bool | None = None) -> None:
        """Take a file."""
        self._take(name, data, executable)

    def directory(self, name: str) -> None:
        """Take a directory."""
        self._take(name, None, None)

    def refuse(self, name: str, error: DevboxError) -> None:
        """Do without a member."""
        self.taken.append(Refusal(name, error))

    def _take(self, name: str, data: bytes | None, executable: bool | None) -> None:
        try:
            self.taken.append(Member(self._place(name), data, executable))
        except DevboxError as error:
            self.refuse(name, error)

    def _place(self, name: str) -> SandboxPath:
        """Return where a member goes. Raises InvalidArgument, EscapesRoot."""
        uri = paths.split_uri(name)
        if uri is not None:
            if uri[0] != self._devbox:
                raise InvalidArgument(OP, name[:200], f"this URI belongs to another devbox than {self._devbox}")
            return self._relative(uri[1])
        below = self._relative(name)
        return below if self._above.is_root else SandboxPath(f"{self._above.text}/{below.text}")

    def _relative(self, name: str) -> SandboxPath:
        if paths.is_absolute(name):
            raise EscapesRoot(OP, name[:200], "the name is absolute", hint="name files from the directory they go into")
        if ".." in name.split("/"):
            raise EscapesRoot(
                OP, name[:200], "the name has .. in it", hint="name files from the directory they go into"
            )
        path = paths.parse(name, OP)
        if path.is_root:
            raise InvalidArgument(OP, name[:200], "the name is none")
        return path
