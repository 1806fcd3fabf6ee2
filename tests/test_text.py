"""Decoding, numbering, mime types and sizes."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devbox_mcp import text


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", ""),
        (b"plain\n", "plain\n"),
        ("grün €\U0001f40d".encode(), "grün €\U0001f40d"),
        (b"\xef\xbb\xbfwith a mark", "with a mark"),
        (b"\xef\xbb\xbf\xef\xbb\xbftwo", "\ufefftwo"),
        ("in the \ufeff middle".encode(), "in the \ufeff middle"),
        (b"cr\rlf\r\n", "cr\rlf\r\n"),
        (b"a\0b", None),
        (b"\xff\xfea\0", None),
        ("utf-16".encode("utf-16-be"), None),
        ("grün".encode("latin-1"), None),
        (b"\xed\xa0\x80", None),  # a surrogate
        (b"cut \xe2\x82", None),
    ],
)
def test_decode(data, expected):
    assert text.decode(data) == expected


@pytest.mark.parametrize(
    ("lines", "first", "expected"),
    [
        ("", 1, ""),
        ("one", 1, "1\tone"),
        ("one\n", 1, "1\tone\n"),
        ("one\ntwo", 9, "9\tone\n10\ttwo"),
        ("\n\n", 1, "1\t\n2\t\n"),
        ("dos\r\nline\r\n", 5, "5\tdos\r\n6\tline\r\n"),
        ("old\rmac\x0b\x0c\x1c\x85\u2028all one line\n", 3, "3\told\rmac\x0b\x0c\x1c\x85\u2028all one line\n"),
        ("\ttab\n", 1, "1\t\ttab\n"),
    ],
)
def test_number(lines, first, expected):
    assert text.number(lines, first) == expected


@given(st.text(alphabet="ab\n\r\t\x0b\u2028", max_size=60), st.integers(1, 10**9))
def test_numbered_lines_give_back_the_text(lines, first):
    numbered = text.number(lines, first)
    found = numbered.split("\n")
    if not found[-1]:
        found.pop()
    numbers = [line.partition("\t")[0] for line in found]
    assert numbers == [str(first + index) for index in range(len(found))]
    bare = "\n".join(line.partition("\t")[2] for line in found)
    assert bare + ("\n" if numbered.endswith("\n") else "") == lines


def test_number_of_many_lines():
    lines = "a line of a file\n" * 200_000
    numbered = text.number(lines, 1)
    assert numbered.count("\n") == 200_000
    assert numbered.endswith("\n200000\ta line of a file\n")


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (3, "3 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KB"),
        (1229, "1.2 KB"),
        (65536, "64 KB"),
        (1024**2 - 1, "1 MB"),
        (1024**2 - 60_000, "965.4 KB"),
        (1024**3, "1 GB"),
        (5000 * 1024**4, "5000 TB"),
    ],
)
def test_human_size(size, expected):
    assert text.human_size(size) == expected


PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
ZIP = b"PK\x03\x04\x14\0"
GZIP = b"\x1f\x8b\x08\0\0"


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        # the bytes win over the name
        ("photo.txt", PNG, "image/png"),
        ("photo.jpg", PNG, "image/png"),
        ("x", b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
        ("x", b"GIF89a\1\0", "image/gif"),
        ("x", b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
        ("x", b"RIFF\x10\0\0\0WAVEfmt ", "application/octet-stream"),
        ("x", b"%PDF-1.7\n%\xe2\xe3", "application/pdf"),
        ("x", ZIP, "application/zip"),
        ("x.md", ZIP, "application/zip"),
        ("x", GZIP, "application/gzip"),
        ("data.tar.gz", GZIP, "application/gzip"),
        # formats that live in a zip are told by their names
        ("a.docx", ZIP, "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("a.whl", ZIP, "application/zip"),
        # a file that is only named like an image is none
        ("logo.png", b"version https://git-lfs.github.com/spec/v1\n", "text/plain"),
        ("logo.png", b"\1\2\3\0", "application/octet-stream"),
        ("logo.png", b"", "image/png"),
        # text
        ("src/app.py", b"import os\n", "text/x-python"),
        ("app.ts", b"let a = 1\n", "text/x-typescript"),
        ("app.ts", b"G\0\xff\xff", "application/octet-stream"),
        ("APP.JS", b"", "text/javascript"),
        ("README.md", "grün".encode(), "text/markdown"),
        ("a.json", b"{}", "application/json"),
        ("a.svg", b"<svg/>", "image/svg+xml"),
        ("a.html", b"<p>", "text/html"),
        ("Makefile", b"all:\n", "text/x-makefile"),
        ("Dockerfile", b"", "text/x-dockerfile"),
        (".gitignore", b"*.o\n", "text/plain"),
        ("LICENSE", b"Apache", "text/plain"),
        ("LICENSE", b"", "application/octet-stream"),
        ("notes.unheard-of", b"words", "text/plain"),
        ("cut", "€".encode()[:2], "text/plain"),
        ("latin", "grün".encode("latin-1"), "application/octet-stream"),
        ("a.txt", "utf-16".encode("utf-16"), "application/octet-stream"),
        ("data:,x.png", b"words", "text/plain"),
        ("song.mp3", b"\xff\xfb\x90\0", "audio/mpeg"),
    ],
)
def test_mime_type(name, head, expected):
    assert text.mime_type(name, head) == expected


def test_mime_types_of_the_machine_are_not_asked():
    # what a program made of the module's global table does not count
    mimetypes = sys.modules["mimetypes"]
    text._standard_types.cache_clear()
    mimetypes.add_type("application/x-changed", ".html")
    try:
        assert text.mime_type("a.html", b"<p>") == "text/html"
    finally:
        mimetypes.init()
        text._standard_types.cache_clear()
