"""Uploads by tuspy, the protocol's own client."""

from __future__ import annotations

import hashlib
import io
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError, TusUploadFailed
from tusclient.uploader import Uploader

from .serving import CONTENT, VERSION, Raw, served

MIB = 1 << 20


def content(size: int) -> bytes:
    """Make content that tells one place from another."""
    return (os.urandom(min(size, MIB)) * (size // MIB + 1))[:size]


def client_on(uploads: str, data: bytes, **options: Any) -> Uploader:
    """Have the client upload ``data``: what it opens by itself it does not close."""
    return TusClient(uploads).uploader(file_stream=io.BytesIO(data), **options)


@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("size", [0, 1, 5000, 3 * MIB + 7])
def test_a_file_is_uploaded(raw: Raw, size: int, checksum: bool) -> None:
    data = content(size)
    name = f"small/{size}-{checksum}"
    uploader = client_on(raw.uploads, data, metadata={"filename": name}, chunk_size=MIB, upload_checksum=checksum)
    uploader.upload()
    assert (raw.root / name).read_bytes() == data
    assert raw.hidden() == []
    if size:
        assert uploader.request.response_headers["etag"] == f'"{hashlib.sha256(data).hexdigest()}"'


def test_a_large_file_is_uploaded_in_chunks(raw: Raw) -> None:
    data = content(100 * MIB)
    client_on(raw.uploads, data, metadata={"path": "large"}, chunk_size=8 * MIB).upload()
    assert (raw.root / "large").read_bytes() == data


def test_a_large_file_is_uploaded_in_one_request(raw: Raw) -> None:
    data = content(100 * MIB)
    client_on(raw.uploads, data, metadata={"path": "whole"}).upload()
    assert (raw.root / "whole").read_bytes() == data


def test_an_upload_goes_on_behind_a_connection_that_was_cut(raw: Raw) -> None:
    data = content(20 * MIB)
    begun = client_on(raw.uploads, data, metadata={"path": "cut"}, chunk_size=MIB)
    begun.upload_chunk()
    cut_off(begun.url, MIB, data[MIB:], 5 * MIB + 123)
    await_offset(raw, begun.url, 6 * MIB + 123)
    resumed = client_on(raw.uploads, data, url=begun.url, chunk_size=4 * MIB)
    assert resumed.offset == 6 * MIB + 123
    resumed.upload()
    assert (raw.root / "cut").read_bytes() == data
    assert raw.hidden() == []


def test_another_server_goes_on(raw: Raw) -> None:
    data = content(9 * MIB)
    begun = client_on(raw.uploads, data, metadata={"path": "replica"}, chunk_size=2 * MIB)
    begun.upload(stop_at=4 * MIB)
    with served(str(raw.root)) as other:
        url = begun.url.replace(raw.uploads, other)
        resumed = client_on(other, data, url=url, chunk_size=2 * MIB)
        assert resumed.offset == 4 * MIB
        resumed.upload_chunk()
        # and back again
        begun.offset = begun.get_offset()
        assert begun.offset == 6 * MIB
        begun.upload()
        assert (raw.root / "replica").read_bytes() == data
        with pytest.raises(TusCommunicationError):
            resumed.get_offset()


def test_a_server_that_died_is_gone_on_from(raw: Raw) -> None:
    data = content(9 * MIB)
    with served(str(raw.root)) as first:
        begun = client_on(first, data, metadata={"path": "died"}, chunk_size=MIB)
        begun.upload(stop_at=3 * MIB)
        url = begun.url.replace(first, raw.uploads)
    client_on(raw.uploads, data, url=url, chunk_size=MIB).upload()
    assert (raw.root / "died").read_bytes() == data


def test_a_lost_race_is_told_and_leaves_what_is_there(raw: Raw) -> None:
    data = content(MIB)
    (raw.root / "race").write_bytes(b"old")
    version = hashlib.sha256(b"old").hexdigest()
    uploader = client_on(raw.uploads, data, metadata={"path": "race", "if_match": version}, chunk_size=MIB // 2)
    uploader.upload_chunk()
    (raw.root / "race").write_bytes(b"newer")
    with pytest.raises(TusUploadFailed) as caught:
        uploader.upload_chunk()
    assert caught.value.status_code == 412
    assert b'"code": "conflict"' in caught.value.response_content
    assert (raw.root / "race").read_bytes() == b"newer"
    assert raw.hidden() == []


def cut_off(url: str, offset: int, data: bytes, size: int) -> None:
    """Send the head of a PATCH with all of ``data``, but only ``size`` bytes of it, and hang up."""
    parts = httpx2.URL(url)
    head = (
        f"PATCH {parts.path} HTTP/1.1\r\nHost: {parts.host}:{parts.port}\r\nTus-Resumable: {VERSION}\r\n"
        f"Content-Type: {CONTENT}\r\nUpload-Offset: {offset}\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    with socket.create_connection((parts.host, parts.port)) as connection:
        connection.sendall(head.encode() + data[:size])


def await_offset(raw: Raw, url: str, offset: int) -> None:
    """Ask until so much has arrived, which all was sent: should some of it get lost, this never ends."""
    while raw.offset(url) < offset:
        pass


@pytest.fixture(autouse=True)
def _clear(root: Path) -> Iterator[None]:
    yield
    for path in root.iterdir():
        if path.is_file():
            path.unlink()
