"""The requests there are: look at a pod, and start a program in it, in one of two protocols."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from devbox_mcp.errors import InvalidArgument, Unavailable, Unsupported
from devbox_mcp.transports.kubernetes.address import PodAddress
from devbox_mcp.transports.kubernetes.channels import PROTOCOLS, V4
from devbox_mcp.transports.kubernetes.config import Access
from devbox_mcp.transports.kubernetes.lines import Line

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

#: An apiserver gives a node that does not answer some of this time.
_TIMEOUT = 30.0
#: How long the server's side of closing is waited for.
_GOODBYE = 0.5
#: No message is longer: the server sends 32 KiB at most.
_LONGEST_MESSAGE = 1024 * 1024
_LONGEST_STATUS = 64 * 1024
#: What is answered where SPDY is not spoken, or POST (``create``) not allowed but GET may be.
_NOT_SPOKEN = (400, 403, 404, 405, 426, 501)


class Refused(Exception):
    """The apiserver answered with an error: HTTP status, its own message, and the reason, a word of its API."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status, body)
        self.status = status
        self.message = body.decode(errors="replace").strip()
        self.reason = ""
        try:
            answer = json.loads(body)
        except ValueError:
            return
        if isinstance(answer, dict):
            self.message = str(answer.get("message") or "")
            self.reason = str(answer.get("reason") or "")


async def get_pod(access: Access, address: PodAddress) -> dict[str, Any]:
    """Return the pod as the API shows it. Raises Refused and Unavailable."""
    async with _reaching(access), _session(access) as session:
        headers = await access.headers()
        async with session.get(
            _url(access, address),
            headers=headers,
            proxy=access.proxy,
            proxy_headers=access.proxy_headers,
            server_hostname=access.server_hostname,
            allow_redirects=False,
        ) as response:
            body = await response.read()
            if response.status != 200:
                raise Refused(response.status, body)
            pod = json.loads(body)
            if not isinstance(pod, dict):
                raise Unavailable("start", ".", f"{access.host} does not answer as an apiserver does")
            return pod


async def open_exec(access: Access, address: PodAddress, container: str, argv: Sequence[str]) -> Line:
    """Ask for a program to be started, by a WebSocket. Raises Refused, InvalidArgument, Unavailable, Unsupported."""
    import aiohttp  # noqa: PLC0415  loaded with the configuration by now

    from devbox_mcp.transports.kubernetes.websocket import WebSocketLine  # noqa: PLC0415  brings aiohttp

    url = _exec_url(access, address, container, argv)
    refusal = bytearray()
    session = _session(access, refusal)
    try:
        async with _reaching(access, refusal):
            socket = await session.ws_connect(
                url,
                protocols=PROTOCOLS,
                headers=await access.headers(),
                proxy=access.proxy,
                proxy_headers=access.proxy_headers,
                server_hostname=access.server_hostname,
                max_msg_size=_LONGEST_MESSAGE,
                compress=0,
                # The server takes a ping or an unasked pong badly, and may be slow to answer while the program is.
                heartbeat=None,
                autoping=False,
                autoclose=False,
                timeout=aiohttp.ClientWSTimeout(ws_receive=None, ws_close=_GOODBYE),
            )
    except BaseException:
        await session.close()
        raise
    if socket.protocol is None:
        await session.close()
        raise Unsupported(
            "start",
            ".",
            "the cluster speaks neither version 4 nor 5 of pods/exec",
            hint="is there a proxy before it?",
        )
    return WebSocketLine(session, socket)


