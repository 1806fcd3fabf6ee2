"""The guest's source as it travels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from devbox_mcp import guest
from devbox_mcp.guest import bootstrap


@cache
def bundle() -> bytes:
    """Return the guest's source as one blob, the same bytes for the same source."""
    assert guest.__package__
    modules = [file for file in files(guest.__package__).iterdir() if file.name.endswith(".py")]
    return bootstrap.pack({file.name.removesuffix(".py"): file.read_text("utf-8") for file in modules})


def command(python: str) -> Sequence[str]:
    """Return what starts the guest: it then reads the bundle, and verifies it, from its stdin.

    Isolated: no variable, no site package and no file of the working directory has a say in what is imported, and
    nothing is written beside the sources of the standard library.
    """
    return (python, "-I", "-S", "-B", "-X", "utf8", "-c", bootstrap.program(bundle(), "serve", "b"))
