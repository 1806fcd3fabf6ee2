"""The reference pages, made from the code: ``python -m tools.reference`` (``--check`` compares and fails).

Writes ``docs/reference/`` (tools, settings, error codes) and ``docs/llms.txt`` (the site's pages for models).
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
import yaml

from devbox_mcp import cli, errors
from devbox_mcp.cli.failing import EXIT_CODES
from devbox_mcp.limits import GIB, KIB, MIB
from devbox_mcp.servers.mcp.registry import Tool
from devbox_mcp.servers.mcp.tools import TOOLS
from devbox_mcp.servers.problems import STATUS
from devbox_mcp.settings import DEFAULT_TOOLSETS, TOOLSETS, Settings

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
_MADE = "<!-- made by tools/reference.py -->"


def pages() -> dict[Path, str]:
    """Return everything that is made, by its file."""
    reference = DOCS / "reference"
    return {
        reference / "tools.md": tools(),
        reference / "settings.md": settings(),
        reference / "errors.md": codes(),
        DOCS / "llms.txt": llms(),
    }


def tools() -> str:
    """Return the page of the tools."""
    return "\n".join(_lines_of_tools()) + "\n"


def _lines_of_tools() -> Iterator[str]:
    yield from _head("Tools", "Every tool with its arguments, its results and what it may do.")
    yield "Every tool is as `tools/list` publishes it. The schemas themselves, also in the forms that model providers"
    yield "take, are in `tools/schemas/`."
    yield ""
    yield "| toolset | tools | |"
    yield "|---|---|---|"
    for name, members in TOOLSETS.items():
        links = ", ".join(f"[`{tool}`](#{tool})" for tool in members.split(", "))
        yield f"| `{name}` | {links} | {'on' if name in DEFAULT_TOOLSETS else 'off unless `--toolsets` names it'} |"
    yield ""
    yield "`local` is off over HTTP unless there is an `--allow-local` directory; `signed_url` is there over HTTP only."
    yield "Every tool takes an optional `devbox`, the name of the devbox that is meant; it is left out below."
    for tool in TOOLS:
        yield ""
        yield f"## {tool.name}"
        yield ""
        yield from _lines_of_tool(tool)


def _lines_of_tool(tool: Tool) -> Iterator[str]:
    definition = tool.definition
    yield definition.description or ""
    yield ""
    yield _nature(tool)
    yield ""
    yield "| argument | type | without it | |"
    yield "|---|---|---|---|"
    for name, schema, missing in _properties(definition.input_schema):
        if name != "devbox":
            yield f"| `{name}` | {_type(schema)} | {missing} | {_cell(schema.get('description', ''))} |"
    if definition.output_schema is not None:
        yield ""
        yield "| result | type | |"
        yield "|---|---|---|"
        for name, schema, _ in _properties(definition.output_schema):
            yield f"| `{name}` | {_type(schema)} | {_cell(schema.get('description', ''))} |"


def _nature(tool: Tool) -> str:
    hints = tool.definition.annotations
    assert hints is not None
    words = [f"Toolset `{tool.toolset}`", f"scope `{tool.scope.value}`"]
    if hints.read_only_hint:
        words.append("changes nothing")
    elif hints.destructive_hint:
        words.append("may replace or remove what is there")
    if hints.idempotent_hint and not hints.read_only_hint:
        words.append("the same twice is as once")
    return ", ".join(words) + "."


def _properties(schema: dict[str, Any], above: str = "") -> Iterator[tuple[str, dict[str, Any], str]]:
    """Return the name, the schema and what counts without it, of every property at every depth."""
    for name, inner in schema["properties"].items():
        yield f"{above}{name}", inner, "required" if name in schema.get("required", []) else _default(inner)
        for part in (inner, *inner.get("anyOf", ())):
            if "properties" in part:
                yield from _properties(part, f"{above}{name}.")
            elif "properties" in part.get("items", {}):
                yield from _properties(part["items"], f"{above}{name}[].")


def _default(schema: dict[str, Any]) -> str:
    return f"`{json.dumps(schema['default'])}`" if schema.get("default") not in (None, "") else ""


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    return str(schema.get("type", "any"))


def settings() -> str:
    """Return the page of the settings."""
    return "\n".join(_lines_of_settings()) + "\n"


def _lines_of_settings() -> Iterator[str]:
    yield from _head("Settings", "Every setting, as an option, an environment variable and a key of the file.")
    yield "`devbox-mcp serve` takes each of these as an option, as an environment variable (`read_only` is"
    yield "`DEVBOX_MCP_READ_ONLY`) and as a key of the TOML file that `--config` names. The command line wins over the"
    yield "environment, and that over the file. A variable that begins with `DEVBOX_MCP_` and is no setting is refused."
    yield ""
    yield "Lists are comma-separated in the environment, and options that take one are repeated. Sizes are bytes, or"
    yield "`512K`, `10M`, `1G`. An option that ends in `-file` names a file; the environment and the TOML file hold"
    yield "what would be in it."
    for title, rows in _settings_by_panel().items():
        yield ""
        yield f"## {title}"
        yield ""
        yield "| key | option | default | |"
        yield "|---|---|---|---|"
        yield from rows
    yield ""
    yield "## Beside the settings"
    yield ""
    yield "| environment | |"
    yield "|---|---|"
    yield "| `DEVBOX_MCP_CONFIG` | The TOML file, as `--config`. |"
    yield "| `DEVBOX_MCP_API_KEY` | The key for devboxes [behind HTTP](../http-backend.md#credentials). |"


def _settings_by_panel() -> dict[str, list[str]]:
    options = serve_options()
    found: dict[str, list[str]] = {}
    for name, field in Settings.model_fields.items():
        option = options[_option_of(name, options)]
        panel = getattr(option, "rich_help_panel", None) or "General"
        shown = "" if option.param_type_name == "argument" else f"`{option.opts[0]}`"
        told = re.sub(r" \[[^]]*\]$", "", getattr(option, "help", None) or "")  # the default, which has a column
        told = re.sub(r"docs/([\w-]+)\.md", r"[\1](../\1.md)", told)
        row = f"| `{name}` | {shown or 'the arguments'} | {_value(field.default)} |"
        found.setdefault(re.sub(r" \(.*", "", panel).replace("Options", "General"), []).append(f"{row} {_cell(told)} |")
    return found


def serve_options() -> dict[str, Any]:
    """Return the options and arguments of ``devbox-mcp serve``, by name."""
    command = typer.main.get_command(cli.app).commands["serve"]  # type: ignore[attr-defined]  # it is a group
    return {str(option.name): option for option in command.params}


def _option_of(name: str, options: dict[str, Any]) -> str:
    """Return which option is a setting's; the names differ where an option is repeated, or names a file."""
    singular = name.removesuffix("es") if name.endswith("devboxes") else name.removesuffix("s")
    candidates = (name, singular, f"{name}_file", f"{name}_url", f"no_{name}")
    return next(candidate for candidate in candidates if candidate in options)


