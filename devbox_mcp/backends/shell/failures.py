"""What a shell says of an operation that did not happen, as the project's errors.

The program's own words come first. For the rest there is only what a tool wrote to stderr: its last clause is the
system's own text for an errno, in English because the program asked for that, and differs between C libraries.
"""

from __future__ import annotations

from devbox_mcp.errors import DevboxError, IoError, Unavailable, Unsupported, from_code

_WORDS: dict[str, tuple[str, str, str]] = {
    "noent": ("not_found", "there is nothing here", ""),
    "notdir": ("not_directory", "this, or something on the way to it, is not a directory", ""),
    "isdir": ("is_directory", "this is a directory", ""),
    "exists": ("exists", "something is here already", ""),
    "special": ("unsupported", "this is a special file, not a regular one", ""),
    "unsized": (
        "unsupported", "this file does not tell its size, as what a kernel makes up", "copy it, and read the copy",
    ),
    "same": ("invalid_argument", "both are the same file", ""),
    "into": ("invalid_argument", "the destination lies in the source", ""),
    "denied": ("permission_denied", "the sandbox's file permissions forbid it", ""),
    "changed": ("conflict", "it was changed meanwhile", "try again"),
    "nomatch": ("invalid_argument", "if_match is for regular files only", ""),
    "integrity": ("integrity", "the bytes that arrived are not the bytes that were sent", ""),
    "busy": ("timeout", "another change in the same directory is still under way", "try again later"),
    "unsure": ("io_error", "the change was made, but the file system did not confirm that it will last", ""),
    "lost": (
        "unavailable", "what had arrived of it is gone, as when the sandbox is replaced; nothing was written",
        "write it again",
    ),
    "gone": ("unavailable", "the root directory was deleted", "make it again and restart the server"),
}  # fmt: skip

_TEXTS: dict[str, tuple[str, str]] = {
    "no such file or directory": ("not_found", "there is nothing here"),
    "no such file": ("not_found", "there is nothing here"),
    "directory nonexistent": ("not_found", "there is nothing here"),
    "nonexistent directory": ("not_found", "there is nothing here"),
    "file exists": ("exists", "something is here already"),
    "is a directory": ("is_directory", "this is a directory"),
    "not a directory": ("not_directory", "this is not a directory"),
    "directory not empty": ("not_empty", "the directory is not empty"),
    "permission denied": ("permission_denied", "the sandbox's file permissions forbid it"),
    "operation not permitted": ("permission_denied", "the sandbox's file permissions forbid it"),
    "read-only file system": ("read_only", "the file system is read-only"),
    "no space left on device": ("no_space", "the disk is full"),
    "disk quota exceeded": ("no_space", "the disk quota is used up"),
    "quota exceeded": ("no_space", "the disk quota is used up"),
    "file too large": ("no_space", "the file would be larger than this system allows"),
    "file name too long": ("invalid_argument", "the name is too long for this file system"),
    "filename too long": ("invalid_argument", "the name is too long for this file system"),
    "invalid argument": ("invalid_argument", "this file system refuses it"),
    "too many levels of symbolic links": ("too_many_links", "too many symbolic links in a row"),
    "symbolic link loop": ("too_many_links", "too many symbolic links in a row"),
    "device or resource busy": ("busy", "the file is a mount point or in use"),
    "resource busy": ("busy", "the file is a mount point or in use"),
    "text file busy": ("busy", "the file is a program that is running"),
    "stale file handle": ("unavailable", "the file system lost the file"),
}

_MISSING_HINT = (
    "use an image with Python 3.8 or newer, or one whose shell has coreutils or busybox (1.30 or newer), "
    "or run such a container beside it in the pod"
)


def failure(word: str, text: str, op: str, path: str) -> DevboxError:
    """Return the error for a refusal: its word, and the text that came with it."""
    if word == "conflict":
        detail = "the file is not the version that if_match names" if text else "the file does not exist"
        return from_code("conflict", op, path, detail, "", {"sha256": text or None})
    if word == "tools":
        return Unsupported(op, path, f"the container's shell lacks {', '.join(text.split())}", hint=_MISSING_HINT)
    if word in _WORDS:
        code, detail, hint = _WORDS[word]
        return from_code(code, op, path, detail, hint, {})
    for line in reversed(text.splitlines()):
        found = _TEXTS.get(line.rstrip(" .'").rpartition(": ")[2].lower())
        if found is not None:
            return from_code(found[0], op, path, found[1], "", {})
    return IoError(op, path, "a tool in the container failed")


def lost(op: str, path: str, *, changes: bool) -> Unavailable:
    """Return the error for a shell that is gone in the middle of an operation."""
    if changes:
        return Unavailable(
            op, path, "the connection to the container broke before the answer; whether it was done is unknown",
            hint="look what is there before you repeat it",
        )  # fmt: skip
    return Unavailable(op, path, "the connection to the container broke")
