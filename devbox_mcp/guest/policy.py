"""What the operator forbids beneath the root, asked about resolved paths only."""

import sys
from typing import Iterable, Tuple

from .errors import GuestError
from .globs import Glob


class Policy:
    """Read-only, and deny-globs: what one matches, and everything beneath it, is as good as not there for
    lists, searches, archives and watches, and refused by name for everything else."""

    def __init__(self, deny: Iterable[str] = (), read_only: bool = False) -> None:
        self.deny: Tuple[str, ...] = tuple(deny)
        self.read_only = read_only
        # file systems of macOS ignore case, so a rule against `.env` has to hold for `.ENV`
        self._globs = [Glob(pattern, ignore_case=sys.platform == "darwin") for pattern in self.deny]

    def denies(self, path: str) -> bool:
        """Whether a resolved path, or a directory it lies in, matches a deny-glob."""
        if not self._globs or path == ".":
            return False
        parts = path.split("/")
        return any(glob.matches(parts[:end]) for end in range(1, len(parts) + 1) for glob in self._globs)

    def check(self, path: str) -> None:
        """Raise denied for a path that ``denies``."""
        if self.denies(path):
            raise GuestError("denied", path, "the operator's deny rules cover it")

    def check_write(self, path: str) -> None:
        """Raise read_only where nothing may be changed."""
        if self.read_only:
            raise GuestError("read_only", path, "this devbox is served read-only")
