"""The two servers: how each is started, how each is asked for the same work, and where its answer is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import node

Question = tuple[str, dict[str, Any]]
"""a tool's name and arguments"""

ENTRIES_MOST = 1000


@dataclass(frozen=True, eq=False)
class Contestant:
    """A server beneath test. Paths are given as absolute ones; ``content`` takes the file's text out of a result and
    ``entries`` the names in a listed directory."""

    name: str
    argv: list[str]
    read: Callable[[Path], Question]
    write: Callable[[Path, str], Question]
    list_directory: Callable[[Path], Question]
    content: Callable[[dict[str, Any]], str]
    entries: Callable[[dict[str, Any]], list[str]]


def ours(root: Path, *options: str) -> Contestant:
    """This server, over stdio; ``options`` follow ``devbox-mcp serve ROOT``."""
    return Contestant(
        name="devbox-mcp",
        argv=[sys.executable, "-m", "devbox_mcp", "serve", str(root), *options],
        read=lambda path: ("read_file", {"path": str(path), "line_numbers": False}),
        write=lambda path, text: ("write_file", {"path": str(path), "content": text}),
        list_directory=lambda path: ("list_dir", {"path": str(path), "limit": ENTRIES_MOST}),
        content=_first_text,
        entries=lambda result: list(result["structuredContent"]["entries"]),
    )


def official(root: Path, modules: Path) -> Contestant:
    """The official server; ``modules`` is the node_modules directory that it is installed in."""
    program = modules / "@modelcontextprotocol" / "server-filesystem" / "dist" / "index.js"
    return Contestant(
        name="server-filesystem",
        argv=[str(node.node()), str(program), str(root)],
        read=lambda path: ("read_text_file", {"path": str(path)}),
        write=lambda path, text: ("write_file", {"path": str(path), "content": text}),
        list_directory=lambda path: ("list_directory", {"path": str(path)}),
        content=_first_text,
        entries=lambda result: [line.partition(" ")[2] for line in _first_text(result).splitlines()],
    )


def _first_text(result: dict[str, Any]) -> str:
    text: str = result["content"][0]["text"]
    return text
