"""Who asks: the middleware that every request passes before anything is done for it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from devbox_mcp.audit import AuditLog, AuditRecord, keep
from devbox_mcp.callers import ANONYMOUS, OPERATOR, Caller
from devbox_mcp.errors import DevboxError, InvalidArgument, Unauthenticated, Unavailable
from devbox_mcp.keys import KEY
from devbox_mcp.servers.access.access import Access
from devbox_mcp.servers.access.metadata import METADATA, base_url
from devbox_mcp.servers.access.refusing import PROBES, refuse
from devbox_mcp.servers.access.signing import Admission, UrlSigner, is_signed

_MCP = "/mcp"
_PROTOCOLS = b"sec-websocket-protocol"
_BEARER_PROTOCOL = "bearer."
#: What this server is says nothing of anybody's files, and a browser that reads it has no key to send.
_DESCRIPTION = frozenset({"/docs", "/openapi.json"})
#: Where people put keys into addresses.
_NAMES_OF_KEYS = frozenset({"access_token", "api_key", "token"})
_REFUSED = range(400, 500)
#: Of the caller's own path, in the answer to it.
_LONGEST_TOLD = 1000


class Identify:
    """Sets ``scope["state"]["caller"]``, and for a WebSocket ``["still"]``, which tells the caller anew. Whoever is
    nobody is answered 401 (403 for a signed URL), which leaves a line in the audit log. Credentials stay here: what is
    behind sees none of them."""

    def __init__(
        self, app: ASGIApp, access: Access, signer: UrlSigner, audit: AuditLog, public_url: str | None = None
    ) -> None:
        self._app = app
        self._access = access
        self._signer = signer
        self._audit = audit
        self._public_url = public_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        credential = _Credential(scope)
        try:
            admission = await self._admit(scope, credential)
        except DevboxError as error:
            await self._refuse(error, credential, scope, receive, send)
            return
        request_id = state.get("request_id")
        state["caller"] = admission.caller if request_id is None else admission.caller.asking(request_id)
        if scope["type"] == "websocket":
            # it may last for days, and a key for less
            state["still"] = partial(self._still, scope, credential)
        scope = credential.removed(admission.query)
        if admission.nonce is None:
            await self._app(scope, receive, send)
        else:
            await self._once(admission, scope, receive, send)

    async def _still(self, scope: Scope, credential: _Credential) -> Caller:
        """Return who a connection belongs to now. Raises DevboxError once its credential does not count any more."""
        return (await self._admit(scope, credential)).caller

    async def _once(self, admission: Admission, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what counts once, and let it count again where it was refused: then nothing was changed."""

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in _REFUSED:
                with suppress(Unavailable):
                    await self._signer.restore(admission)
            await send(message)

        await self._app(scope, receive, observed)

    async def _admit(self, scope: Scope, credential: _Credential) -> Admission:
        """Return who asks, and the query without what said so."""
        query: bytes = scope["query_string"]
        if scope["path"] in PROBES or scope["path"] in METADATA or scope["path"] in _DESCRIPTION:
            return Admission(ANONYMOUS, query)
        if scope["type"] == "http" and is_signed(query):
            return await self._signer.admit(scope["method"], scope["raw_path"], query)
        if query and _holds_key(query):
            raise InvalidArgument(
                "authenticate",
                "",
                "a key is in the address, where it is written into logs and histories",
                hint="send it as Authorization: Bearer KEY, and have the operator replace this one",
            )
        if self._access.is_open:
            return Admission(OPERATOR, query)
        if credential.text is None:
            raise Unauthenticated("authenticate", "")
        return Admission(await self._access.identify(credential.text), query)

    async def _refuse(
        self, error: DevboxError, credential: _Credential, scope: Scope, receive: Receive, send: Send
    ) -> None:
        path: str = scope["path"]
        error.path = path[:_LONGEST_TOLD]
        request_id = scope["state"].get("request_id")
        record = AuditRecord(time.time(), ANONYMOUS.name, "", "authenticate", path, request_id, error.code)
        keep(self._audit, record)
        challenge: list[str] = []
        if isinstance(error, Unauthenticated):
            if credential.text is not None:
                challenge.append('error="invalid_token"')
            if scope["path"] == _MCP and self._access.issuers:
                base = base_url(scope, self._public_url)
                challenge.append(f'resource_metadata="{base}/.well-known/oauth-protected-resource/mcp"')
        headers = {"WWW-Authenticate": f"Bearer {', '.join(challenge)}"} if challenge else None
        await refuse(error, scope, receive, send, headers=headers)


class _Credential:
    """What a request says about who sends it: ``text``, a key or token, None where there is none."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        given = Headers(scope=scope).getlist("authorization")
        # of two, somebody else may have looked at the other
        scheme, _, rest = (given[0] if len(given) == 1 else "").partition(" ")
        self.text: str | None = rest.strip() if scheme.lower() == "bearer" and rest.strip() else None
        self._protocols: list[str] = list(scope.get("subprotocols", ()))
        if self.text is None:
            # a page of a browser cannot set a WebSocket's headers
            bearers = [name for name in self._protocols if name.startswith(_BEARER_PROTOCOL)]
            if len(bearers) == 1:
                self.text = bearers[0].removeprefix(_BEARER_PROTOCOL) or None

    def removed(self, query: bytes) -> Scope:
        """Return the request without it; the state is the same one, for whoever stands before this."""
        protocols = [name for name in self._protocols if not name.startswith(_BEARER_PROTOCOL)]
        scope = {**self._scope, "query_string": query, "headers": list(self._kept(protocols))}
        if "subprotocols" in scope:
            scope["subprotocols"] = protocols
        return scope

    def _kept(self, protocols: list[str]) -> Iterable[tuple[bytes, bytes]]:
        for name, value in self._scope["headers"]:
            if name not in (b"authorization", _PROTOCOLS):
                yield name, value
        if protocols:
            yield _PROTOCOLS, ", ".join(protocols).encode("latin-1")


def _holds_key(query: bytes) -> bool:
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return any(name.lower() in _NAMES_OF_KEYS or KEY.fullmatch(value) for name, value in pairs)
