"""How much one call may do. Sizes are bytes, times seconds."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Limits:
    """The default limits; every one can be configured (``devbox_mcp.settings``)."""

    text: int = 64 * KIB
    """text that one call shows"""
    inline: int = 256 * KIB
    """binary content inside a result; also the piece a big resource is read in"""
    inline_zip: int = 512 * KIB
    """a zip inside a result"""
    write: int = 10 * MIB
    """content of one write_file"""
    file: int = GIB
    """a file after any write"""
    edit: int = 10 * MIB
    """a file that is edited"""
    batch_files: int = 1000
    batch: int = 32 * MIB
    """content of one upload_batch"""
    transfer: int = GIB
    """a zip or a big transfer"""
    archive_files: int = 100_000
    page: int = 200
    """entries of one page unless asked for more"""
    page_most: int = 1000
    matches: int = 200
    depth: int = 64
    watch: float = 60.0
    """longest wait for a change"""
    search_seconds: float = 20.0
    body: int = 48 * MIB
    """HTTP request body on /mcp"""


SIZE_UNITS = {
    "": 1,
    "b": 1,
    "k": KIB,
    "kb": KIB,
    "kib": KIB,
    "m": MIB,
    "mb": MIB,
    "mib": MIB,
    "g": GIB,
    "gb": GIB,
    "gib": GIB,
}


def parse_size(text: str) -> int:
    """Return the bytes that ``10M``, ``1.5 GiB`` or ``4096`` stand for. Raises ValueError with what to write."""
    cleaned = text.strip().lower().replace("_", "")
    digits = cleaned.rstrip("abcdefghijklmnopqrstuvwxyz ")
    try:
        size = int(float(digits) * SIZE_UNITS[cleaned[len(digits) :].strip()])
    except (KeyError, ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a size; write a number of bytes or 512K, 10M, 1G") from None
    if size <= 0:
        raise ValueError(f"{text!r} is not a size above zero")
    return size
