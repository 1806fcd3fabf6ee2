"""What tools say of entries, taken apart whole or in pieces."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devbox_mcp.backends.shell.records import Malformed, parse_stat, printed_entries, stat_entries
from devbox_mcp.models import FileInfo

STAT = "81a4 3 1 77 0 0 2023-11-14 22:13:20.000000001 +0000 2023-11-14 22:13:21.5 +0000"
PRINTED = b"f 644 3 1 77 1700000000.0000000010 1700000001.5000000000/a\n/b\0\0l 777 1 1 78 1.0 2.0/l\0//x\0=0\0rest"
STATTED = (
    b"//@3/./l\n//\n//" + b"//" + STAT.replace("81a4", "a1ff").encode() + b"/./l\n\n"
    b"//" + STAT.encode() + b"/./a\n/b\n//=1\nrest"
)


def test_times_are_exact() -> None:
    found = parse_stat(STAT.split(" "))
    assert (found.modified_ns, found.changed_ns) == (1_700_000_000_000_000_001, 1_700_000_001_500_000_000)
    assert found.raw == 0o100644


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
@pytest.mark.parametrize("data", [PRINTED, STATTED], ids=["printed", "statted"])
def test_in_pieces_of_any_size(data: bytes, step: int) -> None:
    buffer = bytearray()
    targets: dict[bytes, str] = {}
    found: list[FileInfo | int] = []

    def take() -> Iterator[FileInfo | int]:
        return stat_entries(buffer, targets) if data is STATTED else printed_entries(buffer)

    for start in range(0, len(data), step):
        buffer += data[start : start + step]
        if 0 not in found and 1 not in found:
            found += take()
    assert bytes(buffer) == b"rest"
    infos = {info.path.text: info for info in found if isinstance(info, FileInfo)}
    if data is PRINTED:
        assert set(infos) == {"a\n/b", "l"}
        assert infos["l"].target == "//x"
    else:
        assert set(infos) == {"a\n/b", "l\n"}
        assert infos["l\n"].target == "\n//"
    assert infos["a\n/b"].revision.startswith("4d-3-")


@pytest.mark.parametrize(
    "data",
    [b"f 644 3 1 77 1.0 2.0/../x\0\0", b"f 644/x\0\0", b"f x 3 1 77 1.0 2.0/x\0\0", b"=x\0", b"f a b c d e f/\0\0"],
)
def test_nonsense_is_found_out(data: bytes) -> None:
    with pytest.raises(Malformed):
        list(printed_entries(bytearray(data)))


@pytest.mark.parametrize("data", [b"x/", b"//1 2 3/./a\n//", b"//@x/./l//t", b"//=z\n"])
def test_other_nonsense_too(data: bytes) -> None:
    with pytest.raises(Malformed):
        list(stat_entries(bytearray(data), {}))
