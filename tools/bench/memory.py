"""How much memory the server holds at most while a gibibyte goes through it."""

from __future__ import annotations

import base64
import hashlib
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.raw import RawClient
from tools.bench.contestants import ours
from tools.bench.work import MIB, WrongAnswerError, call, text_of

SIZE = 1024 * MIB
LINE = 80


def make(path: Path) -> str:
    """Write a gibibyte of text and return its sha256: other lines every mebibyte."""
    digest = hashlib.sha256()
    body = text_of(MIB - LINE).encode()
    with path.open("wb") as file:
        for number in range(SIZE // MIB):
            block = f"{number:0{LINE - 1}}\n".encode() + body
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def peak(pid: int) -> int:
    """Return the most bytes of memory that a process ever held (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def read_bytes(client: RawClient, path: Path, sha256: str) -> None:
    """Read the whole file in ranges of bytes."""
    piece = 256 * 1024
    digest = hashlib.sha256()
    for offset in range(0, SIZE, piece):
        arguments = {"path": str(path), "encoding": "base64", "offset": offset, "limit": piece}
        digest.update(base64.b64decode(call(client, ("read_file", arguments))[1]["content"][0]["text"]))
    _same(digest.hexdigest(), sha256)


def read_lines(client: RawClient, path: Path, sha256: str) -> None:
    """Read the whole file in ranges of lines."""
    digest = hashlib.sha256()
    done = line = 0
    while done < SIZE:
        arguments = {"path": str(path), "offset": line + 1, "line_numbers": False}
        data = call(client, ("read_file", arguments))[1]["content"][0]["text"].encode()
        digest.update(data)
        done += len(data)
        line += data.count(b"\n")
    _same(digest.hexdigest(), sha256)


def zip_to_file(client: RawClient, path: Path, sha256: str) -> None:
    """Pack the file into a zip on this machine, and unpack it again to compare."""
    target = path.parent.parent / "saved" / "big.zip"
    call(client, ("download_zip", {"paths": [str(path)], "save_to": str(target)}))
    digest = hashlib.sha256()
    with zipfile.ZipFile(target) as archive, archive.open(path.name) as file:
        while block := file.read(MIB):
            digest.update(block)
    _same(digest.hexdigest(), sha256)


def _same(found: str, wanted: str) -> None:
    if found != wanted:
        raise WrongAnswerError("a gibibyte came back changed")


CASES: dict[str, Callable[[RawClient, Path, str], None]] = {
    "1 GiB read by ranges of bytes": read_bytes,
    "1 GiB read by ranges of lines": read_lines,
    "1 GiB zipped by save_to": zip_to_file,
}


def measure(directory: Path) -> dict[str, int]:
    """Run each case on a server of its own; return the peak bytes of each. ``directory`` is made and removed."""
    root, saved = directory / "root", directory / "saved"
    root.mkdir(parents=True)
    saved.mkdir()
    try:
        sha256 = make(root / "big.txt")
        peaks = {}
        for name, case in CASES.items():
            options = ("--max-text", "1M", "--allow-local", str(saved), "--max-file-size", "2G", "--max-transfer", "2G")
            with RawClient(ours(root, *options).argv) as client:
                client.initialize()
                case(client, root / "big.txt", sha256)
                peaks[name] = peak(client.pid)
        return peaks
    finally:
        shutil.rmtree(directory)
