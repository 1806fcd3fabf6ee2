"""The wheel and the source distribution: what they hold, and what they say of themselves."""

from __future__ import annotations

import subprocess
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from devbox_mcp import __version__
from devbox_mcp.extras import GATEWAY, HTTP, KUBERNETES
from tests.distribution.conftest import PROJECT

pytestmark = pytest.mark.slow


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def test_the_metadata_says_what_a_user_looks_for(distributions: dict[str, Path]) -> None:
    told = metadata(distributions["wheel"])
    assert (told["Name"], told["Version"]) == ("devbox-mcp", __version__)
    assert told["Requires-Python"] == ">=3.11"
    assert told["License-Expression"] == "Apache-2.0"
    assert told["Description-Content-Type"] == "text/markdown"
    classifiers = told.get_all("Classifier") or []
    assert {f"Programming Language :: Python :: {version}" for version in ("3.11", "3.12", "3.13")} <= set(classifiers)
    assert "Typing :: Typed" in classifiers


def test_every_extra_is_offered_and_all_holds_the_others(distributions: dict[str, Path]) -> None:
    told = metadata(distributions["wheel"])
    extras = set(told.get_all("Provides-Extra") or [])
    assert extras == set(tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    needed: dict[str, set[str]] = {extra: set() for extra in extras}
    for requirement in told.get_all("Requires-Dist") or []:
        what, _, marker = requirement.partition(";")
        for extra in extras:
            if f"extra == '{extra}'" in marker:
                needed[extra].add(what.strip())
    for extra in extras - {"all"}:
        assert needed[extra] <= needed["all"], extra
    assert {extra.name for extra in (GATEWAY, HTTP, KUBERNETES)} <= extras


def test_the_wheel_holds_the_package_and_nothing_else(distributions: dict[str, Path]) -> None:
    with zipfile.ZipFile(distributions["wheel"]) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"devbox_mcp", f"devbox_mcp-{__version__}.dist-info"}
    assert "devbox_mcp/py.typed" in names
    assert not [name for name in names if "__pycache__" in name]


def test_the_source_distribution_can_be_worked_on(distributions: dict[str, Path]) -> None:
    with tarfile.open(distributions["sdist"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "Makefile", "README.md", "LICENSE", "constraints/dev.txt"} <= names
    assert {"tests/conftest.py", "packaging/server.json", "deploy/kubernetes/kustomization.yaml"} <= names
    assert not [name for name in names if name.startswith((".venv", ".cache", "dist"))]


def test_a_fresh_environment_runs_it(installed: Path) -> None:
    told = subprocess.run([installed / "devbox-mcp", "--help"], capture_output=True, text=True, check=True, timeout=60)
    assert "serve" in told.stdout
    told = subprocess.run(
        [installed / "devbox-mcp", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout == f"devbox-mcp {__version__}\n"
