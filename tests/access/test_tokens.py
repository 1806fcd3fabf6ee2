"""JSON Web Tokens: what is taken, and everything that has been tried against those who take them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from devbox_mcp.callers import Caller, Scope
from devbox_mcp.errors import Unauthenticated, Unavailable
from devbox_mcp.servers.access import keysets
from devbox_mcp.servers.access.access import Access
from devbox_mcp.settings import load

ISSUER, AUDIENCE = "https://login.example.com", "https://files.example.com/mcp"
SECRET = "a secret that two know, of more than 256 bits"


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def jwk(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, kid: str, **more: Any) -> dict[str, Any]:
    public = key.public_key()
    kind: Any = RSAAlgorithm if isinstance(public, rsa.RSAPublicKey) else ECAlgorithm
    return {**kind.to_jwk(public, as_dict=True), "kid": kid, **more}


def claims(**more: Any) -> dict[str, Any]:
    found = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "somebody",
        "exp": int(time.time()) + 600,
        "devboxes": ["shop-*"],
        "scope": "openid read write",
        **more,
    }
    return {name: value for name, value in found.items() if value is not None}


@dataclass
class Publisher:
    """An issuer's address of keys: what it answers, and how often it was asked."""

    url: str
    keys: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    body: bytes | None = None
    asked: int = 0


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked += 1
            body = json.dumps({"keys": found.keys}).encode() if found.body is None else found.body
            self.send_response(found.status)
            if found.status in (301, 302):
                self.send_header("Location", f"{found.url}/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Publisher(f"http://127.0.0.1:{server.server_address[1]}/jwks")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


def access(tmp_path: Path, *lines: str, **settings: Any) -> Access:
    """Return who comes in by an access file with one issuer."""
    (tmp_path / "secret").write_text(SECRET)
    file = tmp_path / "access.toml"
    given = [] if "audience" in " ".join(lines) or "public_url" in settings else [f'audience = "{AUDIENCE}"']
    file.write_text("\n".join(["[[issuers]]", f'issuer = "{ISSUER}"', *given, *lines]))
    return Access(load({"access": str(file), **settings}, None))


def shared(tmp_path: Path, *lines: str, **settings: Any) -> Access:
    return access(tmp_path, 'algorithms = ["HS256"]', 'secret_file = "secret"', *lines, **settings)


def signed(**more: Any) -> str:
    return jwt.encode(claims(**more), SECRET, "HS256")


async def refused(who: Access, token: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await who.identify(token)
    assert token not in str(caught.value)
    return caught.value.detail


# -- what is taken


async def test_a_token_makes_a_caller(tmp_path: Path) -> None:
    caller = await shared(tmp_path).identify(signed())
    assert caller == Caller(f"{ISSUER}#somebody", ("shop-*",), frozenset({Scope.READ, Scope.WRITE}))


@pytest.mark.parametrize(
    ("given", "reached", "scopes"),
    [
        ({"devboxes": "shop bank"}, ("shop", "bank"), {Scope.READ, Scope.WRITE}),
        ({"devboxes": []}, (), {Scope.READ, Scope.WRITE}),
        ({"devboxes": None}, (), {Scope.READ, Scope.WRITE}),
        ({"scope": ["read", "admin"]}, ("shop-*",), {Scope.READ}),
        ({"scope": "reading writer READ"}, ("shop-*",), set()),
        ({"scope": None}, ("shop-*",), set()),
        ({"scope": "lifecycle"}, ("shop-*",), {Scope.LIFECYCLE}),
    ],
)
async def test_rights_are_those_in_the_claims(
    tmp_path: Path, given: dict[str, Any], reached: tuple[str, ...], scopes: set[Scope]
) -> None:
    caller = await shared(tmp_path).identify(signed(**given))
    assert (caller.devboxes, caller.scopes) == (reached, scopes)


async def test_the_claims_may_be_called_otherwise(tmp_path: Path) -> None:
    who = shared(tmp_path, 'devboxes_claim = "https://example.com/boxes"', 'scopes_claim = "scp"')
    caller = await who.identify(signed(**{"https://example.com/boxes": ["a"], "scp": ["read"], "devboxes": ["b"]}))
    assert (caller.devboxes, caller.scopes) == (("a",), {Scope.READ})


@pytest.mark.parametrize("subject", ["a\nb", "a\\nb", "a b", "a%0Ab", "ä", "\x1b[31m", "x" * 256, "\u2028", "a#b"])
async def test_a_name_is_one_word_of_a_log_line_and_no_other_subjects(tmp_path: Path, subject: str) -> None:
    name = (await shared(tmp_path).identify(signed(sub=subject))).name
    assert name.isprintable()
    assert name.isascii()
    assert " " not in name
    assert name.count("#") == 1
    others = {"a\nb", "a\\nb", "a b", "a%0Ab", "ä", "a#b"} - {subject}
    for other in others:
        assert (await shared(tmp_path).identify(signed(sub=other))).name != name


async def test_without_an_audience_in_the_file_it_is_this_server(tmp_path: Path) -> None:
    who = shared(tmp_path, public_url="https://here.example.com/")
    for audience in ("https://here.example.com/mcp", "https://here.example.com", ["x", "https://here.example.com/mcp"]):
        await who.identify(signed(aud=audience))
    await refused(who, signed(aud="https://here.example.com/other"))
    await refused(who, signed(aud=AUDIENCE))


async def test_public_keys_of_a_file_and_of_an_address(
    tmp_path: Path, publisher: Publisher, rsa_key: rsa.RSAPrivateKey, ec_key: ec.EllipticCurvePrivateKey
) -> None:
    publisher.keys = [jwk(rsa_key, "r", use="sig", alg="RS256"), jwk(ec_key, "e")]
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": publisher.keys}))
    for source in ('jwks_file = "jwks.json"', f'jwks_url = "{publisher.url}"'):
        who = access(tmp_path, 'algorithms = ["RS256", "ES256"]', source)
        for key, kid, algorithm in ((rsa_key, "r", "RS256"), (ec_key, "e", "ES256"), (rsa_key, None, "RS256")):
            headers = None if kid is None else {"kid": kid}
            token = jwt.encode(claims(), key, algorithm, headers=headers)
            assert (await who.identify(token)).name == f"{ISSUER}#somebody"
    assert publisher.asked == 1


# -- what is not


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"exp": int(time.time()) - 60}, "expired"),
        ({"exp": None}, "no exp"),
        ({"exp": "tomorrow"}, ""),
        ({"exp": [1]}, ""),
        ({"exp": 1e400}, ""),
        ({"exp": True}, ""),
        ({"nbf": int(time.time()) + 86_400}, "not count yet"),
        ({"iat": int(time.time()) + 86_400}, "not count yet"),
        ({"aud": None}, "no aud"),
        ({"aud": "https://other.example.com"}, "somebody else"),
        ({"aud": AUDIENCE + "/"}, "somebody else"),
        ({"aud": []}, "no aud"),
        ({"aud": {"x": 1}}, ""),
        ({"iss": None}, "issuer"),
        ({"iss": "https://evil.example.com"}, "issuer"),
        ({"iss": ISSUER + "/"}, "issuer"),
        ({"iss": [ISSUER]}, "issuer"),
        ({"sub": None}, "no sub"),
        ({"sub": ""}, "sub"),
        ({"sub": "x" * 257}, "sub"),
        ({"sub": 7}, ""),
        ({"devboxes": 7}, "devboxes"),
        ({"devboxes": [7]}, "devboxes"),
        ({"devboxes": [""]}, "devboxes"),
        ({"devboxes": {"*": True}}, "devboxes"),
        ({"devboxes": ["x"] * 1001}, "devboxes"),
        ({"scope": 7}, "scope"),
        ({"scope": {"read": True}}, "scope"),
    ],
)
async def test_a_token_with_other_claims_is_refused(tmp_path: Path, given: dict[str, Any], reason: str) -> None:
    who = shared(tmp_path)
    body = claims()
    for name, value in given.items():
        if value is None:
            body.pop(name, None)
        else:
            body[name] = value
    assert reason in await refused(who, forged({"alg": "HS256", "typ": "JWT"}, body, SECRET.encode()))


