from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import Stage
from tests.mcp.door import http_server


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a gateway that has a devbox called shop."""
    ground = tmp_path_factory.mktemp("gateway")
    (ground / "shop").mkdir()
    with http_server(ground / "server.log", f"shop={ground / 'shop'}") as url:
        yield url.removesuffix("/mcp")


@pytest.fixture
def stage(tmp_path: Path, gateway: str, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """What the pages name; the test is in the midst of it."""
    stage = Stage(tmp_path / "stage", gateway)
    monkeypatch.chdir(stage.directory)
    return stage
