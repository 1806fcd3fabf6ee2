"""Versions: a file's version is its sha256, and ``if_match`` a prefix of it."""

import re
import stat
from contextlib import contextmanager
from typing import Iterator, Optional

from .errors import GuestError
from .info import hash_place
from .job import Job
from .places import Place

_PREFIX = re.compile(r"[0-9a-f]{12,64}\Z")


def check_prefix(if_match: Optional[str], path: str) -> None:
    """Raise invalid_argument for what cannot be the beginning of a version."""
    if if_match is not None and not _PREFIX.match(if_match):
        raise GuestError("invalid_argument", path, "if_match takes 12 to 64 lower-case hex digits of the sha256")


def require_match(place: Place, path: str, if_match: Optional[str], job: Job) -> Optional[str]:
    """Return the sha256 of what is at ``place`` (as last looked at), or None where no ``if_match`` is given.

    Raises conflict, whose data holds the current ``sha256``, or None in it where nothing is there;
    invalid_argument for anything but a regular file.
    """
    if if_match is None:
        return None
    if place.st is None:
        raise _missing(path)
    if not stat.S_ISREG(place.st.st_mode):
        raise GuestError("invalid_argument", path, "if_match is for regular files only")
    current = hash_place(place, job)
    if not current.startswith(if_match):
        raise GuestError("conflict", path, "the file is not the version that if_match names", sha256=current)
    return current


@contextmanager
def missing_is_conflict(if_match: Optional[str], path: str) -> Iterator[None]:
    """Turn a not_found in the block into the conflict that it is where a version is asked for."""
    try:
        yield
    except GuestError as error:
        if error.code == "not_found" and if_match is not None:
            raise _missing(path) from error
        raise


def _missing(path: str) -> GuestError:
    return GuestError("conflict", path, "the file does not exist", sha256=None)
