"""What the operator forbids beneath the root, asked about resolved paths only."""

import re
import sys
from typing import Callable, Iterable, Optional, Tuple

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

    def beneath(self, relative: Callable[[str], Optional[str]]) -> "Policy":
        """Return the policy of a root, where a rule may be an absolute path that leads through it: ``relative`` tells
        what such a path is from the root. The rule is kept as it is too, as a name beneath the root."""
        rests = [relative(rule) for rule in self.deny if rule.startswith("/")]
        anchored = ["/" + rest for rest in rests if rest and rest != "."]
        found = tuple(rule for rule in anchored if rule not in self.deny)  # as they are where this was done before
        return Policy(self.deny + found, self.read_only) if found else self

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


def check_rule(rule: str) -> None:
    """Raise ValueError for a deny-glob that looks as if it protected something, and would not."""
    try:
        Glob(rule)
    except GuestError as error:
        raise ValueError("%r is no glob: %s" % (rule, error.detail)) from None
    for wrong, why in (
        (rule != rule.strip(), "it begins or ends with a blank; write [ ] where a name does"),
        (rule.startswith("!"), "no rule takes another back; write [!] where a name begins so"),
        (rule.endswith("\\"), "a character is missing behind the backslash at its end"),
        (not {".", ".."}.isdisjoint(rule.split("/")), "write a path beneath the root, without . and .."),
        (_has_bare_comma(rule), "give every rule by itself, and write [,] where a name has a comma"),
    ):
        if wrong:
            raise ValueError("%r would protect nothing: %s" % (rule, why))


def _has_bare_comma(rule: str) -> bool:
    """Whether there is a comma that stands for itself, outside sets and braces."""
    bare = re.sub(r"\\.|\[[!^]?\]?[^\]]*\]", "", rule)
    while "{" in bare:
        without = re.sub(r"\{[^{}]*\}", "", bare)
        if without == bare:
            break
        bare = without
    return "," in bare
