"""Signed URLs: one request, allowed for a while to whoever has its address.

What is signed is the address as it is sent, byte for byte, and what the signature says of itself: the method, the
caller who asked for it, the end, and for a PUT a number that counts once. Whose rights come from a key loses them with
the key; a token's are written into the signature, for nobody here knows them later.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import quote_from_bytes

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from devbox_mcp.audit import AuditLog, audited
from devbox_mcp.callers import Caller, Scope
from devbox_mcp.errors import Forbidden, InvalidArgument, Unauthenticated
from devbox_mcp.paths import SandboxPath
from devbox_mcp.servers.access.access import Access, Standing
from devbox_mcp.servers.access.nonces import Nonces, open_nonces
from devbox_mcp.settings import Settings

Method = Literal["GET", "PUT"]
ArchiveKind = Literal["zip", "tar.gz"]

PARAMETER = "signed"
LONGEST_SECONDS = 3600
DEFAULT_SECONDS = 900
_LABEL = b"devbox-mcp signed url 1"
_SHORTEST_SECRET = 32
_LONGEST_SIGNATURE = 64 * 1024
#: Servers and proxies take addresses of 8 KB.
_LONGEST_QUERY = 4096
#: Between issuer and subject in a name; no key's name has it.
_SUBJECT = "#"
_ADDRESS = re.compile(r"/v1/devboxes/(?P<devbox>[A-Za-z0-9._-]{1,63})/(?:files/.+|archive)", re.DOTALL)
_SCOPES = {"GET": Scope.READ, "PUT": Scope.WRITE}
_OP = "sign_url"


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL is for: its method, path below the devbox and query as they stand in an address, and how the audit
    log shows it."""

    method: Method
    path: str
    query: str
    shown: str

    @classmethod
    def file(cls, method: Method, path: SandboxPath, *, download: bool = False) -> Target:
        """A file to read or to write. Raises InvalidArgument for the root."""
        if path.is_root:
            raise InvalidArgument(_OP, path.text, "this is the root, but a URL is for a file")
        query = "download=true" if download and method == "GET" else ""
        return cls(method, f"files/{_quoted(path)}", query, path.text)

    @classmethod
    def archive(cls, paths: Sequence[SandboxPath], kind: ArchiveKind = "zip") -> Target:
        """Files and directories as one archive. Raises InvalidArgument for too many."""
        query = "&".join([*(f"path={_quoted(path)}" for path in paths), f"format={kind}"])
        shown = " ".join(path.text for path in paths)[:1000]
        if not paths or len(query) > _LONGEST_QUERY:
            raise InvalidArgument(
                _OP, shown, "paths is empty, or longer than an address may be", hint="name directories instead"
            )
        return cls("GET", "archive", query, shown)


def _quoted(path: SandboxPath) -> str:
    """Return a path so that nobody on the way has a reason to write it otherwise."""
    return quote_from_bytes(os.fsencode(path.text), safe="/")


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """An address that opens by itself until ``expires``, in seconds since 1970."""

    url: str
    method: Method
    expires: int


@dataclass(frozen=True, slots=True)
class Admission:
    """Who comes in by a signed URL, with no right but the one it needs, the query without the signature, and what
    counts once."""

    caller: Caller
    query: bytes
    nonce: str | None = None


class _Rights(BaseModel):
    """What the signer may do, where it cannot be looked up."""

    model_config = ConfigDict(extra="forbid")

    devboxes: tuple[str, ...]
    scopes: frozenset[Scope]


