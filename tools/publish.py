"""What is published about the tools, made from the tools themselves: ``python -m tools.publish`` (``--check`` in CI).

Writes ``tools/schemas/`` (every tool as tools/list publishes it, and in the forms that model providers take) and the
table of tools in the README.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mcp_types as types

from devbox_mcp.servers.mcp.registry import Tool
from devbox_mcp.servers.mcp.tools import TOOLS
from devbox_mcp.settings import DEFAULT_TOOLSETS
from tools import forms

ROOT = Path(__file__).parent.parent
SCHEMAS = ROOT / "tools" / "schemas"
README = ROOT / "README.md"
_BEGIN, _END = "<!-- tools: made by tools/publish.py -->", "<!-- /tools -->"


def _mcp(tool: types.Tool) -> Any:
    return tool.model_dump(mode="json", by_alias=True, exclude_none=True)


#: By the name of the file.
FORMS: dict[str, Callable[[types.Tool], Any]] = {
    "mcp.json": _mcp,
    "anthropic.json": forms.anthropic,
    "openai.json": forms.openai,
    "openai-strict.json": forms.openai_strict,
    "gemini.json": forms.gemini,
}


def schemas() -> dict[Path, str]:
    """Return the tools as JSON in every form, the ones that are off by default too."""
    return {
        SCHEMAS / name: json.dumps([form(tool.definition) for tool in TOOLS], indent=1, ensure_ascii=False) + "\n"
        for name, form in FORMS.items()
    }


def table() -> str:
    """Return the README's table."""
    rows = ["| tool | arguments | what it does |", "|---|---|---|"]
    for tool in TOOLS:
        rows.append(f"| `{tool.name}` | {_arguments(tool)} | {_summary(tool)} |")
    return "\n".join(rows)


def _arguments(tool: Tool) -> str:
    schema = tool.definition.input_schema
    required = schema.get("required", [])
    names = [f"`{name}`" if name in required else f"`{name}?`" for name in schema["properties"] if name != "devbox"]
    return " ".join(names)


def _summary(tool: Tool) -> str:
    first = (tool.definition.description or "").split("\n\n")[0].replace("\n", " ").split(". ")[0].rstrip(".")
    if tool.lends:
        first += " (over HTTP only)"
    return first + ("" if tool.toolset in DEFAULT_TOOLSETS else f" (off unless `--toolsets` names `{tool.toolset}`)")


def readme() -> str:
    """Return the README with its table renewed."""
    text = README.read_text()
    before, rest = text.split(_BEGIN, 1)
    _, after = rest.split(_END, 1)
    return f"{before}{_BEGIN}\n{table()}\n{_END}{after}"


def main() -> None:
    """Write, or with ``--check`` compare and fail."""
    wanted = {**schemas(), README: readme()}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        if stale:
            sys.exit(f"stale: {', '.join(path.name for path in stale)}; run python -m tools.publish")
        return
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path])
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
