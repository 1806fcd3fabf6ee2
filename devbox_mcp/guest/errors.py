"""The guest's one exception, and the one place where an errno becomes a code."""

import errno
from types import TracebackType
from typing import Any, Dict, Optional, Type, final


class WouldBlock(Exception):
    """The kernel's caches cannot answer at once; ask again where blocking is allowed."""


class GuestError(Exception):
    """An operation that did not happen.

    ``code`` is one of the project's error codes, ``path`` is relative to the root, ``detail`` says what is
    wrong in a clause without the path, ``hint`` what to do next, ``data`` whatever a program may want to read
    (``{"sha256": …}`` for a conflict). All of it is plain JSON, for it crosses processes.
    """

    def __init__(self, code: str, path: str, detail: str = "", hint: str = "", **data: Any) -> None:
        super().__init__(code, path, detail)
        self.code = code
        self.path = path
        self.detail = detail
        self.hint = hint
        self.data: Dict[str, Any] = data

    def __str__(self) -> str:
        return "%s: %s%s" % (self.code, self.path, " (%s)" % self.detail if self.detail else "")


_ERRNO_CODES = {
    errno.ENOENT: ("not_found", "there is nothing here"),
    errno.EEXIST: ("exists", "something is here already"),
    errno.EISDIR: ("is_directory", "this is a directory"),
    errno.ENOTDIR: ("not_directory", "this is not a directory"),
    errno.ENOTEMPTY: ("not_empty", "the directory is not empty"),
    errno.EACCES: ("permission_denied", "the sandbox's file permissions forbid it"),
    errno.EPERM: ("permission_denied", "the sandbox's file permissions forbid it"),
    errno.ELOOP: ("too_many_links", "too many symbolic links in a row"),
    errno.ENAMETOOLONG: ("invalid_argument", "the name is too long for this file system"),
    errno.EILSEQ: ("invalid_argument", "this file system does not take such a name"),
    errno.EINVAL: ("invalid_argument", "this file system refuses it"),
    errno.ENOSPC: ("no_space", "the disk is full"),
    errno.EDQUOT: ("no_space", "the disk quota is used up"),
    errno.EFBIG: ("no_space", "the file would be larger than this system allows"),
    errno.EROFS: ("read_only", "the file system is read-only"),
    errno.EBUSY: ("busy", "the file is a mount point or in use"),
    errno.ETXTBSY: ("busy", "the file is a program that is running"),
    errno.ENXIO: ("unsupported", "this is a special file"),
    errno.EXDEV: ("unsupported", "this crosses a file system boundary"),
    errno.EMFILE: ("unavailable", "too many files are open"),
    errno.ENFILE: ("unavailable", "too many files are open"),
    errno.ESTALE: ("unavailable", "the file system lost the file"),
}


def from_os_error(error: OSError, path: str) -> GuestError:
    """Return the GuestError for an OSError; the host's own path and message never pass."""
    code, detail = _ERRNO_CODES.get(error.errno or 0, ("io_error", ""))
    if not detail:
        detail = "the file system reported %s" % errno.errorcode.get(error.errno or 0, "an error")
    return GuestError(code, path, detail)


@final
class _OsErrors:
    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if isinstance(error, OSError):
            raise from_os_error(error, self._path) from error


def os_errors(path: str) -> _OsErrors:
    """Turn an OSError in the block into the GuestError for ``path``."""
    return _OsErrors(path)  # not a generator, which takes five times as long, and this is met at every step
