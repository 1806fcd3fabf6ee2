"""What logs may not have, and what they may."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from devbox_mcp.keys import Veil
from devbox_mcp.settings import load

#: The same each time: it is in the names of tests, which have to be the same for all who run them.
KEY = "dbx_" + "Kz4_-" * 8 + "abc"
JWT = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (KEY, "(a key)"),
        (f"a/{KEY[:-2]}/b", "a/(a key)/b"),
        (f"see {JWT}.", "see (a token)."),
        (f"v1.{JWT}", "v1.(a token)"),
        ("bearer_eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.", "bearer_(a token)"),
        ("a/file?signed=abc-_&download=true", "a/file?signed=(a signature)&download=true"),
        ("x?X-Amz-Signature=0123", "x?X-Amz-Signature=(a signature)"),
        ("x#access_token=0123", "x#access_token=(a signature)"),
        ("x;signature=0123", "x;signature=(a signature)"),
        (quote(quote(f"a/{KEY}")), "a/(a key)"),
        ("src/app.tar.gz", "src/app.tar.gz"),
        ("eyJ.md", "eyJ.md"),
        ("100%25.txt", "100%25.txt"),
        ("a=b&c", "a=b&c"),
        ("dbx_short", "dbx_short"),
        ("\udcff%ff", "\udcff%ff"),
    ],
)
def test_what_looks_like_a_secret_is_hidden_and_nothing_else(text: str, shown: str) -> None:
    assert Veil().over(text) == shown


def test_the_secrets_of_this_server_are_hidden() -> None:
    settings = load(
        {"token": "the token here\n", "secret": "s" * 32, "audit_key": "of the chain",
         "redis": "redis://:of-the%2Dstore@127.0.0.1"}, None
    )  # fmt: skip
    veil = settings.veil
    for secret in ("the token here", "s" * 32, "of the chain", "of-the-store"):
        assert veil.over(f"/a/{secret}/b") == "/a/(a secret)/b"
        assert veil.over(f"/a/{quote(secret)}".replace("-", "%2D").replace("s", "%73")) == "/a/(a secret)"
    assert "the token" not in repr(veil)


def test_of_two_secrets_one_in_the_other_none_shows() -> None:
    assert Veil(["a long one", "a long one that goes on"]).over("a long one that goes on") == "(a secret)"


def test_a_short_one_is_no_reason_to_hide_every_word() -> None:
    assert Veil(["a", ""]).over("a path") == "a path"


def test_whatever_is_nested_is_hidden_and_names_are_kept() -> None:
    assert Veil().over_all({KEY[:3]: [KEY, 1, (None, {"a": KEY})]}) == {"dbx": ["(a key)", 1, [None, {"a": "(a key)"}]]}
    assert Veil().over_all([ValueError(KEY), True, 1.5]) == ["ValueError('(a key)')", True, 1.5]


def test_what_is_too_long_to_be_looked_through_is_not_shown() -> None:
    text = KEY + "%25" * 100_000
    assert Veil().over_all([text, KEY]) == ["(a text of 300047 characters)", "(a key)"]
