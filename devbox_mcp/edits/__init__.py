"""Exact replacements in text, all or nothing, and the diff that shows what they did. Nothing here does I/O."""

from devbox_mcp.edits.diff import unified_diff
from devbox_mcp.edits.replacing import Edit, Edited, apply

__all__ = ["Edit", "Edited", "apply", "unified_diff"]