class _Claim(BaseModel):
    """What a signature says of itself."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[1]
    method: Method
    caller: str
    expires: int
    nonce: Annotated[str, Field(min_length=16)] | None = None
    rights: _Rights | None = None


class UrlSigner:
    """Makes signed URLs and takes them."""

    def __init__(self, access: Access, settings: Settings, audit: AuditLog, nonces: Nonces | None = None) -> None:
        """``nonces`` are by default those that the settings name. Without a secret in the settings this process makes
        its own, and takes no URL of another. Raises ValueError for a secret that could be guessed."""
        self._access = access
        self._audit = audit
        self._nonces = nonces or open_nonces(settings)
        self._public_url = settings.public_url
        if settings.secret is None:
            self._key = secrets.token_bytes(32)
            return
        secret = settings.secret.get_secret_value().strip().encode("utf-8")
        if len(secret) < _SHORTEST_SECRET:
            raise ValueError(
                f"the secret is shorter than {_SHORTEST_SECRET} characters, so a signed URL would give it away; "
                "make one with: openssl rand -base64 32"
            )
        # the same secret may be used for other things too
        self._key = hmac.digest(secret, _LABEL, hashlib.sha256)

    async def sign(
        self, caller: Caller, devbox: str, target: Target, *, origin: str, expires_in: int = DEFAULT_SECONDS
    ) -> SignedUrl:
        """Return the URL of a target in a devbox that the caller may reach. ``origin`` is where this request came in,
        for where no public URL is configured. Raises Forbidden, InvalidArgument, Unauthenticated, Unavailable."""
        self._audit.check(_OP, target.shown)
        with audited(self._audit, caller, devbox, _OP, target.shown):
            if not 1 <= expires_in <= LONGEST_SECONDS:
                raise InvalidArgument(
                    _OP, target.shown, f"expires_in is {expires_in}, but from 1 to {LONGEST_SECONDS} seconds"
                )
            scope = _SCOPES[target.method]
            if scope not in caller.scopes:
                raise Forbidden(
                    _OP, target.shown, f"this needs the scope {scope.value!r}, which these credentials do not have"
                )
            standing = await self._access.standing(caller.name)
            if standing is None and _SUBJECT not in caller.name:
                raise Unauthenticated(_OP, target.shown, "this key does not count any more")
        claim = _Claim(
            version=1,
            method=target.method,
            caller=caller.name,
            expires=int(time.time()) + expires_in,
            nonce=secrets.token_urlsafe(16) if target.method == "PUT" else None,
            rights=_Rights(devboxes=caller.devboxes, scopes=caller.scopes) if standing is None else None,
        )
        path, query = f"/v1/devboxes/{devbox}/{target.path}", target.query
        said = _encode(claim.model_dump_json(exclude_none=True).encode())
        signature = _encode(self._mac(said, path.encode("ascii"), query.encode("ascii"), standing))
        whole = "&".join(filter(None, (query, f"{PARAMETER}={said}.{signature}")))
        return SignedUrl(f"{self._public_url or origin}{path}?{whole}", target.method, claim.expires)

    async def admit(self, method: str, path: bytes, query: bytes) -> Admission:
        """Return who comes in by a signed URL; ``path`` and ``query`` as they were sent. Raises Forbidden,
        Unavailable."""
        shown = path.decode("latin-1")
        signature, rest = _split(query)
        said, _, mac = signature.rpartition(".")
        claim = _parse(said)
        standing = None if claim is None else await self._access.standing(claim.caller)
        if claim is None or not hmac.compare_digest(_encode(self._mac(said, path, rest, standing)), mac):
            raise _refused(shown, "the signature is not of this address, or of somebody whose key is gone")
        address = _ADDRESS.fullmatch(shown)
        if address is None or method not in (("GET", "HEAD") if claim.method == "GET" else ("PUT",)):
            raise _refused(shown, f"this URL was signed for {claim.method}")
        left = claim.expires - time.time()
        if left <= 0:
            raise _refused(shown, "this URL has expired")
        caller = self._lent(claim, standing, address["devbox"])
        if caller is None:
            raise _refused(shown, "whoever signed this URL does not have this right (any more)")
        if claim.nonce is not None and not await self._nonces.spend(claim.nonce, left + 1):
            raise _refused(shown, "this URL was used already, and it counts once")
        return Admission(caller, rest, claim.nonce)

    async def restore(self, admission: Admission) -> None:
        """Let a URL count again whose request changed nothing. Raises Unavailable."""
        if admission.nonce is not None:
            await self._nonces.restore(admission.nonce)

    def close(self) -> None:
        """Close the connections to the store of used URLs."""
        self._nonces.close()

    def _lent(self, claim: _Claim, standing: Standing | None, devbox: str) -> Caller | None:
        """Return the signer with the one right that the URL needs, None if the signer does not have it now."""
        if standing is not None:
            signer = standing.caller
        elif claim.rights is not None and claim.caller.partition(_SUBJECT)[0] in self._access.issuers:
            signer = Caller(claim.caller, claim.rights.devboxes, claim.rights.scopes)
        else:
            return None
        scope = _SCOPES[claim.method]
        if not signer.may_reach(devbox) or scope not in signer.scopes:
            return None
        return Caller(signer.name, (devbox,), frozenset({scope}))

    def _mac(self, said: str, path: bytes, query: bytes, standing: Standing | None) -> bytes:
        # none of these holds a line break, so the same bytes never mean two things
        credential = b"" if standing is None else standing.credential.encode()
        return hmac.digest(self._key, b"\n".join((said.encode(), path, query, credential)), hashlib.sha256)


def is_signed(query: bytes) -> bool:
    """Whether a query carries a signature, be it a good one or not."""
    return any(_carries(pair) for pair in query.split(b"&"))


def _carries(pair: bytes) -> bool:
    return pair.partition(b"=")[0] == PARAMETER.encode()


def _split(query: bytes) -> tuple[str, bytes]:
    """Return the signature, which is nothing if there are several, and the query as it was signed."""
    pairs = query.split(b"&")
    found: Sequence[bytes] = [pair.partition(b"=")[2] for pair in pairs if _carries(pair)]
    signature = found[0].decode("latin-1") if len(found) == 1 and len(found[0]) <= _LONGEST_SIGNATURE else ""
    return signature, b"&".join(pair for pair in pairs if not _carries(pair))


def _parse(said: str) -> _Claim | None:
    try:
        return _Claim.model_validate_json(base64.urlsafe_b64decode(said + "=" * (-len(said) % 4)))
    except (ValidationError, ValueError):
        return None


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _refused(path: str, detail: str) -> Forbidden:
    return Forbidden("authenticate", path, detail, hint="ask for a new URL")