def _part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def forged(header: Any, body: Any, key: bytes | None) -> str:
    """Return a token that says what it likes, with an HMAC by any key."""
    said = f"{_part(header)}.{_part(body)}"
    mac = b"" if key is None else hmac.digest(key, said.encode(), hashlib.sha256)
    return f"{said}.{_part(mac)}"


def test_the_forger_can_do_it_right() -> None:
    jwt.decode(forged({"alg": "HS256"}, claims(), SECRET.encode()), SECRET, ["HS256"], audience=AUDIENCE)


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "", None, "HS384", "HS512", "RS256", "hs256", 7, ["HS256"]]
)
@pytest.mark.parametrize("key", [None, SECRET.encode()])
async def test_no_algorithm_but_the_issuers(tmp_path: Path, algorithm: Any, key: bytes | None) -> None:
    await refused(shared(tmp_path), forged({"alg": algorithm, "typ": "JWT"}, claims(), key))


async def test_a_public_key_is_no_shared_secret(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [jwk(rsa_key, "r")]}))
    who = access(tmp_path, 'algorithms = ["RS256"]', 'jwks_file = "jwks.json"')
    public = rsa_key.public_key()
    shapes = [
        public.public_bytes(encoding, form)
        for encoding in (serialization.Encoding.PEM, serialization.Encoding.DER)
        for form in (serialization.PublicFormat.SubjectPublicKeyInfo, serialization.PublicFormat.PKCS1)
    ]
    shapes += [shape.strip() for shape in shapes] + [(tmp_path / "jwks.json").read_bytes(), b""]
    for shape in shapes:
        for algorithm in ("HS256", "RS256"):
            await refused(who, forged({"alg": algorithm, "kid": "r"}, claims(), shape))


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": {"kty": "oct", "k": "c2VjcmV0"}},
        {"jku": "http://127.0.0.1:1/jwks"},
        {"x5u": "http://127.0.0.1:1/cert"},
        {"kid": "../../../../dev/null"},
        {"kid": "' or 1=1"},
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": False, "crit": ["b64"]},
        {"kid": 7},
        {"kid": {"x": 1}},
    ],
)
async def test_what_a_header_asks_for_is_not_done(tmp_path: Path, header: dict[str, Any]) -> None:
    await refused(
        shared(tmp_path), forged({"alg": "HS256", **header}, claims(), b"another secret, as long as the first one")
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-2],
        lambda token: token + "A",
        lambda token: token.rpartition(".")[0] + ".",
        lambda token: token.rpartition(".")[0],
        lambda token: ".".join(reversed(token.split("."))),
        lambda token: f"{token}.{token}",
        lambda _: "..",
        lambda _: "a.b.c",
        lambda _: "x" * 20_000,
        lambda token: f"{'x' * 20_000}.{token.partition('.')[2]}",
        lambda token: f"{_part(b'[' * 8000)}.{token.partition('.')[2]}",
        lambda token: f"{token.partition('.')[0]}.{_part(b'[' * 8000)}.{token.rpartition('.')[2]}",
        lambda token: f"{_part([])}.{token.partition('.')[2]}",
        lambda token: f"{token.partition('.')[0]}.{_part([])}.{token.rpartition('.')[2]}",
        lambda token: f"{token.partition('.')[0]}.{_part(claims(sub='other'))}.{token.rpartition('.')[2]}",
    ],
)
async def test_a_token_that_was_altered_is_refused(tmp_path: Path, change: Callable[[str], str]) -> None:
    who = shared(tmp_path)
    await who.identify(signed())
    await refused(who, change(signed()))


