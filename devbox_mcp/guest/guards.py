"""What is refused before a whole entry is deleted, moved or copied."""

import stat
from typing import List

from .beneath import Root
from .errors import GuestError
from .job import Job
from .places import Place
from .walk import require_shallow, walk


def refuse_root(place: Place, done: str) -> None:
    """Raise invalid_argument for the root; ``done`` is what it cannot be."""
    if place.is_root:
        raise GuestError("invalid_argument", place.path, "the root itself cannot be %s" % done)


def refuse_denied(root: Root, place: Place, job: Job) -> None:
    """Raise denied for a directory with something in it that the policy denies, at whatever depth; and
    permission_denied where that cannot be told."""
    if not root.policy.deny or not stat.S_ISDIR(place.require().st_mode):
        return
    denied: List[str] = []
    unreadable: List[str] = []
    for _ in walk(root, place, job, denied=denied, unreadable=unreadable):
        if denied:
            break
    if denied:
        raise GuestError("denied", denied[0], "the operator's deny rules cover it, and %s contains it" % place.path)
    require_shallow(unreadable)


def refuse_into_itself(source: str, destination: str) -> None:
    """Raise invalid_argument where a path is to get to itself or beneath itself."""
    if source in (".", destination) or destination.startswith(source + "/"):
        raise GuestError("invalid_argument", destination, "the destination is %s itself or lies in it" % source)


def refuse_same(place: Place, target: Place) -> None:
    """Raise invalid_argument where both are one file, by hard links or by names that the file system takes for
    the same."""
    found = [(st.st_dev, st.st_ino) for st in (place.st, target.st) if st is not None]
    if len(found) == 2 and found[0] == found[1]:
        raise GuestError("invalid_argument", target.path, "it is the same file as %s" % place.path)
