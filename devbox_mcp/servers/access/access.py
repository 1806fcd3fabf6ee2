"""Who a credential belongs to, by the access file as it is now, and by the single token."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from devbox_mcp.callers import OPERATOR, Caller
from devbox_mcp.errors import Unauthenticated
from devbox_mcp.keys import hashed
from devbox_mcp.servers.access.keysets import FetchedKeys, FileKeys, KeySource, Secret
from devbox_mcp.servers.access.stanzas import IssuerStanza, KeyStanza, parse
from devbox_mcp.servers.access.tokens import Issuer, Verified, claimed_issuer, looks_like_token
from devbox_mcp.settings import Settings

logger = logging.getLogger(__name__)

TOKEN = Caller("token")
_LOOK_SECONDS = 1.0
_VERIFIED_SECONDS = 60.0
_MOST_VERIFIED = 4096

#: What tells that a file is another one than before: its time, size and inode, None where it is not there.
_Stamp = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class Standing:
    """What a name stands for now. ``credential`` changes with the key, so that what was signed by the old one can be
    told from what the new one signed."""

    caller: Caller
    credential: str


@dataclass(frozen=True, slots=True)
class _Rights:
    """One version of the access file, and what was verified by it."""

    by_hash: Mapping[str, KeyStanza] = field(default_factory=dict)
    by_name: Mapping[str, KeyStanza] = field(default_factory=dict)
    issuers: Mapping[str, Issuer] = field(default_factory=dict)
    stamps: Mapping[Path, _Stamp] = field(default_factory=dict)
    verified: dict[str, Verified] = field(default_factory=dict)


class Access:
    """Everybody who may come in. The file is read again when it changes; a version that is broken leaves the one
    before in force, and the log says why."""

    def __init__(self, settings: Settings) -> None:
        """Raises ValueError for a file that cannot be read or makes no sense."""
        self._path = None if settings.access is None else Path(settings.access).expanduser()
        self._token = None if settings.token is None else hashed(settings.token.get_secret_value().strip())
        self._audiences = () if settings.public_url is None else (f"{settings.public_url}/mcp", settings.public_url)
        self._fetched: dict[tuple[str, tuple[str, ...]], FetchedKeys] = {}
        self._rights = _Rights() if self._path is None else self._load(self._path, {})
        self._looked = time.monotonic()

    @property
    def is_open(self) -> bool:
        """Whether nothing is configured, and so everybody who reaches the server is its operator."""
        return self._token is None and self._path is None

    @property
    def issuers(self) -> list[str]:
        """Who issues tokens for this server."""
        return list(self._rights.issuers)

    async def identify(self, credential: str) -> Caller:
        """Return whose key or token this is. Raises Unauthenticated, Unavailable."""
        await self._follow()
        digest = hashed(credential)
        if self._token is not None and hmac.compare_digest(digest, self._token):
            return TOKEN
        stanza = self._rights.by_hash.get(digest)
        if stanza is not None:
            if stanza.has_expired(time.time()):
                raise Unauthenticated(
                    "authenticate", "", "this key has expired", hint="have the operator make a new one"
                )
            return stanza.caller
        if looks_like_token(credential) and self._rights.issuers:
            known = self._rights.verified.get(digest)
            if known is not None and time.time() < known.until:
                return known.caller
            issuer = self._rights.issuers.get(claimed_issuer(credential) or "")
            if issuer is None:
                raise Unauthenticated(
                    "authenticate", "", "the token is of an issuer that does not count here, or cannot be read"
                )
            return await self._verified(issuer, credential, digest)
        raise Unauthenticated("authenticate", "", "this key or token is not known")

    async def standing(self, name: str) -> Standing | None:
        """Return what a name stands for now, None where it is nobody's (any more) or an issuer's subject."""
        await self._follow()
        if self.is_open:
            return Standing(OPERATOR, "") if name == OPERATOR.name else None
        if name == TOKEN.name:
            return None if self._token is None else Standing(TOKEN, self._token)
        stanza = self._rights.by_name.get(name)
        if stanza is None or stanza.has_expired(time.time()):
            return None
        return Standing(stanza.caller, stanza.hash)

    async def _verified(self, issuer: Issuer, token: str, digest: str) -> Caller:
        """Verify a token, and remember for a while that it is good: a client sends it with every request, and the
        signature is most of the work. Raises Unauthenticated, Unavailable."""
        rights = self._rights
        found = await issuer.verify(token)
        if len(rights.verified) >= _MOST_VERIFIED:
            rights.verified.clear()
        # into the version of the file that it was verified by, and no other
        rights.verified[digest] = replace(found, until=min(found.until, time.time() + _VERIFIED_SECONDS))
        return found.caller

    async def _follow(self) -> None:
        """Read the file again if it changed, looking at most once a second; who comes meanwhile meets the old one."""
        if self._path is None or time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        if all(_stamp(path) == stamp for path, stamp in self._rights.stamps.items()):
            return
        stamps: dict[Path, _Stamp] = {}
        try:
            self._rights = await asyncio.to_thread(self._load, self._path, stamps)
        except ValueError as error:
            logger.error("the access file as it was before stays in force: %s", error)  # noqa: TRY400  the reason is all there is to know
            # nothing is said again until something is written again
            self._rights = replace(self._rights, stamps=stamps)
        else:
            logger.info("the access file was read again")

    def _load(self, path: Path, stamps: dict[Path, _Stamp]) -> _Rights:
        """Read the file and what it names, noting in ``stamps`` what was looked at. Raises ValueError."""
        stamps[path] = _stamp(path)
        try:
            found = parse(path.read_text(encoding="utf-8"), path)
        except UnicodeDecodeError:
            raise ValueError(f"the access file {path} is not UTF-8 text") from None
        except OSError as error:
            raise ValueError(f"cannot read the access file {path}: {error.strerror}") from None
        issuers = {}
        for number, stanza in enumerate(found.issuers, 1):
            try:
                issuers[stanza.issuer] = self._issuer(stanza, path.parent, stamps)
            except (OSError, ValueError) as error:
                reason = f"cannot read {error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
                raise ValueError(
                    f"the access file {path}: [[issuers]] number {number} ({stanza.issuer}): {reason}"
                ) from None
        keys = found.keys
        return _Rights({key.hash: key for key in keys}, {key.name: key for key in keys}, issuers, stamps)

    def _issuer(self, stanza: IssuerStanza, beside: Path, stamps: dict[Path, _Stamp]) -> Issuer:
        audiences: Sequence[str] = self._audiences if stanza.audience is None else (stanza.audience,)
        if not audiences:
            raise ValueError(
                "audience: is missing, and there is no public URL to take for it; "
                'write audience = "https://files.example.com/mcp", or pass --public-url'
            )
        file = stanza.secret_file or stanza.jwks_file
        if file is not None:
            # relative paths are meant from the access file
            path = beside / Path(file).expanduser()
            stamps[path] = _stamp(path)
            keys: KeySource = Secret(path) if stanza.secret_file else FileKeys(path, stanza.algorithms)
            return Issuer(stanza, audiences, keys)
        assert stanza.jwks_url is not None
        # what was fetched stays when another stanza changes
        place = (stanza.jwks_url, stanza.algorithms)
        return Issuer(stanza, audiences, self._fetched.setdefault(place, FetchedKeys(*place)))


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
