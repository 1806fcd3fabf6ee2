"""One server for the tests of a module, and a directory of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from .serving import Raw, served


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("box")


@pytest.fixture(scope="module")
def uploads(root: Path) -> Iterator[str]:
    with served(str(root), "--max-file-size", "200M") as url:
        yield url


@pytest.fixture
def raw(root: Path, uploads: str) -> Iterator[Raw]:
    with httpx2.Client(timeout=60) as client:
        yield Raw(client, uploads, root)
