"""devbox-mcp: hands for AI agents on the files of a development sandbox.

    from devbox_mcp import Devbox

    with Devbox("k8s://default/my-pod") as box:
        print(box.fs.read_file("main.py"))

What is imported from here is loaded when it is asked for: the server and the command line need little of it.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False  # as type checkers take it; typing itself would be most of this import

if TYPE_CHECKING:
    from devbox_mcp.client import (
        Archived,
        AsyncDevbox,
        Devbox,
        DevboxError,
        Edit,
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

__all__ = [
    "Archived",
    "AsyncDevbox",
    "Devbox",
    "DevboxError",
    "Edit",
    "Edited",
    "Event",
    "FileInfo",
    "Found",
    "Gap",
    "Lines",
    "Match",
    "Matches",
    "Transferred",
    "Uploaded",
    "Written",
]


def __getattr__(name: str) -> object:
    """Import a name of the SDK when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from devbox_mcp import client  # noqa: PLC0415  this is what it is for

    found: object = getattr(client, name)
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
