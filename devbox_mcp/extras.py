"""What the plain install leaves out, and how to get it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from devbox_mcp.errors import Unsupported

#: What tools leave in the environments that they make for programs, and how they install once more.
_RECEIPTS = {"pipx_metadata.json": "pipx install --force", "uv-receipt.toml": "uv tool install --force"}


def how_to_install(extra: str) -> str:
    """Return the command for an extra, by what installed devbox-mcp: pip would not reach where pipx or uv put it."""
    tools = (tool for receipt, tool in _RECEIPTS.items() if (Path(sys.prefix) / receipt).exists())
    return f"{next(tools, 'pip install')} 'devbox-mcp[{extra}]'"


@dataclass(frozen=True, slots=True)
class Extra:
    """An extra of the package by its ``name``: what its ``modules`` are for."""

    name: str
    purpose: str
    modules: tuple[str, ...]

    def require(self) -> None:
        """Raise Unsupported, which says how to install them, where one of the modules is missing."""
        if any(find_spec(module) is None for module in self.modules):
            raise Unsupported(
                "start",
                ".",
                f"the packages for {self.purpose} are missing",
                hint=how_to_install(self.name),
            )


KUBERNETES = Extra("kubernetes", "Kubernetes", ("aiohttp", "kubernetes"))
HTTP = Extra("http", "devboxes behind HTTP", ("h2", "httpx2", "websockets"))
GATEWAY = Extra(
    "gateway",
    "serving HTTP",
    ("cryptography", "jwt", "limits", "prometheus_client", "python_multipart", "structlog", "websockets"),
)
