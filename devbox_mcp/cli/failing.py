"""What goes wrong, as the command line tells it: one sentence and an exit code."""

from __future__ import annotations

#: Exit codes by error code; whatever is not here is 1.
EXIT_CODES = {
    "invalid_argument": 2,
    "not_found": 3,
    "exists": 4,
    "conflict": 4,
    "is_directory": 4,
    "not_directory": 4,
    "not_empty": 4,
    "edit_mismatch": 4,
    "too_many_links": 4,
    "permission_denied": 5,
    "denied": 5,
    "forbidden": 5,
    "unauthenticated": 5,
    "read_only": 5,
    "escapes_root": 5,
    "unavailable": 6,
    "timeout": 6,
    "rate_limited": 6,
    "busy": 6,
    "too_large": 7,
    "no_space": 7,
    "integrity": 8,
    "unsupported": 9,
    "cancelled": 130,
}
INTERRUPTED, READER_GONE = 130, 141
#: As ``--help`` and the documentation show them.
TABLE = """DEVBOX is a directory, k8s://NAMESPACE/POD, exec:COMMAND?root=/DIR, https://HOST/…, or a configured name.

\b
Exit codes:
  0  done
  1  another failure; grep: no match
  2  wrong usage
  3  nothing is there
  4  what is there is in the way
  5  not allowed, or a key is missing
  6  not reachable now: try again
  7  too large, or the disk is full
  8  bytes got damaged
  9  cannot be done there
130  interrupted
"""

#: What to do next, where the error's own general advice speaks of tools.
_ADVICE = {
    "not_found": "devbox-mcp ls shows what is there",
    "is_directory": "devbox-mcp ls shows what is in it",
    "not_empty": "-r deletes it with everything in it",
    "exists": "remove it first, or choose another name",
    "escapes_root": "paths are relative to the devbox's root, or absolute beneath it; devbox-mcp doctor tells the root",
    "denied": "the deny rules that hold here (DEVBOX_MCP_DENY, or the server's) cover it",
    "unauthenticated": "set DEVBOX_MCP_API_KEY, or write the key into ~/.config/devbox-mcp/credentials.toml",
    "permission_denied": "devbox-mcp doctor shows as whom files are touched there",
    "read_only": "nothing can be changed there",
}


class Failed(Exception):
    """An error that is ready to be told: ``code`` is an error's, ``where`` the place as it was written."""

    def __init__(self, code: str, where: str, detail: str, hint: str = "") -> None:
        super().__init__(code, where, detail)
        self.code = code
        self.where = where
        self.detail = detail
        self.hint = hint

    @property
    def exit_code(self) -> int:
        """What the command ends with."""
        return EXIT_CODES.get(self.code, 1)

    def __str__(self) -> str:
        from devbox_mcp.errors import printable

        told = ": ".join(printable(part) for part in (self.where, self.detail) if part)
        return f"{told}; {printable(self.hint)}" if self.hint else told


def wrong_usage(detail: str) -> Failed:
    """Return the failure for what makes no sense as a command; ``detail`` says what to write instead."""
    return Failed("invalid_argument", "", detail)


def advice(code: str, hint: str, general: str) -> str:
    """Return what to do next: an error's own ``hint`` unless that is what all errors of its kind say."""
    return hint if hint and hint != general else _ADVICE.get(code, hint)
