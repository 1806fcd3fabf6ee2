"""What the headers of a resumable upload say, and the address that remembers it.

Nothing of an upload is kept in the server: its address holds all but the bytes. So whoever gets the address back looks
at it as at any other input; what protects an upload is its random token.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from devbox_mcp import paths
from devbox_mcp.errors import DevboxError, Integrity, InvalidArgument, NotFound
from devbox_mcp.paths import SandboxPath

OP = "upload"
#: The longest address is that of the longest path, which is escaped at worst.
_LONGEST = 12_000
_LONGEST_METADATA = 16_000
_ENCODED = re.compile(r"[A-Za-z0-9_-]+")
_TOKEN = re.compile(r"[0-9a-f]{16}")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_VERSION = re.compile(r'"?(?P<version>[0-9a-f]{12,64})"?')
_KEY = re.compile(r"[!-+\--~]+")
_NUMBER = re.compile(r"[0-9]{1,18}")
#: SHA-1 is what the protocol asks every server for, against accidents only.
ALGORITHMS = ("sha1", "sha256")

Mode = Literal["overwrite", "create"]


@dataclass(frozen=True, slots=True)
class Ticket:
    """An upload of ``length`` bytes to ``path``; the rest are the options of a write."""

    path: str
    token: str
    length: int
    mode: Mode = "overwrite"
    if_match: str | None = None
    executable: bool | None = None
    sha256: str | None = None

    @property
    def place(self) -> SandboxPath:
        """Where the file is to be."""
        return SandboxPath(self.path)

    def encode(self) -> str:
        """Return the last part of the upload's address."""
        fields = {name: value for name, value in asdict(self).items() if value is not None}
        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        return base64.urlsafe_b64encode(os.fsencode(text)).decode("ascii").rstrip("=")

    @classmethod
    def decode(cls, encoded: str) -> Ticket:
        """Read the last part of an address. Raises NotFound for what this server never said."""
        try:
            ticket = cls(**_fields(encoded))
            known = paths.parse(ticket.path, OP) == ticket.place and ticket._makes_sense
        except (TypeError, ValueError, RecursionError, DevboxError):
            known = False
        if not known:
            raise NotFound(OP, ".", "there is no such upload", hint="begin again with POST uploads")
        return ticket

    @property
    def _makes_sense(self) -> bool:
        return (
            _TOKEN.fullmatch(self.token) is not None
            and 0 <= self.length < 10**18  # as many as a header can tell
            and self.mode in get_args(Mode)
            and (self.if_match is None or _VERSION.fullmatch(self.if_match) is not None)
            and (self.sha256 is None or _SHA256.fullmatch(self.sha256) is not None)
        )


_KINDS = {
    "path": str, "token": str, "length": int, "mode": str, "if_match": str, "executable": bool, "sha256": str
}  # fmt: skip


def _fields(encoded: str) -> dict[str, Any]:
    """Read the fields of a ticket, of the right types. Raises ValueError."""
    if len(encoded) > _LONGEST or not _ENCODED.fullmatch(encoded):
        raise ValueError("no address of an upload")
    found = json.loads(os.fsdecode(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))))
    if not isinstance(found, dict) or any(type(value) is not _KINDS.get(name) for name, value in found.items()):
        raise ValueError("no upload")
    return found


@dataclass(frozen=True, slots=True)
class Wishes:
    """What Upload-Metadata says: the path as it is written, and the options of a ``Ticket`` by name."""

    path: str
    options: dict[str, Any]


def wishes(metadata: str) -> Wishes:
    """Read Upload-Metadata: ``path`` or ``filename``, and if wanted ``mode``, ``if_match``, ``executable`` and
    ``sha256``; what else clients tell there is passed over. Raises InvalidArgument."""
    found = _pairs(metadata)
    path = found.get("path") or found.get("filename")
    if not path:
        raise _bad("Upload-Metadata names no file", "send path BASE64, or filename BASE64")
    options: dict[str, Any] = {}
    if "mode" in found:
        if found["mode"] not in get_args(Mode):
            raise _bad("mode in Upload-Metadata is overwrite or create")
        options["mode"] = found["mode"]
    if "if_match" in found:
        match = _VERSION.fullmatch(found["if_match"])
        if match is None:
            raise _bad("if_match in Upload-Metadata is a sha256, or 12 hex digits and more of it")
        options["if_match"] = match["version"]
    if "executable" in found:
        if found["executable"] not in ("true", "false"):
            raise _bad("executable in Upload-Metadata is true or false")
        options["executable"] = found["executable"] == "true"
    if "sha256" in found:
        if not _SHA256.fullmatch(found["sha256"]):
            raise _bad("sha256 in Upload-Metadata is 64 hex digits")
        options["sha256"] = found["sha256"].lower()
    return Wishes(path, options)


def _pairs(metadata: str) -> dict[str, str]:
    if len(metadata) > _LONGEST_METADATA:
        raise _bad(f"Upload-Metadata is longer than {_LONGEST_METADATA} bytes")
    found: dict[str, str] = {}
    for pair in metadata.split(",") if metadata.strip() else ():
        key, _, value = pair.strip().partition(" ")
        if not _KEY.fullmatch(key) or key in found:
            raise _bad("a key in Upload-Metadata is empty, odd or given twice")
        try:
            # bytes that are not UTF-8 are kept, for names may have them
            found[key] = os.fsdecode(base64.b64decode(value.strip(), validate=True))
        except (ValueError, binascii.Error):
            raise _bad(f"the value of {key} in Upload-Metadata is not base64") from None
    return found


def number(text: str | None, header: str) -> int:
    """Read a header that counts bytes. Raises InvalidArgument."""
    if text is None:
        raise _bad(f"{header} is missing")
    if not _NUMBER.fullmatch(text):
        raise _bad(f"{header} is not a number of bytes")
    return int(text)


class Checksum:
    """What a part of an upload hashes to, as its sender says."""

    def __init__(self, text: str) -> None:
        """Read Upload-Checksum. Raises InvalidArgument."""
        self.algorithm, _, encoded = text.strip().partition(" ")
        if self.algorithm not in ALGORITHMS:
            raise _bad(f"Upload-Checksum is of another kind than {' and '.join(ALGORITHMS)}")
        digest = hashlib.new(self.algorithm, usedforsecurity=False)
        try:
            self._expected = base64.b64decode(encoded.strip(), validate=True)
        except (ValueError, binascii.Error):
            raise _bad("the checksum in Upload-Checksum is not base64") from None
        if len(self._expected) != digest.digest_size:
            raise _bad(f"the checksum in Upload-Checksum is not as long as a {self.algorithm}")

    async def checked(self, body: AsyncIterator[bytes], path: str) -> AsyncIterator[bytes]:
        """Pass a body on. Raises Integrity at its end if it was another one."""
        digest = hashlib.new(self.algorithm, usedforsecurity=False)
        async for piece in body:
            digest.update(piece)
            yield piece
        if digest.digest() != self._expected:
            detail = "the bytes that arrived do not have the checksum that was sent with them"
            raise Integrity(OP, path, detail, hint="nothing of them was kept; send them again")


def _bad(detail: str, hint: str = "") -> InvalidArgument:
    return InvalidArgument(OP, ".", detail, hint=hint)