def _value(default: Any) -> str:
    if default is None or default == ():
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return ", ".join(f"`{item}`" for item in default)
    for letter, unit in (("G", GIB), ("M", MIB), ("K", KIB)):
        if isinstance(default, int) and default and default % unit == 0:
            return f"`{default // unit}{letter}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def codes() -> str:
    """Return the page of the error codes."""
    return "\n".join(_lines_of_codes()) + "\n"


def _lines_of_codes() -> Iterator[str]:
    yield from _head("Error codes", "Every error with its status, its exit code and what to do.")
    yield "An error has one code at every door: in a tool's result, in `application/problem+json`, as an exception"
    yield "of `devbox_mcp.errors`, as an exit code. It tells the operation, the path, what is wrong and what to do,"
    yield "often better than the general advice below. Unless an error says so, nothing was changed."
    yield ""
    yield "| code | exception | HTTP | exit | may work later | what it means, and what to do |"
    yield "|---|---|---|---|---|---|"
    for code, kind in errors.BY_CODE.items():
        later = "yes" if kind.retryable else ""
        numbers = f"{STATUS.get(code, 500)} | {EXIT_CODES.get(code, 1)}"
        means = "; ".join(filter(None, ((inspect.getdoc(kind) or "").rstrip("."), kind.default_hint)))
        yield f"| `{code}` | `{kind.__name__}` | {numbers} | {later} | {_cell(means)} |"
    yield ""
    yield "Over HTTP only:"
    yield ""
    yield "| code | HTTP | |"
    yield "|---|---|---|"
    for code in sorted(STATUS.keys() - errors.BY_CODE.keys()):
        yield f"| `{code}` | {STATUS[code]} | {_OVER_HTTP[code]} |"
    yield f"| `{errors.DevboxError.code}` | 500 | a fault of the server, whose log has the details |"


_OVER_HTTP = {
    "method_not_allowed": "the address is there, for other methods",
    "range_not_satisfiable": "the range begins behind the file's end; `Content-Range` tells its size",
}


def llms() -> str:
    """Return llms.txt: what this is, and every page of the site with a line about it."""
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    lines = [f"# {site['site_name']}", "", f"> {site['site_description']}", "", _FOR_MODELS]
    for section in site["nav"]:
        ((title, members),) = section.items()
        lines += ["", f"## {title}", ""]
        for member in members:
            path = member if isinstance(member, str) else next(iter(member.values()))
            lines.append(f"- [{heading(path)}]({path}): {description(path)}")
    return "\n".join(lines) + "\n"


_FOR_MODELS = """An MCP server, an HTTP API, a Python SDK and a command line for the files of a directory, a container
in Kubernetes, whatever a command leads to, or a devbox behind HTTP. Writes are atomic and verified, nothing leads out
of the root, and `if_match` makes a change conditional on the content's sha256. Links lead to Markdown."""


def heading(path: str) -> str:
    """Return a page's title."""
    found = re.search(r"^# (.+)$", _page(path), re.MULTILINE)
    if found is None:
        raise ValueError(f"docs/{path} has no title; begin it with '# …'")
    return found[1]


def description(path: str) -> str:
    """Return the line about a page that its head has."""
    head = _page(path).split("---\n")[1]
    return str(yaml.safe_load(head)["description"])


def _page(path: str) -> str:
    made = {"reference/tools.md": tools, "reference/settings.md": settings, "reference/errors.md": codes}
    return made[path]() if path in made else (DOCS / path).read_text()


def _head(title: str, about: str) -> tuple[str, ...]:
    return ("---", f"description: {about}", "---", "", _MADE, "", f"# {title}", "")


def _cell(text: str) -> str:
    """Return text for a cell of a table: one line, in which nothing but code has a meaning."""
    parts = " ".join(text.split()).replace("|", "\\|").split("`")
    parts[::2] = [re.sub(r"([*<])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def main() -> None:
    """Write, or with ``--check`` compare and fail."""
    wanted = pages()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        if stale:
            sys.exit(f"stale: {', '.join(path.name for path in stale)}; run python -m tools.reference")
        return
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path])
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
