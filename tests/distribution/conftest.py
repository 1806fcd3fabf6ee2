"""What a user gets: the package as it is distributed, in an environment with nothing but its pinned dependencies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The source distribution, and the wheel that is built from it as an installer would."""
    place = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(place)], cwd=PROJECT, check=True
    )
    (sdist,) = place.glob("*.tar.gz")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(place), str(sdist)], check=True)
    (wheel,) = place.glob("*.whl")
    return {"sdist": sdist, "wheel": wheel}


@pytest.fixture(scope="session")
def installed(distributions: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the programs of a fresh environment, in which the wheel is installed without any extra."""
    place = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    pip = [str(place / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    pinned = ["--require-hashes", "--only-binary", ":all:", "-r", str(PROJECT / "constraints" / "runtime.txt")]
    subprocess.run([*pip, "install", *pinned], check=True)
    subprocess.run([*pip, "install", "--no-deps", str(distributions["wheel"])], check=True)
    subprocess.run([*pip, "check"], check=True)
    return place / "bin"
