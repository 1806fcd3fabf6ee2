"""Paths as callers write them, parsed once into a type."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import quote_from_bytes, unquote_to_bytes

from devbox_mcp.errors import EscapesRoot, InvalidArgument, IsDirectory

SCHEME = "devbox://"
#: Operations that make a file of what they are given.
_MAKE_FILES = frozenset({"write", "upload"})
LONGEST = 4095  # bytes, as PATH_MAX


@dataclass(frozen=True, slots=True)
class SandboxPath:
    """A path beneath a sandbox's root. Invariants of ``text``: relative; parts joined by single slashes; no part
    is empty, ``.`` or ``..``; no NUL; the root is ``.``; bytes that are not UTF-8 are surrogate escapes."""

    text: str

    @property
    def is_root(self) -> bool:
        """Whether this is the root itself."""
        return self.text == "."

    @property
    def name(self) -> str:
        """The last part."""
        return self.text.rpartition("/")[2]

    def child(self, name: str) -> SandboxPath:
        """Return the path of what ``name`` (one part or several, normalised) is beneath this one."""
        return SandboxPath(name if self.is_root else f"{self.text}/{name}")

    def below(self, above: SandboxPath) -> str:
        """Return this path as it is seen from ``above``, which it lies beneath."""
        return self.text if above.is_root else self.text[len(above.text) + 1 :]

    def uri(self, devbox: str) -> str:
        """Return the resource URI, percent-encoded byte by byte."""
        path = "" if self.is_root else quote_from_bytes(os.fsencode(self.text), safe="/~!$&'()*+,;=:@")
        return f"{SCHEME}{devbox}/{path}"

    def shown(self, devbox: str) -> str:
        """Return the path as results show it: itself, or its URI where it would not survive as one line of UTF-8."""
        return self.text if self.text.isprintable() and not self.text.startswith(SCHEME) else self.uri(devbox)

    def __str__(self) -> str:
        return self.text


ROOT = SandboxPath(".")


def split_uri(text: str) -> tuple[str, str] | None:
    """Return (devbox, path) of a ``devbox://`` URI, the path decoded, or None for any other text."""
    if not text.startswith(SCHEME):
        return None
    devbox, _, path = text[len(SCHEME) :].partition("/")
    return devbox, decoded(path) or "."


def decoded(encoded: str) -> str:
    """Return what percent-encoded text stands for; bytes that are not UTF-8 become surrogate escapes."""
    return os.fsdecode(unquote_to_bytes(encoded.encode("utf-8", "surrogatepass")))


def check_means_file(text: str, op: str) -> None:
    """Raise IsDirectory where ``op`` makes a file, and the path says that a directory is meant."""
    if op in _MAKE_FILES and text.endswith("/"):
        raise IsDirectory(
            op, text, "a path that ends in / names a directory", hint="leave the / out to write a file of this name"
        )


def is_absolute(text: str) -> bool:
    """Whether a path names a place by the sandbox's own file system rather than from the root."""
    return text.startswith("/")


def parse(text: str, op: str) -> SandboxPath:
    """Parse a path relative to the root; ``.`` and ``..`` are resolved by their letters.

    Raises InvalidArgument for the empty path, NUL or an over-long one, EscapesRoot for one that climbs out, IsDirectory
    where ``op`` makes a file and it ends in a slash.
    """
    if not text:
        raise InvalidArgument(op, text, "the path is empty", hint="use . for the root")
    if "\0" in text:
        raise InvalidArgument(op, text, "the path holds a NUL character")
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        raise InvalidArgument(
            op, text, "the path holds a lone surrogate", hint="percent-encode it in a devbox:// URI"
        ) from None
    if len(encoded) > LONGEST:
        raise InvalidArgument(op, text[:80] + "…", f"the path is longer than {LONGEST} bytes")
    check_means_file(text, op)
    parts: list[str] = []
    for part in text.split("/"):
        if part in ("", "."):
            continue
        if part == "..":
            if not parts:
                raise EscapesRoot(op, text, "the path climbs out of the root")
            parts.pop()
        else:
            parts.append(part)
    return SandboxPath("/".join(parts) or ".")


def beneath(text: str, root: str) -> str | None:
    """Return the part of an absolute path below ``root``, None if its letters do not lead there."""
    clean = os.path.normpath(text)
    if clean == root:
        return "."
    prefix = root.rstrip("/") + "/"
    return clean[len(prefix) :] if clean.startswith(prefix) else None
