"""What Sealos' server does not give, and why."""

from __future__ import annotations

from devbox_mcp.errors import Unsupported
from devbox_mcp.paths import SandboxPath

LACKS = {
    "versions": "the server cannot compare and replace in one step, so if_match cannot be kept",
    "append": "the server has no append, and to write old and new together would lose what others add meanwhile",
    "directories": "the server has no mkdir, does not make directories for a file, or would not copy them whole",
    "batches": "the server's many files at once are neither atomic nor verified",
    "watching": "the server tells times in seconds and no inode, so changes would be missed",
    "uploads in parts": "the server takes a file in one request only",
    "links": "the server does not tell them, and follows them wherever they lead",
}


def unsupported(op: str, path: SandboxPath, what: str) -> Unsupported:
    """Return the error of a call that asks for it."""
    return Unsupported(op, path.text, LACKS[what])
