"""Every error there is, one class and one code each.

    DevboxError
    ├── NotFound            not_found            nothing is there
    ├── Exists              exists               something is there already
    ├── IsDirectory         is_directory         a directory where a file is meant
    ├── NotDirectory        not_directory        a file where a directory is meant
    ├── NotEmpty            not_empty            a directory with entries, and not recursive
    ├── EscapesRoot         escapes_root         the path leads outside the sandbox
    ├── TooManyLinks        too_many_links       a loop of symbolic links
    ├── PermissionDenied    permission_denied    the sandbox's own file permissions
    ├── Denied              denied               the operator's deny rules
    ├── Unauthenticated     unauthenticated      no key or token, or one that does not count
    ├── Forbidden           forbidden            the caller's credentials do not give this right
    ├── ReadOnly            read_only            the devbox or its file system takes no writes
    ├── TooLarge            too_large            over a limit, which is named
    ├── Conflict            conflict             if_match does not match; data holds the current sha256
    ├── Integrity           integrity            bytes arrived that are not the bytes sent
    ├── NoSpace             no_space             disk or quota is full
    ├── Busy                busy                 a mount point or a running program
    ├── IoError             io_error             the file system failed
    ├── Unsupported         unsupported          this backend or kind of file cannot do it
    ├── Timeout             timeout              the time allowed is over
    ├── Unavailable         unavailable          the sandbox cannot be reached or is gone
    ├── RateLimited         rate_limited         too many calls
    ├── Cancelled           cancelled            the caller gave up
    ├── EditMismatch        edit_mismatch        old_text is not there, or not once
    └── InvalidArgument     invalid_argument     the call itself is wrong

``op`` is the operation, ``path`` relative to the sandbox's root, ``detail`` a clause that says what is wrong,
``hint`` a clause that says what to do next; ``retryable`` tells whether the same call may go through later.
"""

from __future__ import annotations

from typing import Any, ClassVar

_LONGEST, _BEGINNING = 4096, 200


class DevboxError(Exception):
    """An operation that did not happen; nothing was changed unless the message says so."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str] = ""
    #: Whether the audit log has a line of it.
    recorded: bool = False

    def __init__(self, op: str, path: str, detail: str = "", *, hint: str = "", **data: Any) -> None:
        super().__init__(op, path, detail)
        self.op = op
        self.path = path
        self.detail = detail or (self.__doc__ or "").strip().rstrip(".")
        self.hint = hint or self.default_hint
        self.data: dict[str, Any] = data

    def __str__(self) -> str:
        text = f"{self.op} {printable(bounded(self.path))}: {bounded(self.detail)} [{self.code}]"
        text = f"{text}; {self.hint}" if self.hint else text
        # a detail may name a path, and undecodable bytes cannot be sent to anybody
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def bounded(text: str) -> str:
    """Return text as an error repeats it: of what is longer than any path, the beginning, and how much more it is."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_BEGINNING]}… and {len(text) - _BEGINNING} characters more"


def printable(text: str) -> str:
    """Return text with control characters and undecodable bytes escaped, fit for one line of a message."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


class NotFound(DevboxError):
    """There is nothing here."""

    code = "not_found"
    default_hint = "list_dir or find_files shows what is there"


class Exists(DevboxError):
    """Something is here already."""

    code = "exists"


class IsDirectory(DevboxError):
    """This is a directory."""

    code = "is_directory"
    default_hint = "list_dir shows what is in it"


class NotDirectory(DevboxError):
    """This is not a directory."""

    code = "not_directory"


class NotEmpty(DevboxError):
    """The directory is not empty."""

    code = "not_empty"
    default_hint = "pass recursive=true to delete it with everything in it"


class EscapesRoot(DevboxError):
    """The path leads outside the sandbox."""

    code = "escapes_root"
    default_hint = "use a path relative to the root, or an absolute one beneath it; stat . tells the root"


class TooManyLinks(DevboxError):
    """Too many symbolic links in a row."""

    code = "too_many_links"


class PermissionDenied(DevboxError):
    """The sandbox's file permissions forbid it."""

    code = "permission_denied"


class Denied(DevboxError):
    """The operator's deny rules cover it."""

    code = "denied"
    default_hint = "leave it alone, or ask the operator"


class Unauthenticated(DevboxError):
    """A key or token is required."""

    code = "unauthenticated"
    default_hint = "send Authorization: Bearer KEY"


class Forbidden(DevboxError):
    """These credentials do not give this right."""

    code = "forbidden"
    default_hint = "ask the operator for a key that does"


class ReadOnly(DevboxError):
    """Nothing may be changed here."""

    code = "read_only"


class TooLarge(DevboxError):
    """This is over a limit."""

    code = "too_large"


class Conflict(DevboxError):
    """The file changed since it was read."""

    code = "conflict"
    default_hint = "read it again and repeat the change on what is there now"


class Integrity(DevboxError):
    """The bytes that arrived are not the bytes that were sent."""

    code = "integrity"
    retryable = True
    default_hint = "nothing was changed; try again"


class NoSpace(DevboxError):
    """The disk is full."""

    code = "no_space"
    default_hint = "the old content is untouched; free some space first"


class Busy(DevboxError):
    """The file is a mount point or in use."""

    code = "busy"


class IoError(DevboxError):
    """The file system failed."""

    code = "io_error"


class Unsupported(DevboxError):
    """This cannot be done here."""

    code = "unsupported"


class Timeout(DevboxError):
    """The time allowed is over."""

    code = "timeout"
    retryable = True


class Unavailable(DevboxError):
    """The sandbox cannot be reached."""

    code = "unavailable"
    retryable = True


class RateLimited(DevboxError):
    """Too many calls."""

    code = "rate_limited"
    retryable = True


class Cancelled(DevboxError):
    """The caller gave up."""

    code = "cancelled"


class EditMismatch(DevboxError):
    """The text to replace is not there, or not exactly once."""

    code = "edit_mismatch"


class InvalidArgument(DevboxError):
    """The call itself is wrong."""

    code = "invalid_argument"


BY_CODE: dict[str, type[DevboxError]] = {kind.code: kind for kind in DevboxError.__subclasses__()}


def from_code(code: str, op: str, path: str, detail: str, hint: str, data: dict[str, Any]) -> DevboxError:
    """Return the error for a code that came from a guest or a server; an unknown code becomes io_error."""
    return BY_CODE.get(code, IoError)(op, path, detail, hint=hint, **data)
