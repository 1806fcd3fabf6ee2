"""What the plain install leaves out, and how to get it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from devbox_mcp.errors import Unsupported


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
                hint=f"pip install 'devbox-mcp[{self.name}]'",
            )


KUBERNETES = Extra("kubernetes", "Kubernetes", ("aiohttp", "kubernetes"))
HTTP = Extra("http", "devboxes behind HTTP", ("h2", "httpx2", "websockets"))
GATEWAY = Extra(
    "gateway",
    "serving HTTP",
    ("cryptography", "fastapi", "jwt", "limits", "prometheus_client", "python_multipart", "structlog", "websockets"),
)
