"""The operator's settings: command line over environment (``DEVBOX_MCP_*``) over a TOML file over defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.globs import Glob
from devbox_mcp.limits import Limits, parse_size

TOOLSETS = {
    "read": "read_file, list_dir, stat",
    "write": "write_file, edit_file, make_dir, delete, move, copy",
    "search": "find_files, search_text",
    "transfer": "upload_batch, download_zip",
    "watch": "watch",
    "permissions": "chmod",
}
DEFAULT_TOOLSETS = ("read", "write", "search", "transfer", "watch")


def _split(value: Any) -> Any:
    """Let an environment variable hold a list: items separated by commas."""
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


def _size(value: Any) -> Any:
    return parse_size(value) if isinstance(value, str) else value


Items = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Size = Annotated[int, BeforeValidator(_size), Field(gt=0)]

_LIMITS = Limits()


class Settings(BaseSettings):
    """Everything that can be configured; each field is an option of ``devbox-mcp serve`` as well."""

    model_config = SettingsConfigDict(env_prefix="DEVBOX_MCP_", extra="forbid", frozen=True, hide_input_in_errors=True)

    #: The TOML file of this very load; set by ``load`` on a subclass, so that the module holds no state.
    toml: ClassVar[Path | None] = None

    devboxes: Items = ()
    http: str | None = None
    read_only: bool = False
    toolsets: Items = DEFAULT_TOOLSETS
    deny: Items = ()
    allow_local: Items = ()
    audit_log: str | None = None
    token: SecretStr | None = None
    allow_hosts: Items = ()
    allow_origins: Items = ()
    force: bool = False
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
            try:
                Glob(pattern)
            except GuestError as error:
                raise ValueError(error.detail) from None
        return value

    @field_validator("allow_local")
    @classmethod
    def _directories(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        resolved = [Path(directory).expanduser().resolve() for directory in value]
        for directory in resolved:
            if not directory.is_dir():
                raise ValueError(f"there is no directory {directory}")
        return tuple(str(directory) for directory in resolved)

    @field_validator("http")
    @classmethod
    def _host_and_port(cls, value: str | None) -> str | None:
        if value is not None:
            host, _, port = value.rpartition(":")
            if not host or not port.isdigit() or int(port) > 65535:
                raise ValueError(f"{value!r} is not HOST:PORT; write 127.0.0.1:8000 or [::1]:8000")
        return value

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
    if config is None:
        return Settings(**options)
    if not config.is_file():
        raise OSError(f"there is no configuration file {config}")

    class WithFile(Settings):
        toml = config

    return WithFile(**options)
