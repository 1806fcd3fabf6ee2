"""Which server a URL leads to, and the backend for it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote, urlsplit

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.http.address import Address
from devbox_mcp.backends.http.asking import Asking, parsed
from devbox_mcp.backends.http.backend import HttpBackend
from devbox_mcp.backends.http.sealos import SealosBackend
from devbox_mcp.backends.http.sealos.envelope import is_envelope
from devbox_mcp.credentials import api_key_for
from devbox_mcp.errors import DevboxError, InvalidArgument, NotFound

_SEALOS = "sealos+"
#: Where Sealos keeps a devbox's project.
_PROJECT = "/home/devbox/project"


async def open_http(url: str, api_key: str | None = None) -> Backend:
    """Open a devbox by its URL: of a gateway, or with ``sealos+`` before it of Sealos' server, whose path is then the
    root; a host alone is asked which of the two it is. Raises ValueError with what to write, DevboxError."""
    if url.startswith(_SEALOS):
        plain = url.removeprefix(_SEALOS)
        address = Address.of_host(plain)
        root = unquote(urlsplit(plain).path).rstrip("/") or _PROJECT
        return await SealosBackend.open(address.origin, api_key_for(address.origin, api_key), root)
    address = Address.parse(url)
    key = api_key_for(address.origin, api_key)
    if address.devbox is not None:
        return await HttpBackend.open(address, key)
    if await _is_sealos(address.origin):
        return await SealosBackend.open(address.origin, key, _PROJECT)
    return await HttpBackend.open(await _only(address, key), key)


async def _is_sealos(origin: str) -> bool:
    """Whether a host answers as Sealos' server does where it needs no token; none is sent."""
    asking = Asking(origin, None, tunnel=False)
    try:
        answer = await asking.ask("connect", ".", "GET", "health", small=False, accept=lambda status: status < 500)
    except DevboxError:
        return False
    else:
        return answer.status == 200 and is_envelope(answer.body)
    finally:
        await asking.aclose()


async def _only(address: Address, key: str | None) -> Address:
    """Return the address of the only devbox that a gateway has for this key. Raises NotFound, InvalidArgument."""
    asking = Asking(f"{address.origin}/v1/devboxes", key, tunnel=False)
    try:
        answer = await asking.ask("connect", ".", "GET", "", small=False)
    finally:
        await asking.aclose()
    names = parsed(_names, answer.body, "connect", ".")
    if not names:
        raise NotFound("connect", ".", "there is no devbox that these credentials reach", hint="ask the operator")
    if len(names) > 1:
        raise InvalidArgument(
            "connect",
            ".",
            f"this gateway has {len(names)} devboxes",
            hint=f"write one of {', '.join(names[:20])} behind it",
        )
    return Address.parse(f"{address.origin}/v1/devboxes/{names[0]}")


def _names(found: Any) -> list[str]:
    names = [one["name"] for one in found["devboxes"]]
    if not all(type(name) is str and json.dumps(name).isascii() for name in names):
        raise TypeError("a name")
    return names