async def test_a_key_for_one_algorithm_is_not_used_for_another(
    tmp_path: Path, rsa_key: rsa.RSAPrivateKey, ec_key: ec.EllipticCurvePrivateKey
) -> None:
    keys = [jwk(rsa_key, "one", alg="RS512"), jwk(ec_key, "two", use="enc"), jwk(ec_key, "three"),
            {"kty": "oct", "kid": "four", "k": _part(SECRET.encode())}, {"kty": "RSA", "kid": "five"}]  # fmt: skip
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": keys}))
    who = access(tmp_path, 'algorithms = ["RS256", "ES256"]', 'jwks_file = "jwks.json"')
    await refused(who, jwt.encode(claims(), rsa_key, "RS256", headers={"kid": "one"}))
    await refused(who, jwt.encode(claims(), ec_key, "ES256", headers={"kid": "two"}))
    await refused(who, jwt.encode(claims(), rsa_key, "RS256", headers={"kid": "three"}))
    await refused(who, jwt.encode(claims(), rsa_key, "RS256", headers={"kid": "five"}))
    await refused(who, forged({"alg": "HS256", "kid": "four"}, claims(), SECRET.encode()))
    await who.identify(jwt.encode(claims(), ec_key, "ES256", headers={"kid": "three"}))


async def test_a_weak_key_signs_nothing(tmp_path: Path) -> None:
    weak = rsa.generate_private_key(65537, 1024)
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [jwk(weak, "w")]}))
    who = access(tmp_path, 'algorithms = ["RS256"]', 'jwks_file = "jwks.json"')
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = jwt.encode(claims(), weak, "RS256", headers={"kid": "w"})
    assert "weak" in await refused(who, token)


# -- the address of keys


def fetched(tmp_path: Path, publisher: Publisher) -> Access:
    return access(tmp_path, 'algorithms = ["RS256"]', f'jwks_url = "{publisher.url}"')


