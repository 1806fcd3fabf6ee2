"""Where keys come from, and that none is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from devbox_mcp.backends.http import Address
from devbox_mcp.credentials import api_key_for, credentials_file
from devbox_mcp.errors import Unauthenticated
from devbox_mcp.kinds import Opening

ORIGIN = "https://gateway.example.com"
KEY = "dbx_a-key-nobody-may-see"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("DEVBOX_MCP_API_KEY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def write(text: str, mode: int = 0o600) -> Path:
    path = credentials_file()
    assert path is not None
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_without_any_there_is_none() -> None:
    assert api_key_for(ORIGIN) is None


def test_the_argument_comes_before_the_environment_and_that_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write(f'["{ORIGIN}"]\napi_key = "of-the-file"\n')
    assert api_key_for(ORIGIN) == "of-the-file"
    monkeypatch.setenv("DEVBOX_MCP_API_KEY", "of-the-environment\n")
    assert api_key_for(ORIGIN) == "of-the-environment"
    assert api_key_for(ORIGIN, "of-the-argument") == "of-the-argument"


@pytest.mark.parametrize("heading", ["HTTPS://Gateway.Example.com", f"{ORIGIN}:443", f"{ORIGIN}/"])
def test_an_origin_is_the_same_however_it_is_written(heading: str) -> None:
    write(f'["{heading}"]\napi_key = "{KEY}"\n')
    assert api_key_for(ORIGIN) == KEY


@pytest.mark.parametrize("other", ["http://gateway.example.com", f"{ORIGIN}:8443", "https://example.com"])
def test_a_key_is_for_its_origin_only(other: str) -> None:
    write(f'["{ORIGIN}"]\napi_key = "{KEY}"\n')
    assert api_key_for(other) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_file_that_others_could_read_is_refused_with_what_to_do(mode: int) -> None:
    path = write(f'["{ORIGIN}"]\napi_key = "{KEY}"\n', mode)
    with pytest.raises(Unauthenticated) as caught:
        api_key_for(ORIGIN)
    assert f"chmod 600 {path}" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f'["{ORIGIN}"\napi_key = "{KEY}"\n',
        f'["{ORIGIN}"]\napi_key = {KEY}\n',
        f'["{ORIGIN}"]\nkey = "{KEY}"\n',
        f'["{ORIGIN}"]\napi_key = ["{KEY}"]\n',
        f'"{ORIGIN}" = "{KEY}"\n',
        f'["{ORIGIN}"]\napi_key = "{KEY} and more"\n',
        f'["{ORIGIN}"]\napi_key = "{KEY}\\u0000"\n',
        f'["{ORIGIN}"]\napi_key = ""\n',
        f'["https://host:port"]\napi_key = "{KEY}"\n',
    ],
)
def test_a_file_that_makes_no_sense_is_refused_and_not_shown(text: str) -> None:
    write(text)
    with pytest.raises(Unauthenticated) as caught:
        api_key_for(ORIGIN)
    assert KEY not in str(caught.value)
    assert KEY not in repr(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("key", ["", "  ", "two words", "é", "a\nb"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(Unauthenticated):
        api_key_for(ORIGIN, key)


def test_no_repr_shows_a_key() -> None:
    assert KEY not in repr(Opening(api_key=KEY))


@pytest.mark.parametrize(
    "url", [f"https://user:{KEY}@host/box", f"https://{KEY}@host/box", f"https://@host/{KEY}", f"http://:{KEY}@h"]
)
def test_a_url_with_a_key_in_it_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ValueError, match="DEVBOX_MCP_API_KEY") as caught:
        Address.parse(url)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://h/v1/devboxes/box", "https://h/v1/devboxes/box"),
        ("https://h/v1/devboxes/box/", "https://h/v1/devboxes/box"),
        ("https://H:443/box", "https://h/v1/devboxes/box"),
        ("http://[::1]:80/box", "http://[::1]/v1/devboxes/box"),
        ("https://h:8443/files/v1/devboxes/a.b-c_d", "https://h:8443/files/v1/devboxes/a.b-c_d"),
    ],
)
def test_the_long_and_the_short_form_mean_the_same(url: str, base: str) -> None:
    assert Address.parse(url).base == base


@pytest.mark.parametrize(
    "url",
    [
        "https://h/a/b", "https://h/v1", "https://h/v1/devboxes", "https://h/v1/devboxes/a/b", "https://h/..",
        "https://h/v1/devboxes/%2e%2e", "https:///box", "ftp://h/box", "https://h:99999/box", "https://h/box?api_key=x",
        "https://h/box#x", "https://h/v1/devboxes/" + "x" * 64,
    ],
)  # fmt: skip
def test_what_names_no_devbox_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"HOST|DEVBOX_MCP_API_KEY"):
        Address.parse(url)
