"""Every kind of caller against every devbox and every right: what has to come of it.

For the tests of every door: ``Ground.make`` lays out devboxes and an access file, ``HOLDERS`` come with credentials of
every kind, and ``expected`` tells what a call that needs a right has to answer.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import jwt

from devbox_mcp.callers import Scope
from devbox_mcp.keys import hashed, new_key

Outcome = Literal["ok", "forbidden", "not_found", "unauthenticated"]

DEVBOXES = ("shop", "shop-test", "bank")
READ, WRITE, LIFECYCLE = Scope.READ, Scope.WRITE, Scope.LIFECYCLE
ISSUER, AUDIENCE = "https://login.example.com", "https://files.example.com/mcp"
HS256_SECRET = "an HS256 secret of a test, and long enough for it"
TOKEN = "the single token of a test"
#: What every devbox holds before a call.
TREE = {"a.txt": b"one\ntwo\n", "dir/b.txt": b"three\n", "run.sh": b"#!/bin/sh\n"}


@dataclass(frozen=True)
class Holder:
    """Somebody with a credential (or none) and the rights that come with it."""

    name: str
    devboxes: tuple[str, ...] = ()
    scopes: frozenset[Scope] = frozenset()
    known: bool = True


def _holder(name: str, devboxes: str, *scopes: Scope) -> Holder:
    return Holder(name, tuple(devboxes.split()), frozenset(scopes))


HOLDERS = (
    _holder("reader", "shop*", READ),
    _holder("writer", "shop", WRITE),
    _holder("editor", "shop-test bank", READ, WRITE),
    _holder("keeper", "shop", LIFECYCLE),
    _holder("elsewhere", "none sho", READ, WRITE),
    _holder("token", "*", *Scope),
    _holder("jwt-reader", "ban?", READ),
    _holder("jwt-editor", "shop", READ, WRITE),
    _holder("jwt-nothing", "", READ, WRITE),
    Holder("expired", ("*",), frozenset(Scope), known=False),
    Holder("stranger", known=False),
    Holder("jwt-expired", ("*",), frozenset(Scope), known=False),
    Holder("anonymous", known=False),
)


def expected(holder: Holder, devbox: str, needed: Scope) -> Outcome:
    """Return what a call to a devbox that needs a right has to answer."""
    if not holder.known:
        return "unauthenticated"
    if not any(fnmatchcase(devbox, pattern) for pattern in holder.devboxes):
        return "not_found"
    return "ok" if needed in holder.scopes else "forbidden"


def token_of(holder: Holder, **claims: Any) -> str:
    """Return a JWT of the issuer in the access file."""
    now = int(time.time())
    lifetime = -3600 if holder.name == "jwt-expired" else 3600
    found = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": holder.name,
        "exp": now + lifetime,
        "devboxes": list(holder.devboxes),
        "scope": " ".join(["openid", *holder.scopes]),
        **claims,
    }
    return jwt.encode(found, HS256_SECRET, "HS256")


@dataclass
class Ground:
    """The devboxes on disk, and everybody's credential."""

    directory: Path
    credentials: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, directory: Path) -> Ground:
        """Lay out the devboxes, a directory that may be used on the server's machine, and the access file."""
        ground = cls(directory)
        for name in DEVBOXES:
            (directory / "boxes" / name).mkdir(parents=True)
        (directory / "allowed").mkdir()
        (directory / "allowed" / "local.txt").write_bytes(b"here\n")
        (directory / "token").write_text(TOKEN)
        (directory / "hs256").write_text(HS256_SECRET)
        stanzas = []
        for holder in HOLDERS:
            if holder.name.startswith("jwt-"):
                ground.credentials[holder.name] = token_of(holder)
            elif holder.name == "token":
                ground.credentials["token"] = TOKEN
            elif holder.name != "anonymous":
                ground.credentials[holder.name] = key = new_key()
                if holder.name != "stranger":
                    stanzas.append(_stanza(holder, key))
        ground.access_file.write_text("\n".join(stanzas) + _ISSUER)
        ground.reset()
        return ground

    @property
    def access_file(self) -> Path:
        """Where keys and issuers are."""
        return self.directory / "access.toml"

    @property
    def audit_log(self) -> Path:
        """Where the audit lines are."""
        return self.directory / "audit.jsonl"

    @property
    def options(self) -> list[str]:
        """Arguments of ``devbox-mcp serve`` for all of this."""
        boxes = [f"{name}={self.directory / 'boxes' / name}" for name in DEVBOXES]
        files = {"--access": self.access_file, "--token-file": self.directory / "token", "--audit-log": self.audit_log}
        named = [text for option, path in files.items() for text in (option, str(path))]
        return [*boxes, *named, "--allow-local", str(self.directory / "allowed"), "--toolsets", "all"]

    def headers(self, holder: Holder | str) -> dict[str, str]:
        """Return the header with somebody's credential."""
        name = holder if isinstance(holder, str) else holder.name
        credential = self.credentials.get(name)
        return {} if credential is None else {"Authorization": f"Bearer {credential}"}

    def reset(self) -> None:
        """Put every devbox back to TREE."""
        for name in DEVBOXES:
            box = self.directory / "boxes" / name
            if self.tree(name) == TREE:
                continue
            for entry in box.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            for path, content in TREE.items():
                (box / path).parent.mkdir(parents=True, exist_ok=True)
                (box / path).write_bytes(content)

    def tree(self, devbox: str) -> dict[str, bytes]:
        """Return what is in a devbox: files, and directories with a slash where they are empty."""
        box = self.directory / "boxes" / devbox
        return dict(_files(box, box))

    def untouched(self, devbox: str) -> bool:
        """Whether a devbox is as it was."""
        return self.tree(devbox) == TREE

    def audited(self) -> list[dict[str, Any]]:
        """Return the audit lines."""
        return [json.loads(line) for line in self.audit_log.read_text().splitlines()]


def _files(box: Path, directory: Path) -> Iterator[tuple[str, bytes]]:
    entries = list(directory.iterdir())
    if not entries and directory != box:
        yield f"{directory.relative_to(box)}/", b""
    for entry in entries:
        if entry.is_dir():
            yield from _files(box, entry)
        else:
            yield str(entry.relative_to(box)), entry.read_bytes()


def _stanza(holder: Holder, key: str) -> str:
    lines: Mapping[str, str] = {
        "name": json.dumps(holder.name),
        "hash": json.dumps(hashed(key)),
        "devboxes": json.dumps(list(holder.devboxes)),
        "scopes": json.dumps(sorted(holder.scopes)),
    }
    text = "[[keys]]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items())
    return text + ("expires = 2020-01-01\n" if holder.name == "expired" else "")


_ISSUER = f"""
[[issuers]]
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
algorithms = ["HS256"]
secret_file = "hs256"
"""