async def test_a_new_key_of_the_issuer_is_found_and_made_up_ones_do_not_ask_often(
    tmp_path: Path, publisher: Publisher, rsa_key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = rsa.generate_private_key(65537, 2048)
    publisher.keys = [jwk(rsa_key, "old")]
    who = fetched(tmp_path, publisher)
    await who.identify(jwt.encode(claims(), rsa_key, "RS256", headers={"kid": "old"}))
    publisher.keys = [jwk(other, "new")]
    for number in range(20):
        await refused(who, jwt.encode(claims(), other, "RS256", headers={"kid": f"made-up-{number}"}))
    assert publisher.asked == 1
    monkeypatch.setattr(keysets, "_HOLD_OFF_SECONDS", 0.0)
    await who.identify(jwt.encode(claims(), other, "RS256", headers={"kid": "new"}))
    assert publisher.asked == 2
    await refused(who, jwt.encode(claims(sub="other"), rsa_key, "RS256", headers={"kid": "old"}))


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, None), (302, None), (200, b"no JSON"), (200, b"[]"), (200, b'{"keys": {}}'), (200, b"[" * 100_000),
     (200, b" " * (1024 * 1024 + 1)), (404, b"")],
)  # fmt: skip
async def test_keys_that_cannot_be_had_are_not_the_tokens_fault(
    tmp_path: Path, publisher: Publisher, rsa_key: rsa.RSAPrivateKey, status: int, body: bytes | None
) -> None:
    publisher.keys, publisher.status, publisher.body = [jwk(rsa_key, "k")], status, body
    who = fetched(tmp_path, publisher)
    token = jwt.encode(claims(), rsa_key, "RS256", headers={"kid": "k"})
    for _ in range(3):
        with pytest.raises(Unavailable, match="keys cannot be fetched") as caught:
            await who.identify(token)
        assert publisher.url not in str(caught.value)
    assert publisher.asked == 1


async def test_known_keys_count_on_while_the_issuer_is_down_but_not_for_ever(
    tmp_path: Path, publisher: Publisher, rsa_key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.keys = [jwk(rsa_key, "k")]
    who = fetched(tmp_path, publisher)
    one, two, three = (
        jwt.encode(claims(sub=name), rsa_key, "RS256", headers={"kid": "k"}) for name in ("one", "two", "three")
    )
    await who.identify(one)
    publisher.status = 500
    monkeypatch.setattr(keysets, "_HOLD_OFF_SECONDS", 0.0)
    monkeypatch.setattr(keysets, "_FRESH_SECONDS", 0.0)
    await who.identify(two)
    assert publisher.asked == 2
    monkeypatch.setattr(keysets, "_STALE_SECONDS", 0.0)
    with pytest.raises(Unavailable):
        await who.identify(three)


async def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    who = fetched(tmp_path, Publisher("http://127.0.0.1:1/jwks"))
    with pytest.raises(Unavailable):
        await who.identify(jwt.encode(claims(), rsa_key, "RS256", headers={"kid": "k"}))


# -- good ones are remembered


async def test_a_token_that_was_good_is_not_good_for_ever(
    tmp_path: Path, publisher: Publisher, rsa_key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.keys = [jwk(rsa_key, "k")]
    who = fetched(tmp_path, publisher)
    token = jwt.encode(claims(exp=int(time.time()) + 600), rsa_key, "RS256", headers={"kid": "k"})
    first = await who.identify(token)
    assert await who.identify(token) == first
    for altered in (token[:-4] + "AAAA", token + "A"):
        with pytest.raises(Unauthenticated):
            await who.identify(altered)
    monkeypatch.setattr(keysets, "_FRESH_SECONDS", 0.0)
    monkeypatch.setattr(keysets, "_HOLD_OFF_SECONDS", 0.0)
    publisher.keys = []
    assert await who.identify(token) == first
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)
    with pytest.raises(Unauthenticated, match="does not publish"):
        await who.identify(token)


async def test_a_token_that_was_good_ends_with_its_exp_and_with_its_issuer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = shared(tmp_path, "leeway = 0")
    ends = int(time.time()) + 2
    short, long = signed(exp=ends), signed()
    for token in (short, long):
        await who.identify(token)
    while time.time() < ends:  # noqa: ASYNC110  only the clock tells
        await asyncio.sleep(0.05)
    assert "expired" in await refused(who, short)
    clock = time.monotonic()
    await who.identify(long)
    (tmp_path / "access.toml").write_text("")
    monkeypatch.setattr(time, "monotonic", lambda: clock + 5)
    await refused(who, long)
