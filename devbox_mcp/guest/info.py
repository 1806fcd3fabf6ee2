"""What is told about a file or a file system, as plain JSON."""

import hashlib
import os
import stat
from typing import Any, Dict, Optional

from .beneath import Root
from .errors import GuestError, os_errors
from .job import Job
from .places import Place, kind_of

CHUNK = 1 << 20
#: The most that is read of a file that does not tell its size.
_UNSIZED = 8 << 20


def describe(
    path: str, st: os.stat_result, target: Optional[str] = None, sha256: Optional[str] = None
) -> Dict[str, Any]:
    """Return the info of an entry: ``path``, ``type`` (as kind_of), ``size`` in bytes, ``mode`` (permission bits),
    ``modified`` (seconds since the epoch), ``links`` (hard links), ``revision`` (changes when the file does, short of a
    rewrite within one clock tick), and where known ``target`` (of a link) and ``sha256``."""
    info: Dict[str, Any] = {
        "path": path,
        "type": kind_of(st.st_mode),
        "size": st.st_size,
        "mode": stat.S_IMODE(st.st_mode),
        "modified": st.st_mtime_ns / 1e9,
        "links": st.st_nlink,
        "revision": revision(st),
    }
    if target is not None:
        info["target"] = target
    if sha256 is not None:
        info["sha256"] = sha256
    return info


def revision(st: os.stat_result) -> str:
    """Return a token of the file's identity and times. Good for caches and pinning, never for if_match."""
    return "%x-%x-%x-%x" % (st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns)


def free_space(root: Root) -> int:
    """Return how many bytes there is room for beneath the root."""
    with os_errors("."):
        found = os.fstatvfs(root.fd)
    return found.f_bavail * found.f_frsize


def hash_file(fd: int, path: str, job: Optional[Job] = None) -> str:
    """Return the sha256 of a whole open file, in hex, reading from its start."""
    digest = hashlib.sha256()
    offset = 0
    with os_errors(path):
        while True:
            chunk = os.pread(fd, CHUNK, offset)
            if not chunk:
                return digest.hexdigest()
            digest.update(chunk)
            offset += len(chunk)
            if job is not None:
                job.check(path)


def read_unsized(fd: int, path: str) -> bytes:
    """Return what is in a file whose size is 0: nothing, but where a kernel makes it up as it is read (``/proc``), all
    of it. Raises unsupported for more than 8 MiB, which may have no end."""
    data = bytearray()
    with os_errors(path):
        while True:
            chunk = os.pread(fd, CHUNK, len(data))
            if not chunk:
                return bytes(data)
            data += chunk
            if len(data) > _UNSIZED:
                raise GuestError("unsupported", path, "this file does not tell its size, and is larger than 8 MiB")


def hash_place(place: Place, job: Optional[Job] = None) -> str:
    """Return the sha256 of the regular file at a place."""
    fd = place.open_file()
    try:
        return hash_file(fd, place.path, job)
    finally:
        os.close(fd)
