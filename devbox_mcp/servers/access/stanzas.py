"""The access file, parsed once into types: who has a key, and whose tokens count."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from devbox_mcp.callers import Caller, Scope
from devbox_mcp.servers.addresses import is_loopback

Algorithm = Literal["HS256", "RS256", "ES256"]

#: Names that other callers have: the single token's, whoever started an open server, and who has not said who it is.
_TAKEN = frozenset({"token", "operator", "anonymous"})

#: What to write, by key.
_EXAMPLES = {
    "name": 'name = "ci", of letters, digits, ".", "_" and "-"',
    "hash": 'hash = "sha256:…", as devbox-mcp keys new and keys hash print it',
    "devboxes": 'devboxes = ["shop-*"], globs of names',
    "scopes": f"scopes = {[scope.value for scope in Scope]}, or fewer",
    "expires": "expires = 2027-01-31T00:00:00Z, or leave it out",
    "issuer": 'issuer = "https://login.example.com", as the tokens\' iss has it',
    "audience": 'audience = "https://files.example.com/mcp", as the tokens\' aud has it',
    "algorithms": 'algorithms = ["RS256"]; HS256 with secret_file, RS256 and ES256 with jwks_url or jwks_file',
    "secret_file": 'secret_file = "hs256.secret"',
    "jwks_url": 'jwks_url = "https://login.example.com/.well-known/jwks.json"',
    "jwks_file": 'jwks_file = "jwks.json"',
    "devboxes_claim": 'devboxes_claim = "devboxes"',
    "scopes_claim": 'scopes_claim = "scope"',
    "leeway": "leeway = 30, in seconds, from 0 to 300",
    "keys": "[[keys]] with name, hash, devboxes and scopes",
    "issuers": "[[issuers]] with issuer, algorithms and where their keys are",
}


def _moment(value: Any) -> Any:
    """Read a TOML date as its first moment in UTC; a time without an offset would mean another one everywhere."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("the time has no offset")
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    raise ValueError("this is no date and no time")


class _Stanza(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class KeyStanza(_Stanza):
    """A key: who has it, by its hash, and what it opens until when."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    hash: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    devboxes: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
    scopes: Annotated[frozenset[Scope], Field(min_length=1)]
    expires: Annotated[datetime, BeforeValidator(_moment)] | None = None

    @field_validator("name")
    @classmethod
    def _free(cls, value: str) -> str:
        if value in _TAKEN:
            raise ValueError(f"{value!r} is the name of another kind of caller")
        return value

    @property
    def caller(self) -> Caller:
        """The principal."""
        return Caller(self.name, self.devboxes, self.scopes)

    def has_expired(self, now: float) -> bool:
        """Whether it no longer counts, at a time in seconds since 1970."""
        return self.expires is not None and self.expires.timestamp() <= now


class IssuerStanza(_Stanza):
    """An issuer of JSON Web Tokens, and how its tokens are checked."""

    issuer: Annotated[str, Field(pattern=r"^[!-~]{1,512}$")]
    audience: Annotated[str, Field(min_length=1)] | None = None
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)]
    secret_file: str | None = None
    jwks_url: str | None = None
    jwks_file: str | None = None
    devboxes_claim: Annotated[str, Field(min_length=1)] = "devboxes"
    scopes_claim: Annotated[str, Field(min_length=1)] = "scope"
    leeway: Annotated[float, Field(ge=0, le=300)] = 30.0

    @field_validator("jwks_url")
    @classmethod
    def _private(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
        if not safe or not parts.hostname:
            raise ValueError("keys are fetched by https only, or from this machine")
        return value

    @model_validator(mode="after")
    def _one_kind_of_key(self) -> IssuerStanza:
        # a public key that were taken for a shared secret would let everybody sign
        sources = [name for name in ("secret_file", "jwks_url", "jwks_file") if getattr(self, name) is not None]
        wanted = ("secret_file",) if "HS256" in self.algorithms else ("jwks_url", "jwks_file")
        if "HS256" in self.algorithms and len(set(self.algorithms)) > 1:
            raise ValueError("algorithms: HS256 does not go together with others; give it an issuer of its own")
        if len(sources) != 1 or sources[0] not in wanted:
            raise ValueError(
                f"{', '.join(self.algorithms)} takes its keys from {' or '.join(wanted)}, and from one of them, "
                f"not from {' and '.join(sources) or 'nowhere'}"
            )
        return self


class AccessFile(_Stanza):
    """Everything in the file."""

    keys: tuple[KeyStanza, ...] = ()
    issuers: tuple[IssuerStanza, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> AccessFile:
        _refuse_twice("[[keys]]: two have the name", [key.name for key in self.keys])
        _refuse_twice("[[keys]]: two have the hash", [key.hash for key in self.keys])
        _refuse_twice("[[issuers]]: two are", [issuer.issuer for issuer in self.issuers])
        return self


def _refuse_twice(what: str, values: Sequence[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{what} {value!r}")
        seen.add(value)


def parse(text: str, where: Path) -> AccessFile:
    """Parse the text of an access file. Raises ValueError, which names the file, the key and what to write."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"the access file {where} is no TOML: {error}") from None
    try:
        return AccessFile.model_validate(found)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise ValueError(f"the access file {where}: {_explain(problem, found)}") from None


def _explain(problem: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    location = problem["loc"]
    place = ""
    if len(location) > 1:
        kind, number = location[0], int(location[1])
        stanza = found[kind][number]
        name = (stanza.get("name") or stanza.get("issuer")) if isinstance(stanza, dict) else None
        place = f"[[{kind}]] number {number + 1}{f' ({name})' if isinstance(name, str) else ''}: "
    key = next((part for part in (location[2:3] or location[:1]) if isinstance(part, str)), None)
    message = str(problem["msg"]).removeprefix("Value error, ")
    if key is None or (len(location) < 3 and problem["type"] == "value_error"):
        return f"{place}{message}"
    if problem["type"] == "extra_forbidden":
        return f"{place}there is no key {key!r}; {_known(location)}"
    if problem["type"] == "missing":
        message = "is missing"
    if problem["type"] == "string_pattern_mismatch":
        message = "is not written as it should be"
    example = f"; write {_EXAMPLES[key]}" if key in _EXAMPLES else ""
    return f"{place}{key}: {message}{example}"


def _known(location: Sequence[Any]) -> str:
    stanza: type[BaseModel] = AccessFile
    if len(location) > 1:
        stanza = KeyStanza if location[0] == "keys" else IssuerStanza
    return f"there are {', '.join(stanza.model_fields)}"
