"""Settings: what is written where, which of it wins, and what is refused with what to write instead."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from devbox_mcp.limits import GIB, KIB, MIB, Limits, parse_size
from devbox_mcp.sandboxes import DevboxSpec, Sandboxes, parse_specs
from devbox_mcp.settings import DEFAULT_TOOLSETS, TOOLSETS, Settings, load


@pytest.fixture(autouse=True)
def _no_settings_of_whoever_runs_the_tests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.upper().startswith("DEVBOX_MCP_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def toml(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "settings.toml"
    file.write_text(text)
    return file


# -- sources and their precedence


def test_without_anything_the_defaults_hold() -> None:
    settings = load({}, None)
    assert settings.toolsets == DEFAULT_TOOLSETS
    assert settings.http is None
    assert settings.token is None
    assert not settings.read_only
    assert settings.line_numbers
    assert settings.limits == Limits()


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = toml(tmp_path, 'max_text = "1K"\nmax_inline = "1K"\nmax_body = 1024\ndeny = ["a"]\n')
    monkeypatch.setenv("DEVBOX_MCP_MAX_TEXT", "2K")
    monkeypatch.setenv("DEVBOX_MCP_MAX_INLINE", "2K")
    settings = load({"max_text": "3K"}, file)
    assert (settings.max_text, settings.max_inline, settings.max_body) == (3 * KIB, 2 * KIB, 1 * KIB)
    assert settings.deny == ("a",)


def test_two_loads_do_not_share_a_file(tmp_path: Path) -> None:
    assert load({}, toml(tmp_path, "read_only = true\n")).read_only
    assert not load({}, None).read_only


@pytest.mark.parametrize(
    ("text", "items"),
    [
        (".env", (".env",)),
        (".env,secrets/**", (".env", "secrets/**")),
        (" .env , ,secrets/** ,", (".env", "secrets/**")),
        ("*.{key,pem},.env", ("*.{key,pem}", ".env")),
        ("{a,{b,c}}.txt,d", ("{a,{b,c}}.txt", "d")),
        ('[".env", "*.{key,pem}"]', (".env", "*.{key,pem}")),
        ("[ab]*,c", ("[ab]*", "c")),
        ("", ()),
    ],
)
def test_a_list_in_the_environment_is_split_at_commas_outside_braces(
    monkeypatch: pytest.MonkeyPatch, text: str, items: tuple[str, ...]
) -> None:
    monkeypatch.setenv("DEVBOX_MCP_DENY", text)
    assert load({}, None).deny == items


def test_every_setting_can_come_from_the_environment_and_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: dict[str, Any] = {
        "devboxes": ["app=local:/srv/app", "/srv/docs"], "http": "127.0.0.1:8000", "read_only": True,
        "toolsets": ["read", "watch"], "deny": [".env"], "allow_local": [str(tmp_path)], "audit_log": "audit.jsonl",
        "token": "secret", "allow_hosts": ["example.com:8000"], "allow_origins": ["https://example.com"],
        "force": True, "line_numbers": False, "max_file_size": "2G", "max_write_size": "3M", "max_text": "4K",
        "max_inline": "5K", "max_inline_zip": "6K", "max_transfer": "7M", "max_batch_size": "8M", "max_body": "9M",
        "audit_key": "key", "audit_anchor": "anchor.json", "access": "access.toml", "secret": "shared",
        "public_url": "https://files.example.com", "host_devboxes": ["a.example.com=app"], "tls_cert": "cert.pem",
        "tls_key": "key.pem", "redis": "redis://127.0.0.1:6379/0", "rate_operations": 50, "rate_bytes": "20M",
        "max_transfers": 8, "writers": 3, "header_timeout": 3.5, "body_timeout": 4.5,
    }  # fmt: skip
    assert set(written) == set(Settings.model_fields)
    lines = [f"{name} = {_toml(value)}" for name, value in written.items()]
    from_file = load({}, toml(tmp_path, "\n".join(lines)))
    for name, value in written.items():
        text = ",".join(value) if isinstance(value, list) else str(value)
        monkeypatch.setenv("DEVBOX_MCP_" + name.upper(), text)
    from_environment = load({}, None)
    assert from_environment.model_dump() == from_file.model_dump()
    assert from_environment.limits == Limits(
        text=4 * KIB, inline=5 * KIB, inline_zip=6 * KIB, write=3 * MIB, edit=3 * MIB, file=2 * GIB,
        transfer=7 * MIB, batch=8 * MIB, body=9 * MIB,
    )  # fmt: skip


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "[" + ", ".join(map(_toml, value)) + "]" if isinstance(value, list) else f'"{value}"'


def test_a_token_does_not_show() -> None:
    settings = load({"token": "correct horse"}, None)
    assert settings.token is not None
    assert settings.token.get_secret_value() == "correct horse"
    assert "horse" not in repr(settings)
    assert "horse" not in str(settings)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        load({}, None).read_only = True  # type: ignore[misc]


# -- what is refused


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"toolsets": "read,fly"}, "unknown toolset fly; choose from read, write"),
        ({"toolsets": ""}, "unknown toolset (none given)"),
        ({"toolsets": "all,read"}, "unknown toolset all"),
        ({"max_text": "lots"}, "'lots' is not a size; write a number of bytes or 512K, 10M, 1G"),
        ({"max_text": "0"}, "not a size above zero"),
        ({"max_text": -1}, "greater than 0"),
        ({"deny": [""]}, "the glob is empty"),
        ({"deny": ["a\0b"]}, "NUL"),
        ({"deny": ["{a,b}" * 10]}, "alternatives"),
        ({"deny": "{a,b"}, "braces are not balanced"),
        ({"deny": [".env,secrets"]}, "'.env,secrets' would protect nothing: give every rule by itself"),
        ({"deny": ["a[,b"]}, "'a[,b' would protect nothing"),
        ({"deny": ["d/../secrets"]}, "'d/../secrets' would protect nothing: write a path beneath the root"),
        ({"deny": ["./secrets"]}, "'./secrets' would protect nothing"),
        ({"deny": [" .env"]}, "' .env' would protect nothing: it begins or ends with a blank"),
        ({"deny": ["!.env"]}, "'!.env' would protect nothing: no rule takes another back"),
        ({"deny": ["secrets\\"]}, "a character is missing behind the backslash"),
        ({"deny": '[".env", "secrets'}, "this begins as a list of JSON, and is none"),
        ({"http": "8000"}, "is not HOST:PORT; write 127.0.0.1:8000"),
        ({"http": ":8000"}, "is not HOST:PORT"),
        ({"http": "127.0.0.1"}, "is not HOST:PORT"),
        ({"http": "127.0.0.1:http"}, "is not HOST:PORT"),
        ({"http": "127.0.0.1:70000"}, "is not HOST:PORT"),
        ({"http": "127.0.0.1:-1"}, "is not HOST:PORT"),
        ({"http": "::1:8000"}, "is not HOST:PORT"),
        ({"http": "http://127.0.0.1:8000"}, "is not HOST:PORT"),
        ({"http": ""}, "is not HOST:PORT"),
        ({"allow_local": ["/no/such/directory"]}, "there is no directory /no/such/directory"),
        ({"token": ""}, "the token is empty"),
        ({"token": " \n"}, "the token is empty"),
        ({"read_only": "perhaps"}, "boolean"),
        ({"no_such_setting": 1}, "Extra inputs"),
    ],
)
def test_a_bad_setting_is_refused_with_what_to_write(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        load(options, None)
    assert said in str(caught.value)


def test_the_whole_file_system_is_allowed_by_force() -> None:
    with pytest.raises(ValidationError, match="/ is the whole file system; name a directory in it, or pass --force"):
        load({"allow_local": ["/"]}, None)
    assert load({"allow_local": ["/"], "force": True}, None).allow_local == ("/",)


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:8000", "[::1]:65535", "0.0.0.0:80", "my-host.lan:1"])
def test_an_address_is_host_and_port(address: str) -> None:
    assert load({"http": address}, None).http == address


def test_all_is_every_toolset() -> None:
    assert load({"toolsets": "all"}, None).toolsets == tuple(TOOLSETS)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DEVBOX_MCP_READONLY", "did you mean DEVBOX_MCP_READ_ONLY?"),
        ("devbox_mcp_denny", "did you mean DEVBOX_MCP_DENY?"),
        ("DEVBOX_MCP_ALLOW_HOST", "did you mean DEVBOX_MCP_ALLOW_HOSTS?"),
        ("DEVBOX_MCP_", ""),
    ],
)
def test_a_variable_that_only_looks_like_a_setting_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    monkeypatch.setenv(name, "true")
    with pytest.raises(ValueError, match="there is no setting.*" + re.escape(meant)):
        load({}, None)


def test_the_variable_that_names_the_file_is_none_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DEVBOX_MCP_CONFIG", str(tmp_path / "settings.toml"))
    load({}, None)


@pytest.mark.parametrize("text", ["read_only = maybe\n", "[", "= 1\n", "a = 1\na = 2\n", "\xff\xfe"])
def test_what_is_no_toml_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"settings\.toml is no TOML"):
        load({}, file)


def test_an_unknown_key_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError) as caught:
        load({}, toml(tmp_path, "[serve]\nread_only = true\n"))
    assert caught.value.errors()[0]["loc"] == ("serve",)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="there is no configuration file"):
        load({}, tmp_path / "missing.toml")


# -- sizes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("4096", 4096),
        ("512K", 512 * KIB),
        ("512k", 512 * KIB),
        ("10M", 10 * MIB),
        ("1G", GIB),
        ("1.5 GiB", GIB + 512 * MIB),
        (" 2 kb ", 2 * KIB),
        ("1_000", 1000),
        ("10 B", 10),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "K", "1T", "1 0 K", "0", "0.1", "-1", "1e400", "nan", "inf", "one", "10MM"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


# -- devboxes


@pytest.mark.parametrize(
    ("texts", "specs"),
    [
        (["/srv/app"], [("app", "/srv/app")]),
        (["app=/srv/x"], [("app", "/srv/x")]),
        (["app=local:/srv/x"], [("app", "/srv/x")]),
        (["local:/srv/x"], [("x", "/srv/x")]),
        (["local:relative/dir"], [("dir", "relative/dir")]),
        (["/srv/my app!"], [("my-app", "/srv/my app!")]),
        (["/a/x", "/b/x", "/c/x"], [("x", "/a/x"), ("x-2", "/b/x"), ("x-3", "/c/x")]),
        (["/a/x", "x-2=/b", "/c/x"], [("x", "/a/x"), ("x-2", "/b"), ("x-3", "/c/x")]),
        (["/"], [("root", "/")]),
        (["./a=b"], [("a-b", "./a=b")]),
        (["app=local:/srv/a=b"], [("app", "/srv/a=b")]),
        (["/srv/" + "n" * 200], [("n" * 60, "/srv/" + "n" * 200)]),
    ],
)
def test_devboxes_are_named(texts: list[str], specs: list[tuple[str, str]]) -> None:
    assert parse_specs(texts) == [DevboxSpec(name, "local", target) for name, target in specs]


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("k8s://shop/web", DevboxSpec("web", "k8s", "//shop/web")),
        ("k8s://shop/web/app?root=/a=b", DevboxSpec("web", "k8s", "//shop/web/app?root=/a=b")),
        ("box=k8s://shop/web?root=/srv", DevboxSpec("box", "k8s", "//shop/web?root=/srv")),
        ("exec:docker exec -i web?root=/srv", DevboxSpec("web", "exec", "docker exec -i web?root=/srv")),
        ("exec:?root=/srv", DevboxSpec("exec", "exec", "?root=/srv")),
        ("box=exec:ssh host", DevboxSpec("box", "exec", "ssh host")),
    ],
)
def test_containers_are_named(text: str, spec: DevboxSpec) -> None:
    assert parse_specs([text]) == [spec]


def test_the_working_directory_gives_its_name(tmp_path: Path) -> None:
    assert parse_specs(["."]) == [DevboxSpec(tmp_path.name, "local", ".")]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["a=/x", "a=/y"], "two devboxes are called 'a'"),
        (["/x/a", "a=/y"], "two devboxes are called 'a'"),
        (
            ["ssh:host"],
            "unknown kind of devbox 'ssh'; write a directory or one of local:DIR, exec:",
        ),
        (["a=kubernetes:pod"], "unknown kind of devbox 'kubernetes'"),
        (["a="], "says nothing behind local:; write a=local:DIR"),
        (["local:"], "says nothing behind local:; write NAME=local:DIR"),
        (["=/x"], "is no name for a devbox"),
        (["a b=/x"], "is no name for a devbox"),
        (["ü=/x"], "is no name for a devbox"),
        (["n" * 64 + "=/x"], "is no name for a devbox"),
        (["k8s://shop"], "the pod is missing; write k8s://NAMESPACE/POD"),
        (["k8s:shop/web"], "the namespace is missing"),
        (["exec:sh 'x"], "is no command: No closing quotation"),
        (["exec:sh?root=srv"], "is not absolute; write ?root=/some/path"),
    ],
)
def test_what_names_no_devbox_is_refused(texts: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_specs(texts)


async def test_a_root_by_way_of_a_link_is_where_the_link_leads(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "alias").symlink_to("real")
    sandboxes = await Sandboxes.open(load({"devboxes": (str(tmp_path / "alias"),)}, None))
    try:
        assert sandboxes.names == ["real"]
        assert sandboxes.default.root == str(tmp_path / "real")
        _, path = await sandboxes.resolve(None, str(tmp_path / "alias" / "a.txt"), "stat")
        assert path.text == "a.txt"
    finally:
        await sandboxes.aclose()


@pytest.mark.parametrize(
    "rule", ["a[,]b", "{a,b}.key", r"a\,b", "/src/*.key", "[!]a", "a b", "..a", "secret/**", "[]]"]
)
def test_a_deny_rule_that_can_match_is_taken(rule: str) -> None:
    assert load({"deny": [rule]}, None).deny == (rule,)
