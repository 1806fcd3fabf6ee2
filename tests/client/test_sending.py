"""Uploads that break: the connection fails in front of a real directory, and what has arrived counts."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devbox_mcp.audit import NoAudit
from devbox_mcp.client.sending import Sending, Wanted
from devbox_mcp.errors import Conflict, DevboxError, NoSpace, Unavailable
from devbox_mcp.kinds import open_directory
from devbox_mcp.layers import Layer
from devbox_mcp.limits import Limits
from devbox_mcp.models import WriteMode, Written
from devbox_mcp.paths import SandboxPath
from devbox_mcp.recording import Recorder
from devbox_mcp.sandbox import Sandbox

pytestmark = pytest.mark.anyio

DATA = os.urandom(1 << 20) * 20
PLAIN = Wanted("overwrite", None, None)


class Breaking(Layer):
    """A connection that breaks after so many bytes, as often as it is told to, or loses the last answer."""

    def __init__(self, root: Path, after: list[int], *, loses_answer: bool = False) -> None:
        super().__init__(open_directory(str(root)))
        self._after = after
        self._loses_answer = loses_answer
        self.begun: list[int] = []
        self.passed = 0

    async def upload_add(
        self, path: SandboxPath, token: str, offset: int, data: bytes | AsyncIterator[bytes], *, whole: bool = False
    ) -> int:
        assert not isinstance(data, bytes)
        self.begun.append(offset)
        most = self._after.pop(0) if self._after else None
        return await self._inner.upload_add(path, token, offset, self._passing(data, most), whole=whole)

    async def _passing(self, chunks: AsyncIterator[bytes], most: int | None) -> AsyncIterator[bytes]:
        passed = 0
        async for chunk in chunks:
            passed += len(chunk)
            self.passed += len(chunk)
            if most is not None and passed > most:
                raise Unavailable("upload", ".", "the connection broke")
            yield chunk

    async def upload_finish(
        self,
        path: SandboxPath,
        token: str,
        size: int,
        *,
        sha256: str | None = None,
        mode: WriteMode = "overwrite",
        if_match: str | None = None,
        executable: bool | None = None,
    ) -> Written:
        written = await super().upload_finish(
            path, token, size, sha256=sha256, mode=mode, if_match=if_match, executable=executable
        )
        if self._loses_answer:
            self._loses_answer = False
            raise Unavailable("upload", ".", "the answer was lost")
        return written


@pytest.fixture
def local(tmp_path: Path) -> Path:
    (tmp_path / "data").write_bytes(DATA)
    return tmp_path / "data"


async def send(backend: Breaking, local: Path, wanted: Wanted = PLAIN) -> tuple[Sending, Written]:
    sandbox = Sandbox("box", backend, await backend.root(), Limits(), Recorder(NoAudit(), "box"))
    sending = Sending(sandbox, SandboxPath("d/data"), local, None, pause=0.01)
    try:
        return sending, await sending.run(wanted)
    finally:
        await backend.aclose()


async def test_it_goes_on_where_the_devbox_stands(root: Path, local: Path) -> None:
    backend = Breaking(root, [5_000_000, 0, 9_000_000])
    sending, written = await send(backend, local)
    assert (root / "d" / "data").read_bytes() == DATA
    assert written.info.sha256 == sending.sha256 == hashlib.sha256(DATA).hexdigest()
    assert sending.size == len(DATA)
    assert len(backend.begun) == 4
    assert backend.begun[1] > 0
    assert backend.begun[3] > backend.begun[2] >= backend.begun[1]
    assert backend.passed < len(DATA) * 1.5  # what had arrived was not sent again
    assert os.listdir(root / "d") == ["data"]


async def test_a_lost_last_answer_is_looked_after(root: Path, local: Path) -> None:
    sending, written = await send(Breaking(root, [], loses_answer=True), local)
    assert written.info.sha256 == sending.sha256
    assert (root / "d" / "data").read_bytes() == DATA


async def test_where_nothing_new_arrives_it_is_given_up(root: Path, local: Path) -> None:
    with pytest.raises(Unavailable):
        await send(Breaking(root, [0] * 20), local)
    assert os.listdir(root / "d") == []


async def test_a_local_file_that_changes_is_a_conflict(root: Path, local: Path) -> None:
    class Changing(Breaking):
        async def upload_size(self, path: SandboxPath, token: str) -> int:
            await asyncio.to_thread(local.write_bytes, b"other")
            return await super().upload_size(path, token)

    with pytest.raises(Conflict, match="the local file was changed"):
        await send(Changing(root, [5_000_000]), local)
    assert os.listdir(root / "d") == []


async def test_what_cannot_go_better_is_not_tried_again(root: Path, local: Path) -> None:
    class Full(Breaking):
        async def upload_add(
            self, path: SandboxPath, token: str, offset: int, data: bytes | AsyncIterator[bytes], *, whole: bool = False
        ) -> int:
            self.begun.append(offset)
            raise NoSpace("upload", path.text)

    backend = Full(root, [])
    with pytest.raises(NoSpace):
        await send(backend, local)
    assert backend.begun == [0]
    (root / "d" / "data").write_text("old")
    with pytest.raises(DevboxError):
        await send(Breaking(root, []), local, Wanted("create", None, None))
    with pytest.raises(Conflict):
        await send(Breaking(root, []), local, Wanted("overwrite", "0" * 64, None))
    assert (root / "d" / "data").read_text() == "old"
