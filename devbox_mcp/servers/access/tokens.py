"""JSON Web Tokens of the issuers in the access file (RFC 7519, with the advice of RFC 8725)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import jwt

from devbox_mcp.callers import Caller, Scope
from devbox_mcp.errors import Unauthenticated
from devbox_mcp.servers.access.keysets import KeySource
from devbox_mcp.servers.access.stanzas import IssuerStanza

_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_LONGEST_TOKEN = 16 * 1024
_LONGEST_SUBJECT = 256
_MOST_DEVBOXES = 1000
_REQUIRED = ("exp", "iss", "aud", "sub")
#: Whatever a token holds, reading it fails in one of these ways.
_UNREADABLE = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)

_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (jwt.ExpiredSignatureError, "the token has expired"),
    (jwt.ImmatureSignatureError, "the token does not count yet"),
    (jwt.InvalidAudienceError, "the token is meant for somebody else: its aud is not this server"),
    (jwt.InvalidIssuerError, "the token is of another issuer"),
    (jwt.InvalidSignatureError, "the token's signature is wrong"),
    (jwt.InvalidKeyError, "the issuer's key is too weak, or none"),
)


def looks_like_token(credential: str) -> bool:
    """Whether a credential has the shape of a JWT; its content is another matter."""
    return len(credential) <= _LONGEST_TOKEN and _TOKEN.fullmatch(credential) is not None


def claimed_issuer(token: str) -> str | None:
    """Return who a token says issued it; nothing has been checked yet."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except _UNREADABLE:
        return None
    issuer = claims.get("iss")
    return issuer if isinstance(issuer, str) else None


@dataclass(frozen=True, slots=True)
class Verified:
    """Who a token belongs to, until a time in seconds since 1970."""

    caller: Caller
    until: float


class Issuer:
    """One who may say who somebody is."""

    def __init__(self, stanza: IssuerStanza, audiences: Sequence[str], keys: KeySource) -> None:
        """``audiences``: a token has to be meant for one of them."""
        self.stanza = stanza
        self._audiences = list(audiences)
        self._keys = keys

    async def verify(self, token: str) -> Verified:
        """Return the principal of a token, and its end. Raises Unauthenticated, Unavailable."""
        algorithm, kid = self._header(token)
        key = await self._keys.find(kid, algorithm)
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._audiences,
                issuer=self.stanza.issuer,
                leeway=self.stanza.leeway,
                options={"require": list(_REQUIRED), "enforce_minimum_key_length": True},
            )
        except _UNREADABLE as error:
            raise _refusal(error) from None
        caller = Caller(self._name(claims["sub"]), self._devboxes(claims), self._scopes(claims))
        return Verified(caller, int(claims["exp"]) + self.stanza.leeway)

    def _header(self, token: str) -> tuple[str, str | None]:
        """Return algorithm and key id. The algorithm is the stanza's choice, never the token's."""
        try:
            header = jwt.get_unverified_header(token)
        except _UNREADABLE as error:
            raise _refusal(error) from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self.stanza.algorithms:
            raise _refused("the token is signed by an algorithm that its issuer does not use")
        if "crit" in header:
            raise _refused("the token asks for extensions that are not known here")
        return str(algorithm), kid if isinstance(kid, str) else None

    def _name(self, subject: str) -> str:
        """Return ``iss#sub``, fit for a line of a log, and a different one for every subject."""
        if not subject or len(subject) > _LONGEST_SUBJECT:
            raise _refused(f"the token's sub is empty or longer than {_LONGEST_SUBJECT} characters")
        return f"{self.stanza.issuer}#{quote(subject, safe='@:._-~+=,/|', errors='surrogatepass')}"

    def _devboxes(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the globs in the claim, none where it is missing: nobody reaches what he was not given."""
        globs = _words(claims, self.stanza.devboxes_claim)
        if len(globs) > _MOST_DEVBOXES:
            raise _refused(f"the token's claim {self.stanza.devboxes_claim} has more than {_MOST_DEVBOXES} devboxes")
        return globs

    def _scopes(self, claims: Mapping[str, Any]) -> frozenset[Scope]:
        """Return the scopes that are ours; a token has others as well."""
        words = set(_words(claims, self.stanza.scopes_claim))
        return frozenset(scope for scope in Scope if scope.value in words)


def _words(claims: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return a claim that is a list, or words with spaces between them as OAuth writes scopes."""
    found = claims.get(name, ())
    words = found.split() if isinstance(found, str) else found
    if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) and word for word in words):
        raise _refused(f"the token's claim {name} is no list of texts")
    return tuple(words)


def _refused(detail: str) -> Unauthenticated:
    return Unauthenticated("authenticate", "", detail, hint="get a new token from the issuer")


def _refusal(error: Exception) -> Unauthenticated:
    if isinstance(error, jwt.MissingRequiredClaimError):
        return _refused(f"the token has no {error.claim}")
    return _refused(next((reason for kind, reason in _REASONS if isinstance(error, kind)), "this is no valid token"))