async def open_spdy(access: Access, address: PodAddress, container: str, argv: Sequence[str]) -> Line | None:
    """Ask for a program to be started, as kubectl does. Returns None where that is not spoken or not allowed on the
    way. Raises Refused, InvalidArgument, Unavailable."""
    from devbox_mcp.transports.kubernetes.spdy_line import SpdyLine  # noqa: PLC0415  brings aiohttp

    url = _exec_url(access, address, container, argv)
    upgrade = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": V4}
    session = _session(access)
    try:
        async with _reaching(access):
            response = await session.post(
                url,
                headers={**upgrade, **await access.headers()},
                proxy=access.proxy,
                proxy_headers=access.proxy_headers,
                server_hostname=access.server_hostname,
                allow_redirects=False,
            )
            if response.status == 101 and response.headers.get("X-Stream-Protocol-Version") == V4:
                return SpdyLine(session, response)
            said = b"" if response.status == 101 else await response.content.read(_LONGEST_STATUS)
    except BaseException:
        await session.close()
        raise
    await session.close()
    if response.status in (101, *_NOT_SPOKEN):
        return None
    raise Refused(response.status, said)


async def get_version(access: Access) -> tuple[int, int] | None:
    """Return the cluster's version, None where it does not say. Raises Refused and Unavailable."""
    async with (
        _reaching(access),
        _session(access) as session,
        session.get(
            f"{access.host}/version",
            headers=await access.headers(),
            proxy=access.proxy,
            proxy_headers=access.proxy_headers,
            server_hostname=access.server_hostname,
            allow_redirects=False,
        ) as response,
    ):
        body = await response.content.read(_LONGEST_STATUS)
        if response.status == 401:
            raise Refused(response.status, body)
    found = re.search(rb'"gitVersion":\s*"v(\d+)\.(\d+)', body)
    return None if found is None else (int(found[1]), int(found[2]))


def _exec_url(access: Access, address: PodAddress, container: str, argv: Sequence[str]) -> URL:
    from yarl import URL  # noqa: PLC0415  slow to import, and needed for a pod only

    query = [("command", word) for word in argv]
    query += [("container", container), ("stdin", "true"), ("stdout", "true"), ("stderr", "true"), ("tty", "false")]
    if any("\0" in word for word in argv):
        raise InvalidArgument("start", ".", "an argument contains a NUL character")
    try:
        return URL(f"{_url(access, address)}/exec?{urlencode(query)}", encoded=True)
    except UnicodeEncodeError as error:
        raise InvalidArgument("start", ".", "an argument is not UTF-8") from error


def _url(access: Access, address: PodAddress) -> str:
    return f"{access.host}/api/v1/namespaces/{quote(address.namespace, safe='')}/pods/{quote(address.pod, safe='')}"


def _session(access: Access, refusal: bytearray | None = None) -> aiohttp.ClientSession:
    """A session for one request: an exec's connection is used up by it, and looking at pods is rare. What the server
    says when it refuses a WebSocket is collected in ``refusal``, since aiohttp drops it."""
    import aiohttp  # noqa: PLC0415  slow to import, and needed for a pod only

    async def collect(_session: object, _context: object, end: aiohttp.TraceRequestEndParams) -> None:
        if refusal is not None and end.response.status != 101:
            refusal.extend(await end.response.content.read(_LONGEST_STATUS))

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(collect)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=access.ssl_context),
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[trace],
        trust_env=True,
    )


@asynccontextmanager
async def _reaching(access: Access, refusal: bytearray | None = None) -> AsyncIterator[None]:
    """Map what goes wrong on the way to the apiserver."""
    import aiohttp  # noqa: PLC0415  slow to import, and needed for a pod only

    try:
        async with asyncio.timeout(_TIMEOUT):
            yield
    except aiohttp.WSServerHandshakeError as error:
        raise Refused(error.status, bytes(refusal or b"")) from error
    except aiohttp.ClientSSLError as error:
        raise Unavailable(
            "start",
            ".",
            f"{access.host} cannot be trusted: {_cause(error)}",
            hint="check certificate-authority and server in the kubeconfig",
        ) from error
    except TimeoutError as error:
        raise Unavailable("start", ".", f"{access.host} did not answer within {_TIMEOUT:.0f} s") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Unavailable(
            "start",
            ".",
            f"the apiserver {access.host} cannot be reached: {_cause(error)}",
            hint="is the cluster up, and the network or VPN to it?",
        ) from error


def _cause(error: BaseException) -> str:
    """What happened, without aiohttp's account of its own objects."""
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return cause.verify_message
    return str(getattr(cause, "strerror", None) or cause) or type(cause).__name__
