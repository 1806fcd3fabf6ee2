"""The system calls of inotify, which Python's library lacks, and where they can be trusted. Linux only.

The kernel reports no change that is made through a memory map.
"""

import ctypes
import errno
import os
import select
import struct
from typing import List, NamedTuple

MODIFY, ATTRIB, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x2, 0x4, 0x40, 0x80, 0x100, 0x200
DELETE_SELF, MOVE_SELF, UNMOUNT, OVERFLOW, IGNORED = 0x400, 0x800, 0x2000, 0x4000, 0x8000
IS_DIRECTORY = 0x40000000

_ONLY_DIRECTORY, _EXCLUDE_UNLINKED = 0x01000000, 0x04000000
_WANTED = (
    (MODIFY | ATTRIB | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF)
    | (_ONLY_DIRECTORY | _EXCLUDE_UNLINKED)  # a deleted file that is still written to must not seem to be back
)
_HEADER = struct.Struct("iIII")  # wd, mask, cookie, length of the name with its padding
_BUFFER = 1 << 16
_MOST_READS = 64  # several times the kernel's default queue: reading ends even where changes never do

#: File systems on which others may change files without this kernel noticing.
REMOTE = {"nfs", "nfs4", "cifs", "smb3", "9p", "afs", "ceph", "lustre", "virtiofs", "vboxsf", "prl_fs", "fuse"}


class RawEvent(NamedTuple):
    """What the kernel says: the watch, what happened, a number that pairs the halves of a move, and the name of
    the entry it happened to, empty for the watched directory itself."""

    wd: int
    mask: int
    cookie: int
    name: str


class Inotify:
    """One queue of changes in the directories that were added to it. Every call raises OSError, ENOSYS where
    this is not Linux, EMFILE and ENOSPC at the limits of the user or the system."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(self._libc, "inotify_init1"):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        self.fd = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def add(self, directory: int) -> int:
        """Watch an open directory and return its watch descriptor, the old one if it is watched already."""
        # the handle's own magic link: nothing on the way can be exchanged
        handle = b"/proc/self/fd/%d" % directory
        return self._checked(self._libc.inotify_add_watch(self.fd, handle, ctypes.c_uint32(_WANTED)))

    def remove(self, wd: int) -> None:
        """Watch no longer. A directory that is gone was removed by the kernel already, which is no error."""
        self._libc.inotify_rm_watch(self.fd, wd)

    def wait(self, seconds: float) -> bool:
        """Wait until something can be read; return whether it can."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def read(self) -> List[RawEvent]:
        """Return what is in the queue, nothing if it is empty."""
        found: List[RawEvent] = []
        for _ in range(_MOST_READS):
            try:
                data = os.read(self.fd, _BUFFER)
            except BlockingIOError:
                break
            offset = 0
            while offset < len(data):
                wd, mask, cookie, length = _HEADER.unpack_from(data, offset)
                offset += _HEADER.size
                name = data[offset : offset + length].rstrip(b"\0")
                found.append(RawEvent(wd, mask, cookie, os.fsdecode(name)))
                offset += length
        return found

    def close(self) -> None:
        """Close the queue, and with it every watch."""
        os.close(self.fd)

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return result


def file_system(device: int) -> str:
    """Return the kind of file system on a device (an ``st_dev``), empty where its mounts do not tell."""
    number = "%d:%d" % (os.major(device), os.minor(device))
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        for line in mounts:
            before, _, after = line.partition(" - ")
            if before.split(" ")[2] == number:
                return after.split(" ")[0]
    return ""


def reports_all_of(kind: str) -> bool:
    """Whether all changes on a kind of file system pass through this kernel."""
    return kind == "fuse.fuse-overlayfs" or kind.partition(".")[0] not in REMOTE
