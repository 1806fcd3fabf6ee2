"""The access file: what it says, and what it says wrongly; and the command that writes it."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from pathlib import Path

import pytest

from devbox_mcp.callers import Caller, Scope
from devbox_mcp.errors import Unauthenticated
from devbox_mcp.keys import KEY, hashed, new_key
from devbox_mcp.servers.access.access import TOKEN, Access
from devbox_mcp.settings import load
from tests.mcp.door import PROJECT, SERVE, environment

HASH = "sha256:" + "0" * 64
GOOD = {"name": '"ci"', "hash": f'"{HASH}"', "devboxes": '["shop-*"]', "scopes": '["read"]'}
ISSUER = {"issuer": '"https://login.example.com"', "audience": '"x"', "algorithms": '["RS256"]',
          "jwks_url": '"https://login.example.com/jwks"'}  # fmt: skip


def stanza(kind: str, fields: dict[str, str], **other: str | None) -> str:
    merged = {**fields, **other}
    return f"[[{kind}]]\n" + "".join(f"{name} = {value}\n" for name, value in merged.items() if value is not None)


def opened(file: Path, text: str) -> Access:
    file.write_text(text)
    return Access(load({"access": str(file)}, None))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[keys]", "is no TOML"),
        ("key = 1", "there is no key 'key'; there are keys, issuers"),
        ("keys = 1", "[[keys]] with name"),
        ("keys = [1]", "[[keys]] number 1"),
        (stanza("keys", GOOD, name=None), 'name: is missing; write name = "ci"'),
        (stanza("keys", GOOD, name='"a b"'), 'name: is not written as it should be; write name = "ci"'),
        (stanza("keys", GOOD, name='"token"'), "'token' is the name of another kind of caller"),
        (stanza("keys", GOOD, name='"a#b"'), "name"),
        (stanza("keys", GOOD, hash='"secret"'), "(ci): hash: is not written as it should be; write hash"),
        (stanza("keys", GOOD, hash=f'"{HASH.upper()}"'), "hash"),
        (stanza("keys", GOOD, devboxes="[]"), 'devboxes = ["shop-*"]'),
        (stanza("keys", GOOD, devboxes='"shop"'), 'devboxes = ["shop-*"]'),
        (stanza("keys", GOOD, devboxes='[""]'), 'devboxes = ["shop-*"]'),
        (stanza("keys", GOOD, scopes='["admin"]'), "scopes"),
        (stanza("keys", GOOD, scopes="[]"), "scopes"),
        (stanza("keys", GOOD, expires='"soon"'), "this is no date and no time; write expires = 2027"),
        (stanza("keys", GOOD, expires="2027-01-01T00:00:00"), "the time has no offset; write expires = 2027"),
        (stanza("keys", GOOD, scope='["read"]'), "there is no key 'scope'; there are name, hash, devboxes, scopes"),
        (stanza("keys", GOOD) + stanza("keys", GOOD, hash=f'"{HASH[:-1]}1"'), "two have the name 'ci'"),
        (stanza("keys", GOOD) + stanza("keys", GOOD, name='"b"'), "two have the hash"),
        (stanza("keys", GOOD) + stanza("keys", GOOD, name='"b"', hash="1"), "[[keys]] number 2 (b): hash"),
        (stanza("issuers", ISSUER, algorithms='["none"]'), "HS256 with secret_file"),
        (stanza("issuers", ISSUER, algorithms='["RS256", "HS256"]'), "HS256 does not go together with others"),
        (stanza("issuers", ISSUER, algorithms='["HS256"]'), "takes its keys from secret_file"),
        (stanza("issuers", ISSUER, jwks_url=None), "takes its keys from jwks_url or jwks_file"),
        (stanza("issuers", ISSUER, jwks_file='"x"'), "from one of them"),
        (stanza("issuers", ISSUER, jwks_url='"http://login.example.com/jwks"'), "by https only"),
        (stanza("issuers", ISSUER, jwks_url='"file:///etc/passwd"'), "by https only"),
        (stanza("issuers", ISSUER, leeway="3600"), "leeway = 30"),
        (stanza("issuers", ISSUER, audience=None), "pass --public-url"),
        (stanza("issuers", ISSUER, jwks_url=None, jwks_file='"absent"'), "cannot read"),
        (stanza("issuers", ISSUER) + stanza("issuers", ISSUER), "two are 'https://login.example.com'"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_write(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match="the access file") as caught:
        opened(tmp_path / "access.toml", text)
    assert said in str(caught.value)
    assert str(tmp_path / "access.toml") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize(("content", "said"), [(b"short", "shorter than 32"), (None, "cannot read")])
def test_a_secret_that_cannot_be_used_is_told(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    text = stanza("issuers", ISSUER, algorithms='["HS256"]', jwks_url=None, secret_file='"secret"')
    with pytest.raises(ValueError, match=said):
        opened(tmp_path / "access.toml", text)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot read the access file"):
        Access(load({"access": str(tmp_path / "absent")}, None))


def test_a_server_does_not_start_on_a_wrong_file(tmp_path: Path) -> None:
    (tmp_path / "access.toml").write_text(stanza("keys", GOOD, scopes='["admin"]'))
    done = subprocess.run(
        [*SERVE, str(tmp_path), "--http", "127.0.0.1:0", "--access", str(tmp_path / "access.toml")],
        capture_output=True, text=True, env=environment(), cwd=PROJECT, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "[[keys]] number 1 (ci): scopes" in done.stderr


async def test_keys_open_until_they_expire(tmp_path: Path) -> None:
    old, new = new_key(), new_key()
    text = stanza("keys", GOOD, hash=f'"{hashed(old)}"', expires="2020-01-01")
    text += stanza("keys", GOOD, hash=f'"{hashed(new)}"', name='"b"', expires="2120-01-01T00:00:00+02:00")
    who = opened(tmp_path / "access.toml", text)
    with pytest.raises(Unauthenticated, match="expired"):
        await who.identify(old)
    assert await who.identify(new) == Caller("b", ("shop-*",), frozenset({Scope.READ}))
    assert await who.standing("ci") is None


async def test_the_single_token_stays_what_it_was(tmp_path: Path) -> None:
    who = Access(load({"token": " a token of old "}, None))
    assert await who.identify("a token of old") == TOKEN
    assert TOKEN.scopes == set(Scope)
    for wrong in ("", "a token of ol", "a token of old!", "ä", "\udc80"):
        with pytest.raises(Unauthenticated):
            await who.identify(wrong)


def test_keys_are_random_and_known_by_their_look() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(KEY.fullmatch(key) for key in keys)


def command(*arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SERVE[:-1], "keys", *arguments], capture_output=True, text=True, env=environment(), cwd=PROJECT, timeout=60,
        input=said, check=False,
    )  # fmt: skip


async def test_a_new_key_is_shown_once_with_what_to_paste(tmp_path: Path) -> None:
    done = command("new", "ci", "--devbox", "shop-*", "--devbox", "x", "--scope", "read", "--expires", "90d")
    assert done.returncode == 0
    key, _, pasted = done.stdout.partition("\n")
    caller = await opened(tmp_path / "access.toml", pasted).identify(key)
    assert caller == Caller("ci", ("shop-*", "x"), frozenset({Scope.READ}))
    assert key not in pasted


async def test_a_key_is_added_to_the_file_and_the_file_stays_as_it_is_otherwise(tmp_path: Path) -> None:
    file = tmp_path / "access.toml"
    first = command("new", "first", "--devbox", "*", "--scope", "read", "--file", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("# ours\n" + file.read_text())
    file.chmod(0o640)
    second = command("new", "second", "--devbox", "a", "--scope", "write", "--scope", "read", "--file", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert file.read_text().startswith("# ours\n")
    assert os.listdir(tmp_path) == ["access.toml"]
    who = Access(load({"access": str(file)}, None))
    assert (await who.identify(first.stdout.strip())).name == "first"
    assert (await who.identify(second.stdout.strip())).scopes == {Scope.READ, Scope.WRITE}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a b", "--devbox", "*", "--scope", "read"), "name"),
        (("ci", "--devbox", "*", "--scope", "admin"), "scopes"),
        (("ci", "--devbox", "", "--scope", "read"), "devboxes"),
        (("ci", "--devbox", "*", "--scope", "read", "--expires", "soon"), "write 90d"),
        (("taken", "--devbox", "*", "--scope", "read"), "two have the name 'taken'"),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    file = tmp_path / "access.toml"
    before = stanza("keys", GOOD, name='"taken"')
    file.write_text(before)
    done = command("new", *arguments, "--file", str(file))
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert file.read_text() == before


def test_the_hash_of_a_key_is_told_and_a_password_is_refused() -> None:
    key = new_key()
    assert command("hash", said=f"{key}\n").stdout == f"{hashed(key)}\n"
    refused = command("hash", said="hunter2\n")
    assert refused.returncode == 2
    assert "hunter2" not in refused.stderr


async def test_a_file_is_looked_at_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = new_key()
    who = opened(tmp_path / "access.toml", stanza("keys", GOOD))
    (tmp_path / "access.toml").write_text(stanza("keys", GOOD, hash=f'"{hashed(key)}"'))
    clock = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    who._looked = clock
    with pytest.raises(Unauthenticated):
        await who.identify(key)
    clock += 1
    assert (await who.identify(key)).name == "ci"
