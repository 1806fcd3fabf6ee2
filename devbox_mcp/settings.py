"""The operator's settings: command line over environment (``DEVBOX_MCP_*``) over a TOML file over defaults."""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar
from urllib.parse import unquote, urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from devbox_mcp.guest.policy import check_rule
from devbox_mcp.keys import Veil
from devbox_mcp.limits import Limits, parse_size

TOOLSETS = {
    "read": "read_file, list_dir, stat",
    "write": "write_file, edit_file, make_dir, delete, move, copy",
    "search": "find_files, search_text",
    "transfer": "upload_batch, download_zip, signed_url",
    "local": "upload_file, download_file",
    "watch": "watch",
    "permissions": "chmod",
}
DEFAULT_TOOLSETS = ("read", "write", "search", "transfer", "local", "watch")


def _split(value: Any) -> Any:
    """Let an environment variable hold a list: items separated by commas, those within a glob's braces excepted, or
    a list of JSON."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith('["'):
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError('this begins as a list of JSON, and is none; write ["one", "two"] or one,two') from None
    items, depth = [""], 0
    for character in value:
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            items.append("")
        else:
            items[-1] += character
    if depth:
        raise ValueError("the braces are not balanced")
    return [item.strip() for item in items if item.strip()]


def _size(value: Any) -> Any:
    return parse_size(value) if isinstance(value, str) else value


Items = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Size = Annotated[int, BeforeValidator(_size), Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]
#: A second; 0 is without a limit.
Rate = Annotated[int, Field(ge=0)]

_LIMITS = Limits()
_PREFIX = "DEVBOX_MCP_"
#: Names the TOML file itself; read by the command.
_CONFIG = _PREFIX + "CONFIG"
#: For devboxes behind HTTP; read by ``credentials``.
_API_KEY = _PREFIX + "API_KEY"
#: What Kubernetes tells every pod in the namespace of a Service that is called devbox-mcp.
_SERVICE_LINK = re.compile(
    _PREFIX + r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_[A-Z]+)?)?)"
)
_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")


class Settings(BaseSettings):
    """Everything that can be configured; each field is an option of ``devbox-mcp serve`` as well."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True)

    #: The TOML file of this very load; set by ``load`` on a subclass, so that the module holds no state.
    toml: ClassVar[Path | None] = None

    devboxes: Items = ()
    http: str | None = None
    read_only: bool = False
    toolsets: Items = DEFAULT_TOOLSETS
    deny: Items = ()
    force: bool = False
    #: Behind ``force``, which its validator looks at.
    allow_local: Items = ()
    audit_log: str | None = None
    audit_key: SecretStr | None = None
    audit_anchor: str | None = None
    token: SecretStr | None = None
    access: str | None = None
    secret: SecretStr | None = None
    public_url: str | None = None
    host_devboxes: Items = ()
    tls_cert: str | None = None
    tls_key: str | None = None
    redis: SecretStr | None = None
    rate_operations: Rate = 0
    rate_bytes: Annotated[int, BeforeValidator(_size), Field(ge=0)] = 0
    max_transfers: Annotated[int, Field(gt=0)] = 64
    writers: Annotated[int, Field(ge=0)] = 2
    header_timeout: Seconds = 10.0
    body_timeout: Seconds = 30.0
    allow_hosts: Items = ()
    allow_origins: Items = ()
    line_numbers: bool = True
    max_file_size: Size = _LIMITS.file
    max_write_size: Size = _LIMITS.write
    max_text: Size = _LIMITS.text
    max_inline: Size = _LIMITS.inline
    max_inline_zip: Size = _LIMITS.inline_zip
    max_transfer: Size = _LIMITS.transfer
    max_batch_size: Size = _LIMITS.batch
    max_body: Size = _LIMITS.body

    @field_validator("toolsets")
    @classmethod
    def _known_toolsets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value == ("all",):
            return tuple(TOOLSETS)
        unknown = [name for name in value if name not in TOOLSETS]
        if unknown or not value:
            raise ValueError(
                f"unknown toolset {', '.join(unknown) or '(none given)'}; choose from {', '.join(TOOLSETS)}, or all"
            )
        return value

    @field_validator("deny")
    @classmethod
    def _valid_globs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            check_rule(pattern)
        return value

    @field_validator("allow_local")
    @classmethod
    def _directories(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        resolved = [Path(directory).expanduser().resolve() for directory in value]
        for directory in resolved:
            if not directory.is_dir():
                raise ValueError(f"there is no directory {directory}")
            if directory == directory.parent and not info.data.get("force"):
                raise ValueError(
                    f"{directory} is the whole file system; name a directory in it, or pass --force if you mean it"
                )
        return tuple(str(directory) for directory in resolved)

    @field_validator("http")
    @classmethod
    def _host_and_port(cls, value: str | None) -> str | None:
        if value is not None and (not _ADDRESS.fullmatch(value) or int(value.rpartition(":")[2]) > 65535):
            raise ValueError(f"{value!r} is not HOST:PORT; write 127.0.0.1:8000 or [::1]:8000")
        return value

    @field_validator("token", "secret", "audit_key")
    @classmethod
    def _not_empty(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        # an empty one would be matched by whoever sends none
        if value is not None and not value.get_secret_value().strip():
            raise ValueError(f"the {str(info.field_name).replace('_', ' ')} is empty")
        return value

    @field_validator("public_url")
    @classmethod
    def _origin(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{value!r} is not where clients reach this server; write https://files.example.com")
        return value.rstrip("/")

    @field_validator("host_devboxes")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for item in value:
            if not all(item.partition("=")):
                raise ValueError(f"{item!r} is not HOST=DEVBOX; write files.example.com=shop")
        return value

    @property
    def published(self) -> tuple[str, ...]:
        """The toolsets that are published. Unless the operator chose them, ``local`` is not where it could do
        nothing: over HTTP a client's roots do not count, so there has to be an allowed directory."""
        idle = self.http is not None and not self.allow_local and "toolsets" not in self.model_fields_set
        return tuple(name for name in self.toolsets if name != "local" or not idle)

    @property
    def veil(self) -> Veil:
        """What hides this server's secrets, and everybody's keys, in what it logs."""
        given = [one.get_secret_value() for one in (self.token, self.secret, self.audit_key) if one is not None]
        store = None if self.redis is None else urlsplit(self.redis.get_secret_value()).password
        # a URL has it percent-encoded, and a text may have it as it is
        return Veil(given if store is None else [*given, store, unquote(store)])

    @property
    def limits(self) -> Limits:
        """The limits these settings make."""
        return Limits(
            text=self.max_text,
            inline=self.max_inline,
            inline_zip=self.max_inline_zip,
            write=self.max_write_size,
            file=self.max_file_size,
            edit=self.max_write_size,
            batch=self.max_batch_size,
            transfer=self.max_transfer,
            body=self.max_body,
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the base class's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the base class's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources = (init_settings, env_settings)
        return sources if cls.toml is None else (*sources, TomlConfigSettingsSource(settings_cls, cls.toml))


def load(options: dict[str, Any], config: Path | None) -> Settings:
    """Merge the sources; ``options`` are those given on the command line. Raises ValueError (a pydantic
    ValidationError too) and OSError for a file that cannot be read."""
    _check_environment()
    if config is None:
        return Settings(**options)
    if not config.is_file():
        raise OSError(f"there is no configuration file {config}")

    class WithFile(Settings):
        toml = config

    try:
        return WithFile(**options)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"the configuration file {config} is no TOML: {error}") from None


def _check_environment() -> None:
    """Raise ValueError for a variable that looks like a setting and is none: nobody should believe it counts."""
    known = [_PREFIX + name.upper() for name in Settings.model_fields] + [_CONFIG, _API_KEY]
    for name in os.environ:
        if name.upper().startswith(_PREFIX) and name.upper() not in known and not _SERVICE_LINK.fullmatch(name):
            close = difflib.get_close_matches(name.upper(), known, 1)
            meant = f"; did you mean {close[0]}?" if close else ""
            raise ValueError(f"there is no setting {name} for the environment{meant}")
