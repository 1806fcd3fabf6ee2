"""upload_file and download_file: between files of the server's machine and the devbox."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest

from devbox_mcp.audit import NoAudit
from devbox_mcp.backends.local import LocalBackend
from devbox_mcp.guest.names import OWN_PREFIX
from devbox_mcp.layers import Layer
from devbox_mcp.models import FileInfo, Written
from devbox_mcp.paths import SandboxPath
from devbox_mcp.recording import Recorder
from devbox_mcp.sandbox import Sandbox
from devbox_mcp.sandboxes import Sandboxes
from devbox_mcp.servers.mcp.progress import unheard
from devbox_mcp.servers.mcp.registry import Call
from devbox_mcp.servers.mcp.tools.local import download_file, upload_file
from devbox_mcp.settings import Settings
from tests.mcp.door import EVERY_DOOR, Door, empty, http_door, http_server, open_door, stdio_door

DOORS = EVERY_DOOR
OPTIONS = ("--max-transfer", "300M")
BIG = 12_000_000
SLOW = 280 << 20  # takes long enough to be told of, and to be given up


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shared = tmp_path_factory.mktemp("local") / "shared"
    shared.mkdir()
    return shared


@pytest.fixture(scope="session")
def url(ground: Path, shared: Path) -> Iterator[str]:
    log = shared.parent / "http.log"
    with http_server(log, str(ground / "box"), "--allow-local", str(shared), *OPTIONS) as url:
        yield url


@pytest.fixture(scope="session")
async def opened(request: pytest.FixtureRequest, ground: Path, shared: Path, url: str) -> AsyncIterator[Door]:
    """A client of a server that may use the shared directory."""
    box, log = ground / "box", shared.parent / f"{request.param}.log"
    at = url if request.param.startswith("http") else None
    async with open_door(request.param, box, log, at, "--allow-local", str(shared), *OPTIONS) as door:
        yield door


@pytest.fixture
def here(shared: Path) -> Path:
    """The allowed directory, empty but for a link out of it."""
    empty(shared)
    (shared / "out").symlink_to("..")
    return shared


def left(*directories: Path) -> list[str]:
    """Return the names of all that is there, temporaries too; it may be going away meanwhile."""
    found: list[str] = []
    for directory in directories:
        for _, names, files in os.walk(directory):
            found += names + files
    return sorted(name for name in found if name != "out")


# -- what goes well


@pytest.mark.parametrize("size", [0, 1, 1_048_576, BIG])
@pytest.mark.parametrize("absolute", [True, False])
async def test_there_and_back(door: Door, here: Path, size: int, absolute: bool) -> None:
    data = os.urandom(size)
    (here / "one.bin").write_bytes(data)
    given = str(here / "one.bin") if absolute else "one.bin"
    answer = await door.call("upload_file", local_path=given, path="d/e/one.bin")
    assert (door.box / "d/e/one.bin").read_bytes() == data
    assert answer.data == {"path": "d/e/one.bin", "local_path": f"{here}/one.bin", "sha256": sha256(data), "size": size,
                           "created": True}  # fmt: skip
    assert answer.text.startswith(f"uploaded {here}/one.bin to d/e/one.bin [")
    back = str(here / "sub/two.bin") if absolute else "sub/two.bin"
    answer = await door.call("download_file", path="d/e/one.bin", local_path=back)
    assert (here / "sub/two.bin").read_bytes() == data
    place = f"{here}/sub/two.bin"
    assert (answer.data["sha256"], answer.data["created"], answer.data["local_path"]) == (sha256(data), True, place)
    assert answer.text.startswith(f"downloaded d/e/one.bin to {place} [")
    assert left(here, door.box) == sorted(["one.bin", "sub", "two.bin", "d", "e", "one.bin"])


async def test_the_execute_permission_comes_along_or_as_asked(door: Door, here: Path) -> None:
    (here / "run").write_bytes(b"#!")
    (here / "run").chmod(0o755)
    (here / "plain").write_bytes(b"")
    (here / "plain").chmod(0o644)

    def is_executable(path: Path) -> bool:
        return bool(path.stat().st_mode & stat.S_IXUSR)

    for name, asked, expected in (("run", None, True), ("plain", None, False), ("run", False, False),
                                  ("plain", True, True)):  # fmt: skip
        there, back = f"{name}-{asked}", here / f"back-{name}-{asked}"
        await door.call("upload_file", local_path=name, path=there, executable=asked)
        assert is_executable(door.box / there) is expected
        await door.call("download_file", path=there, local_path=str(back))
        assert is_executable(back) is expected
    # what is replaced keeps its own where the original has none
    (here / "run").write_bytes(b"old")
    await door.call("download_file", path="plain-None", local_path="run")
    assert is_executable(here / "run")


async def test_a_file_that_is_there(door: Door, here: Path) -> None:
    door.make({"f": "new"})
    (here / "f").write_bytes(b"old")
    (here / "f").chmod(0o640)
    text = await door.refused("download_file", path="f", local_path="f", mode="create")
    assert "[exists]" in text
    assert "server's machine" in text
    text = await door.refused("download_file", path="f", local_path="f", if_match=sha256(b"other"))
    assert "[conflict]" in text
    assert sha256(b"old")[:12] in text
    assert (here / "f").read_bytes() == b"old"
    answer = await door.call("download_file", path="f", local_path="f", if_match=sha256(b"old")[:12])
    assert ((here / "f").read_bytes(), answer.data["created"]) == (b"new", False)
    assert (here / "f").stat().st_mode & 0o777 == 0o640
    await door.call("download_file", path="f", local_path="f")
    (here / "g").write_bytes(b"newer")
    text = await door.refused("upload_file", local_path="g", path="f", mode="create")
    assert "[exists]" in text
    assert "server's machine" not in text
    text = await door.refused("upload_file", local_path="g", path="f", if_match=sha256(b"other"))
    assert "[conflict]" in text
    await door.call("upload_file", local_path="g", path="f", if_match=sha256(b"new"))
    assert (door.box / "f").read_bytes() == b"newer"
    assert left(here, door.box) == ["f", "f", "g"]


async def test_progress_reaches_the_client(door: Door, here: Path) -> None:
    with (here / "big").open("wb") as file:
        file.truncate(SLOW)
    told: list[tuple[float, float | None]] = []

    async def tell(done: float, total: float | None, _message: str | None) -> None:
        told.append((done, total))

    await door.client.call_tool("upload_file", {"path": "big", "local_path": "big"}, progress_callback=tell)
    assert told
    assert all(0 < done <= total == SLOW for done, total in told)


# -- what does not


@pytest.mark.parametrize(
    ("local_path", "code"),
    [
        ("missing", "not_found"),
        ("missing/f", "not_found"),
        ("d", "is_directory"),
        ("f/x", "not_directory"),
        ("fifo", "unsupported"),
        ("out/secret", "escapes_root"),
        ("link-out", "escapes_root"),
        ("", "invalid_argument"),
        (".", "denied"),
        ("a\0b", "invalid_argument"),
        ("{here}/../secret", "denied"),
        ("{here}-evil/secret", "denied"),
        ("/etc/passwd", "denied"),
        ("{box}/f", "denied"),
    ],
)
async def test_local_files_that_cannot_be(door: Door, here: Path, local_path: str, code: str) -> None:
    evil = here.with_name(f"{here.name}-evil")
    evil.mkdir(exist_ok=True)
    for directory in (here.parent, evil):
        (directory / "secret").write_bytes(b"secret")
    door.make({"f": "data"})
    (here / "d").mkdir()
    (here / "f").write_bytes(b"f")
    (here / "link-out").symlink_to("../secret")
    os.mkfifo(here / "fifo")
    given = local_path.format(here=here, box=door.box)
    before = left(here.parent, door.box)
    text = await door.refused("upload_file", local_path=given, path="new")
    assert f"[{code}]" in text
    if not local_path.startswith("missing"):
        text = await door.refused("download_file", path="f", local_path=given)
        assert f"[{code}]" in text
    assert left(here.parent, door.box) == before
    assert (here.parent / "secret").read_bytes() == b"secret"


@pytest.mark.parametrize(("path", "code"), [("missing", "not_found"), ("d", "is_directory"), ("../x", "escapes_root")])
async def test_wrong_paths_in_the_devbox(door: Door, here: Path, path: str, code: str) -> None:
    door.make({"d/f": "x"})
    (here / "f").write_bytes(b"old")
    text = await door.refused("download_file", path=path, local_path="f")
    assert f"[{code}]" in text
    assert "server's machine" not in text
    assert (here / "f").read_bytes() == b"old"
    if code != "not_found":
        text = await door.refused("upload_file", local_path="f", path=path)
        assert f"[{code}]" in text
    assert left(here) == ["f"]


async def test_too_large(door: Door, here: Path) -> None:
    for place in (here, door.box):
        with (place / "huge").open("wb") as file:
            file.truncate((300 << 20) + 1)
    for tool, arguments in (("upload_file", {"local_path": "huge", "path": "new"}),
                            ("download_file", {"path": "huge", "local_path": "new"})):  # fmt: skip
        text = await door.refused(tool, **arguments)
        assert "[too_large]" in text
        assert "--max-transfer" in text
    assert left(here, door.box) == ["huge", "huge"]


@pytest.mark.parametrize("tool", ["upload_file", "download_file"])
@pytest.mark.parametrize("target", ["old", "new/parents/f"])
async def test_given_up_in_the_middle_it_leaves_nothing(door: Door, here: Path, tool: str, target: str) -> None:
    source, place = (here, door.box) if tool == "upload_file" else (door.box, here)
    with (source / "big").open("wb") as file:
        file.truncate(SLOW)
    (place / "old").write_bytes(b"old")
    before = left(here, door.box)
    arguments = {"upload_file": {"local_path": "big", "path": target}, "download_file": {"path": "big"}}[tool]
    task = asyncio.create_task(door.client.call_tool(tool, {"local_path": target, **arguments}))
    await _until(lambda: any(name.startswith(OWN_PREFIX) for name in left(place)))
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # the client does not wait for the server, which has to stop and clear away
    await _until(lambda: left(here, door.box) == before)
    assert (place / "old").read_bytes() == b"old"
    answer = await door.call("stat", path="old" if tool == "upload_file" else "big")
    assert answer.data


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  it is about files that another process makes
            await asyncio.sleep(0.002)


# -- client roots and the operator's rules


def roots_of(*directories: Path) -> Callable[..., Any]:
    async def roots(_context: Any) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri=one.as_uri()) for one in directories])  # type: ignore[arg-type]

    return roots


@pytest.fixture
def ground_here(tmp_path: Path) -> Path:
    for name in ("box", "my root"):
        (tmp_path / name).mkdir()
    (tmp_path / "box" / "a.txt").write_text("a")
    (tmp_path / "my root" / "b.txt").write_text("b")
    return tmp_path


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_over_stdio_a_root_of_the_client_is_allowed(ground_here: Path, mode: str) -> None:
    root = ground_here / "my root"
    log, box = ground_here / "log", ground_here / "box"
    async with stdio_door(box, log, mode=mode, list_roots_callback=roots_of(root)) as door:
        await door.call("upload_file", local_path=str(root / "b.txt"), path="b.txt")
        await door.call("download_file", path="a.txt", local_path=str(root / "a.txt"))
        text = await door.refused("upload_file", local_path=str(log), path="log")
        assert "[denied]" in text
        assert f"read beneath {root}" in text
    assert ((box / "b.txt").read_text(), (root / "a.txt").read_text()) == ("b", "a")
    assert not (box / "log").exists()


async def test_over_http_they_are_off_until_a_directory_is_allowed(ground_here: Path) -> None:
    box, root = ground_here / "box", ground_here / "my root"
    with http_server(ground_here / "log", str(box)) as url:
        async with http_door(box, url, list_roots_callback=roots_of(root)) as door:
            assert not {"upload_file", "download_file"} & set(door.tools)
    with http_server(ground_here / "log2", str(box), "--toolsets", "local") as url:
        async with http_door(box, url, list_roots_callback=roots_of(root)) as door:
            assert set(door.tools) == {"upload_file", "download_file"}
            text = await door.refused("upload_file", local_path=str(root / "b.txt"), path="b.txt")
            assert "[denied]" in text
            assert "--allow-local" in text
            assert "my root" not in text.replace(str(root / "b.txt"), "")


@pytest.mark.parametrize("allowed", [".", "box", "links"])
async def test_what_is_denied_in_the_devbox_is_not_reached_from_outside(ground_here: Path, allowed: str) -> None:
    box, links = ground_here / "box", ground_here / "links"
    links.mkdir()
    (box / ".env").write_text("secret")
    (ground_here / "within").symlink_to("box")
    place = ground_here / allowed
    given = {".": ["box/.env", "within/.env"], "box": [".env"], "links": ["../box/.env"]}[allowed]
    options = ("--deny", ".env", "--allow-local", str(place))
    async with stdio_door(box, ground_here / "log", *options) as door:
        for path in given:
            text = await door.refused("upload_file", local_path=path, path="copy")
            assert "[denied]" in text or "[escapes_root]" in text
            text = await door.refused("download_file", path="a.txt", local_path=path)
            assert "[denied]" in text or "[escapes_root]" in text
    assert (box / ".env").read_text() == "secret"
    assert not (box / "copy").exists()


async def test_what_is_read_only_stays_so(ground_here: Path) -> None:
    box = ground_here / "box"
    options = ("--read-only", "--allow-local", str(ground_here))
    async with stdio_door(box, ground_here / "log", *options) as door:
        assert "upload_file" not in door.tools
        await door.call("download_file", path="a.txt", local_path="my root/a.txt")
        for tool, arguments in (("download_file", {"path": "a.txt"}), ("download_zip", {"paths": ["."]})):
            key = "local_path" if tool == "download_file" else "save_to"
            text = await door.refused(tool, **arguments, **{key: str(box / "new")})
            assert "[denied]" in text
    assert sorted(os.listdir(box)) == ["a.txt"]
    assert (ground_here / "my root" / "a.txt").read_text() == "a"


# -- bytes that are not what they should be


async def test_a_file_that_is_replaced_meanwhile_is_not_brought_half_old(door: Door, here: Path) -> None:
    with (door.box / "big").open("wb") as file:
        file.truncate(SLOW)
    (here / "f").write_bytes(b"old")
    task = asyncio.create_task(door.refused("download_file", path="big", local_path="f"))
    await _until(lambda: any(name.startswith(OWN_PREFIX) for name in left(here)))
    (door.box / "other").write_bytes(b"other")
    (door.box / "other").replace(door.box / "big")
    text = await task
    assert text.startswith("download_file big: ")
    assert "[conflict]" in text
    assert "server's machine" not in text
    assert (here / "f").read_bytes() == b"old"
    assert left(here, door.box) == ["big", "f"]


class Lying(Layer):
    """Says of every file that it has another hash than it has."""

    async def stat(self, path: SandboxPath, *, follow: bool = True, sha256: bool = False) -> FileInfo:
        return replace(await super().stat(path, follow=follow, sha256=sha256), sha256="0" * 64)

    async def write(self, path: SandboxPath, data: Any, **options: Any) -> Written:  # type: ignore[override]
        written = await super().write(path, data, **options)
        return replace(written, info=replace(written.info, sha256="0" * 64))


async def test_a_devbox_that_tells_another_hash_is_not_believed(ground_here: Path) -> None:
    box, root = ground_here / "box", ground_here / "my root"
    settings = Settings(devboxes=(str(box),), allow_local=(str(root),))
    backend = Lying(LocalBackend(str(box)))
    sandboxes = Sandboxes([Sandbox("box", backend, str(box), settings.limits, Recorder(NoAudit(), "box"))], NoAudit())
    nothing: Any = None
    call = Call(sandboxes, settings, nothing, nothing, nothing, over_stdio=False, on_progress=unheard)
    try:
        for tool, arguments in ((upload_file, {"local_path": "b.txt", "path": "new"}),
                                (download_file, {"path": "a.txt", "local_path": "new"})):  # fmt: skip
            result = await tool(call, arguments)
            assert isinstance(result, types.CallToolResult)
            assert result.is_error
            assert "[integrity]" in result.model_dump_json()
        assert os.listdir(root) == ["b.txt"]
    finally:
        await sandboxes.aclose()
