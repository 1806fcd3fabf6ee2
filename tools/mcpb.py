"""The bundle for clients that install with one click: ``python -m tools.mcpb DIST``.

It holds the package's source and the exact versions of what it needs, which the client's uv installs. ``--validate``
asks the format's own tool what it thinks of it. The same checkout gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from devbox_mcp import __version__
from tools import node

PROJECT = Path(__file__).parent.parent
ROOM = PROJECT / "packaging" / "mcpb"
_PIN = re.compile(r"^([a-z0-9-]+==[^ ;\\]+(?: ; [^\\]+?)?) ?\\?$", re.MULTILINE)


def manifest() -> dict[str, Any]:
    """Return the manifest: what stands in packaging/mcpb, this version, and the tools as they are published."""
    written: dict[str, Any] = json.loads((ROOM / "manifest.json").read_text())
    tools = json.loads((PROJECT / "tools" / "schemas" / "mcp.json").read_text())
    return {
        **written,
        "version": __version__,
        "tools": [{"name": tool["name"], "description": _first_sentence(tool["description"])} for tool in tools],
    }


def pins() -> list[str]:
    """Return the exact versions of all that the plain install needs."""
    return _PIN.findall((PROJECT / "constraints" / "runtime.txt").read_text())


def pyproject() -> str:
    """Return the bundle's own project, by which uv installs what it needs."""
    needs = "".join(f"    {json.dumps(pin)},\n" for pin in pins())
    return (
        f'[project]\nname = "devbox-mcp-bundle"\nversion = "{__version__}"\nrequires-python = ">=3.11"\n'
        f"dependencies = [\n{needs}]\n\n[tool.uv]\npackage = false\n"
    )


def build(into: Path) -> Path:
    """Write the bundle and return its path."""
    into.mkdir(parents=True, exist_ok=True)
    bundle = into / f"devbox-mcp-{__version__}.mcpb"
    package = PROJECT / "devbox_mcp"
    content = {
        "manifest.json": json.dumps(manifest(), indent=2, ensure_ascii=False).encode() + b"\n",
        "pyproject.toml": pyproject().encode(),
        "server.py": (ROOM / "server.py").read_bytes(),
        "LICENSE": (PROJECT / "LICENSE").read_bytes(),
        **{
            str(file.relative_to(PROJECT)): file.read_bytes()
            for file in sorted(package.rglob("*"))
            if file.is_file() and "__pycache__" not in file.parts
        },
    }
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            entry = zipfile.ZipInfo(name)  # of 1980, whenever it is made
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return bundle


def validate(bundle: Path) -> None:
    """Unpack a bundle and let the format's own tool check it. Raises CalledProcessError where it finds something."""
    modules = node.install(ROOM / "package.json", PROJECT / ".cache" / "mcpb")
    command = [str(node.node()), str(modules / "@anthropic-ai" / "mcpb" / "dist" / "cli" / "cli.js")]
    with TemporaryDirectory() as place:
        subprocess.run([*command, "unpack", str(bundle), place], check=True, env=node.environment())
        subprocess.run([*command, "validate", place], check=True, env=node.environment())


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[^.])\.(?:\s|$)", text.strip(), maxsplit=1)[0].replace("\n", " ")


def main(arguments: Sequence[str] | None = None) -> None:
    """Build the bundle as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("into", type=Path, metavar="DIST")
    parser.add_argument("--validate", action="store_true", help="also check it; needs Node.js (make .venv/node)")
    given = parser.parse_args(arguments)
    bundle = build(given.into)
    if given.validate:
        validate(bundle)
    print(bundle)


if __name__ == "__main__":
    main()
