"""The SDK: devboxes from Python."""

from devbox_mcp.client.blocking.devbox import Devbox
from devbox_mcp.client.blocking.files import Files
from devbox_mcp.client.blocking.watching import Watch
from devbox_mcp.client.devbox import AsyncDevbox
from devbox_mcp.client.files import AsyncFile, AsyncFiles
from devbox_mcp.client.shapes import (
    Archived,
    Edited,
    Event,
    FileInfo,
    Found,
    Gap,
    Lines,
    Match,
    Matches,
    Transferred,
    Uploaded,
    Written,
)
from devbox_mcp.client.watching import AsyncWatch
from devbox_mcp.edits import Edit
from devbox_mcp.errors import DevboxError

__all__ = [
    "Archived",
    "AsyncDevbox",
    "AsyncFile",
    "AsyncFiles",
    "AsyncWatch",
    "Devbox",
    "DevboxError",
    "Edit",
    "Edited",
    "Event",
    "FileInfo",
    "Files",
    "Found",
    "Gap",
    "Lines",
    "Match",
    "Matches",
    "Transferred",
    "Uploaded",
    "Watch",
    "Written",
]
