"""What a file's new version takes over from the old one: owner, group, mode, access list, extended attributes."""

import errno
import os
import stat
from typing import Dict, Optional

from .beneath import adopt

_ACCESS_LIST = "system.posix_acl_access"
#: Privileges and signatures of the old content, which the new has not earned; the kernel drops them on a write too.
_TIED_TO_CONTENT = ("security.capability", "security.ima", "security.evm")
_PERMISSIONS = 0o777  # setuid, setgid and sticky go the same way


def make_new(parent_fd: int, fd: int, name: str, executable: Optional[bool]) -> None:
    """Finish a new file, which was created with 0666 and so got what the umask leaves: its owner, and x if wanted."""
    adopt(parent_fd, name)
    if executable:
        os.fchmod(fd, with_executable(os.fstat(fd).st_mode & _PERMISSIONS, True))


def keep(fd: int, old_fd: int, executable: Optional[bool] = None, old: Optional[os.stat_result] = None) -> None:
    """Give ``fd``, which only its owner can read yet, what ``old_fd`` has; ``old`` is its stat, if that is known.
    Where the owner or group cannot be kept (only root may give files away) the file becomes no wider open for it."""
    old = old or os.fstat(old_fd)
    mode = _keep_owner(fd, os.fstat(fd), old)
    _keep_extended(fd, old_fd)
    # last, for an access list sets the mode's group bits, and a change of owner may clear some
    os.fchmod(fd, with_executable(mode, executable))


def _keep_owner(fd: int, new: os.stat_result, old: os.stat_result) -> int:
    """Return the mode that is right for the owner and group that the new file could be given."""
    mode = old.st_mode & _PERMISSIONS
    if (new.st_uid, new.st_gid) == (old.st_uid, old.st_gid):
        return mode
    if _give(fd, old.st_uid, old.st_gid) or new.st_gid == old.st_gid or _give(fd, -1, old.st_gid):
        return mode
    others = mode & stat.S_IRWXO
    return mode & (~stat.S_IRWXG | others << 3)


def _give(fd: int, uid: int, gid: int) -> bool:
    """Change owner and group, and return whether that is permitted."""
    try:
        os.fchown(fd, uid, gid)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EINVAL):  # EINVAL: an id that this user namespace lacks
            raise
        return False
    return True


def _keep_extended(fd: int, old_fd: int) -> None:
    wanted, present = _extended(old_fd), _extended(fd)
    if _ACCESS_LIST in present and _ACCESS_LIST not in wanted:  # from the directory's default
        os.removexattr(fd, _ACCESS_LIST)
    for name, value in wanted.items():
        if present.get(name) == value:
            continue
        try:
            os.setxattr(fd, name, value)
        except OSError as error:
            # labels of the system, which only the system may set, and which it set already
            if name.startswith("user.") or name == _ACCESS_LIST or error.errno not in (errno.EPERM, errno.ENOTSUP):
                raise


def _extended(fd: int) -> Dict[str, bytes]:
    """Return the extended attributes of an open file, none where system or file system have none."""
    if not hasattr(os, "listxattr"):
        return {}
    try:
        return {name: os.getxattr(fd, name) for name in os.listxattr(fd) if name not in _TIED_TO_CONTENT}
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return {}
        raise


def with_executable(mode: int, executable: Optional[bool]) -> int:
    """Return the mode with x wherever r is, without any x, or as it is for None."""
    if executable is None:
        return mode
    return mode | (mode & 0o444) >> 2 if executable else mode & ~0o111
