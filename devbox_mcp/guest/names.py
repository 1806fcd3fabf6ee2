"""Names beneath the root: how they are written, and which are the guest's own.

A path is relative to the root, its parts joined by ``/``; the root itself is ``.``. Names are bytes to the
system and ``str`` with surrogate escapes here, as ``os.fsdecode`` makes them.
"""

import os
from typing import List

from .errors import GuestError

#: Everything the guest makes for itself begins with this; such names are hidden everywhere and cannot be asked for.
OWN_PREFIX = ".devbox-mcp-"


def parts(path: str) -> List[str]:
    """Return the parts of a path, none for the root. Raises invalid_argument for what is no such path."""
    if path == ".":
        return []
    found = path.split("/")
    for part in found:
        if part in ("", ".", "..") or "\0" in part:
            raise GuestError("invalid_argument", path, "not a normalised path beneath the root")
        if part.startswith(OWN_PREFIX):
            raise GuestError("invalid_argument", path, "names that begin with %s are reserved" % OWN_PREFIX)
    return found


def join(directory: str, name: str) -> str:
    """Return the path of ``name`` in ``directory``."""
    return name if directory == "." else directory + "/" + name


def is_own(name: str) -> bool:
    """Whether the guest made this entry for itself."""
    return name.startswith(OWN_PREFIX)


def own_name(kind: str) -> str:
    """Return a fresh name for the guest's own use; ``kind`` says for what, ``part`` or ``trash``."""
    return "%s%s-%s" % (OWN_PREFIX, kind, os.urandom(8).hex())
