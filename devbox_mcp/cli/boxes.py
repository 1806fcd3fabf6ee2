"""From what was written to open sandboxes, for one command."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from devbox_mcp.audit import NoAudit
from devbox_mcp.cli.failing import Failed, advice, wrong_usage
from devbox_mcp.cli.locations import Location
from devbox_mcp.credentials import VARIABLE
from devbox_mcp.errors import DevboxError
from devbox_mcp.extras import HTTP
from devbox_mcp.kinds import KINDS, Opening, open_directory
from devbox_mcp.limits import Limits
from devbox_mcp.paths import SandboxPath
from devbox_mcp.recording import Recorder
from devbox_mcp.sandbox import Sandbox
from devbox_mcp.sandboxes import open_devbox

if TYPE_CHECKING:
    from devbox_mcp.settings import Settings

#: Whoever types a command has no need to be protected from big files.
_ANY_SIZE = 10**14


@dataclass(frozen=True, slots=True)
class Box:
    """An open devbox as it was ``written``; None is this machine, with its whole file system."""

    sandbox: Sandbox
    written: str | None

    @property
    def is_local(self) -> bool:
        """Whether its files are this machine's."""
        return self.written is None or _kind(self.written) == "local"

    def spell(self, path: SandboxPath | str) -> str:
        """Return a path as it could be written on the command line."""
        text = str(path)
        if self.written is not None:
            return f"{self.written}:{'' if text == '.' else text}"
        absolute = "/" if text == "." else f"/{text}"
        below = os.path.relpath(absolute)
        return absolute if below.startswith("..") else below

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Let errors in the block tell their place as it was written. Raises Failed."""
        try:
            yield
        except DevboxError as error:
            hint = advice(error.code, error.hint, error.default_hint)
            raise Failed(error.code, self.spell(error.path), error.detail, hint) from error


@dataclass(frozen=True, slots=True)
class Place:
    """A path in an open devbox, and how it was written."""

    box: Box
    path: SandboxPath
    location: Location

    @property
    def absolute(self) -> str:
        """The path on the machine where the files are."""
        root = self.box.sandbox.root
        return root if self.path.is_root else os.path.join(root, self.path.text)  # noqa: PTH118  of another machine


@asynccontextmanager
async def opened(locations: Sequence[Location], op: str) -> AsyncIterator[list[Place]]:
    """Open every devbox that the locations name, once each, and close them with the block. Raises Failed."""
    settings = _settings()
    boxes: dict[str | None, Box] = {}
    try:
        places = []
        for location in locations:
            box = boxes.get(location.devbox)
            if box is None:
                box = boxes[location.devbox] = Box(await _open(location.devbox, settings), location.devbox)
            text = location.path if location.devbox is not None else _absolute(location.path)
            with box.telling():
                places.append(Place(box, await box.sandbox.parse(text, op), location))
        yield places
    finally:
        for box in boxes.values():
            await box.sandbox.aclose()


async def _open(devbox: str | None, settings: Settings | None) -> Sandbox:
    """Open a devbox, or with None this machine's files, all that the user may reach. Raises Failed."""
    limits = Limits(file=_ANY_SIZE, transfer=_ANY_SIZE)
    if devbox is None:
        return Sandbox("local", open_directory("/"), "/", limits, Recorder(NoAudit(), "local"))
    opening = Opening(force=True)
    if settings is not None:
        opening = Opening(settings.read_only, settings.deny, force=True)
    try:
        if _kind(devbox) in ("http", "https"):
            HTTP.require()
        return await open_devbox(_target(devbox, settings), opening, limits)
    except DevboxError as error:
        raise Failed(error.code, devbox, error.detail, advice(error.code, error.hint, error.default_hint)) from error
    except (OSError, ValueError) as error:
        code = "not_found" if str(error).startswith("there is no directory") else "invalid_argument"
        raise Failed(code, "", str(error)) from error


def _settings() -> Settings | None:
    """Return what the environment says, and the file that it names; None where it says nothing."""
    if not any(name.upper().startswith("DEVBOX_MCP_") and name != VARIABLE for name in os.environ):
        return None  # reading them is a good part of the time that a small command takes
    from devbox_mcp.cli.serve import load_settings

    config = os.environ.get("DEVBOX_MCP_CONFIG")
    return load_settings({}, Path(config) if config else None)


def _target(devbox: str, settings: Settings | None) -> str:
    """Return what is opened for a DEVBOX: what a configured name stands for, or the DEVBOX itself."""
    if _kind(devbox) != "local":
        return devbox
    for text in () if settings is None else settings.devboxes:
        name, found, url = text.partition("=")
        if found and name == devbox:
            return url
    # the prefix keeps a directory called a=b from being taken for a name
    return devbox if devbox.startswith("local:") else f"local:{devbox}"


def _kind(devbox: str) -> str:
    scheme, found, rest = devbox.partition(":")
    return scheme if found and (scheme in KINDS or rest.startswith("//")) else "local"


def _absolute(path: str) -> str:
    """Return a path of this machine from its root. ``..`` behind a link is where the kernel says it is."""
    try:
        expanded = os.path.expanduser(path)  # noqa: PTH111  Path would drop what a trailing /. says
        if ".." in expanded.split("/"):
            return os.path.realpath(expanded)
        return os.path.abspath(expanded)  # noqa: PTH100  a link at the end is not to be followed
    except FileNotFoundError:
        raise wrong_usage("the working directory is gone; change to another one") from None
