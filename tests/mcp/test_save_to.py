"""download_zip's save_to: where on the server's machine a zip may be saved, and where not."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest

from tests.mcp.door import Door, empty, http_door, http_server, open_door, stdio_door

MODES = {"handshake": "legacy", "modern": "auto"}


@pytest.fixture(scope="session")
def allowed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    allowed = tmp_path_factory.mktemp("saving") / "allowed"
    allowed.mkdir()
    return allowed


@pytest.fixture(scope="session")
def url(ground: Path, allowed: Path) -> Iterator[str]:
    with http_server(allowed.parent / "http.log", str(ground / "box"), "--allow-local", str(allowed)) as url:
        yield url


@pytest.fixture(scope="session")
async def opened(request: pytest.FixtureRequest, ground: Path, allowed: Path, url: str) -> AsyncIterator[Door]:
    """A client of a server that may save beneath the allowed directory."""
    box, log = ground / "box", allowed.parent / "stdio.log"
    at = url if request.param.startswith("http") else None
    async with open_door(request.param, box, log, at, "--allow-local", str(allowed)) as door:
        yield door


@pytest.fixture
def place(allowed: Path) -> Path:
    """The allowed directory, empty, with a way out in it."""
    empty(allowed)
    (allowed / "out").symlink_to("..")
    return allowed


@pytest.mark.parametrize("absolute", [True, False])
async def test_a_zip_is_saved_beneath_what_the_operator_allowed(door: Door, place: Path, absolute: bool) -> None:
    data = os.urandom(3_000_000)
    door.make({"d/data.bin": data})
    save_to = str(place / "sub/all.zip") if absolute else "sub/all.zip"
    answer = await door.call("download_zip", paths=["d"], save_to=save_to)
    saved = (place / "sub/all.zip").read_bytes()
    assert answer.text.startswith(f"saved {place}/sub/all.zip [zip of 1 file ")
    assert f"sha256 {hashlib.sha256(saved).hexdigest()}" in answer.text
    with zipfile.ZipFile(place / "sub/all.zip") as archive:
        assert archive.read("d/data.bin") == data


async def test_an_older_zip_is_replaced(door: Door, place: Path) -> None:
    door.make({"a.txt": "a"})
    for _ in range(2):
        await door.call("download_zip", paths=["."], save_to=str(place / "a.zip"))
    assert sorted(os.listdir(place)) == ["a.zip", "out"]


@pytest.mark.parametrize("save_to", ["../evil.zip", "out/evil.zip", "", ".", "a\0b", "{ground}/evil.zip",
                                     "{box}/evil.zip", "{allowed}-evil/x.zip", "{allowed}/../x.zip",
                                     "{allowed}"])  # fmt: skip
async def test_nothing_is_saved_elsewhere(door: Door, place: Path, ground: Path, save_to: str) -> None:
    door.make({"a.txt": "a"})
    before = sorted(os.listdir(ground)), sorted(os.listdir(place.parent))
    path = save_to.format(ground=ground, box=door.box, allowed=place)
    text = await door.refused("download_zip", paths=["."], save_to=path)
    assert any(f"[{code}]" in text for code in ("denied", "escapes_root", "invalid_argument", "is_directory"))
    assert (sorted(os.listdir(ground)), sorted(os.listdir(place.parent))) == before
    assert sorted(os.listdir(place)) == ["out"]
    assert os.listdir(door.box) == ["a.txt"]


async def test_a_failed_zip_leaves_what_was_saved_before(door: Door, place: Path) -> None:
    (place / "a.zip").write_bytes(b"precious")
    text = await door.refused("download_zip", paths=["missing"], save_to=str(place / "a.zip"))
    assert "[not_found]" in text
    assert (place / "a.zip").read_bytes() == b"precious"
    assert sorted(os.listdir(place)) == ["a.zip", "out"]


# -- the client's roots, over stdio only


def roots_of(*uris: str) -> Callable[..., Any]:
    async def roots(_context: Any) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri=uri) for uri in uris])  # type: ignore[arg-type]

    return roots


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return MODES[request.param]


@pytest.fixture
def ground_here(tmp_path: Path) -> Path:
    for name in ("box", "my root", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "box" / "a.txt").write_text("a")
    return tmp_path


async def test_over_stdio_a_root_of_the_client_is_allowed(ground_here: Path, mode: str) -> None:
    root = ground_here / "my root"
    roots = roots_of((ground_here / "gone").as_uri(), root.as_uri())
    log = ground_here / "log"
    async with stdio_door(ground_here / "box", log, mode=mode, list_roots_callback=roots) as door:
        answer = await door.call("download_zip", paths=["."], save_to=str(root / "a.zip"))
        assert answer.text.startswith(f"saved {root}/a.zip")
        with zipfile.ZipFile(root / "a.zip") as archive:
            assert archive.namelist() == ["a.txt"]
        text = await door.refused("download_zip", paths=["."], save_to=str(ground_here / "elsewhere" / "a.zip"))
        assert "[denied]" in text
        assert str(root) in text
    assert os.listdir(ground_here / "elsewhere") == []


async def test_a_client_without_roots_is_told_what_the_operator_can_do(ground_here: Path) -> None:
    async with stdio_door(ground_here / "box", ground_here / "log") as door:
        text = await door.refused("download_zip", paths=["."], save_to=str(ground_here / "elsewhere" / "a.zip"))
        assert "[denied]" in text
        assert "--allow-local" in text


async def test_a_client_that_will_not_tell_its_roots_has_none(ground_here: Path) -> None:
    async def refuses(_context: Any) -> types.ErrorData:
        return types.ErrorData(code=-32603, message="roots are broken")

    log = ground_here / "log"
    async with stdio_door(ground_here / "box", log, mode="legacy", list_roots_callback=refuses) as door:
        text = await door.refused("download_zip", paths=["."], save_to=str(ground_here / "elsewhere" / "a.zip"))
        assert "[denied]" in text


async def test_over_http_the_roots_of_the_client_do_not_count(
    ground: Path, url: str, ground_here: Path, mode: str
) -> None:
    asked = []

    async def roots(_context: Any) -> types.ListRootsResult:
        asked.append(1)
        return types.ListRootsResult(roots=[types.Root(uri=(ground_here / "my root").as_uri())])  # type: ignore[arg-type]

    async with http_door(ground / "box", url, mode=mode, list_roots_callback=roots) as door:
        text = await door.refused("download_zip", paths=["."], save_to=str(ground_here / "my root" / "a.zip"))
    assert "[denied]" in text
    assert str(ground_here / "my root") not in text.replace(str(ground_here / "my root" / "a.zip"), "")
    assert not asked
    assert os.listdir(ground_here / "my root") == []


# -- what is too big for either


@pytest.fixture(scope="module")
async def small(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    """A server that transfers at most a megabyte."""
    ground = tmp_path_factory.mktemp("small")
    (ground / "box").mkdir()
    (ground / "allowed").mkdir()
    options = ("--max-transfer", "1M", "--max-inline-zip", "10K", "--allow-local", str(ground / "allowed"))
    async with stdio_door(ground / "box", ground / "log", *options) as door:
        yield door


async def test_a_zip_over_the_transfer_limit_is_refused_and_nothing_stays(small: Door) -> None:
    small.make({"big.bin": os.urandom(1_100_000)})
    allowed = small.box.parent / "allowed"
    for arguments in ({}, {"save_to": str(allowed / "big.zip")}):
        text = await small.refused("download_zip", paths=["big.bin"], **arguments)
        assert "[too_large]" in text
        assert "1048576" in text or "1 MB" in text
    assert os.listdir(allowed) == []
