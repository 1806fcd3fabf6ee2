"""Hosts and origins: against pages of other sites that a browser is made to take for ours (DNS rebinding)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from devbox_mcp.errors import InvalidArgument
from devbox_mcp.servers.access.refusing import PROBES, refuse
from devbox_mcp.servers.addresses import is_loopback
from devbox_mcp.settings import Settings

_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
_MISDIRECTED = 421
_FORBIDDEN = 403


def require_credentials(settings: Settings, host: str) -> None:
    """Raise ValueError where a server would be open to the network."""
    if settings.token is None and settings.access is None and not is_loopback(host):
        raise ValueError(
            f"{host} can be reached from other machines, so a token is required: set DEVBOX_MCP_TOKEN, "
            "pass --token-file or --access, or bind 127.0.0.1"
        )


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The values of Host and of Origin that are served; ``name:*`` is a name with any port."""

    hosts: tuple[str, ...]
    origins: tuple[str, ...]

    @classmethod
    def configured(cls, settings: Settings, host: str) -> AllowedHosts:
        """Return those of a server that is bound to ``host``: its own names, and what the operator added."""
        own = () if host in ("0.0.0.0", "::") else (f"[{host}]" if ":" in host else host,)  # noqa: S104  compared, not bound
        names = dict.fromkeys((*_LOOPBACK_NAMES, *own))
        # with any port, and with none as clients write the port of the scheme
        hosts = [*(f"{name}:*" for name in names), *names]
        schemes = ("http",) if settings.tls_cert is None else ("http", "https")
        origins = [f"{scheme}://{name}" for scheme in schemes for name in hosts]
        if settings.public_url is not None:
            public = urlsplit(settings.public_url)
            hosts.append(public.netloc)
            origins.append(f"{public.scheme}://{public.netloc}")
        for item in settings.host_devboxes:
            name = item.partition("=")[0]
            hosts += [name, f"{name}:*"]
        return cls((*hosts, *settings.allow_hosts), (*origins, *settings.allow_origins))

    def serve(self, hosts: Sequence[str]) -> bool:
        """Whether a request with these Host headers, which have to be one, is meant for this server."""
        return len(hosts) == 1 and _is_one_of(hosts[0].lower(), self.hosts)

    def trust(self, origins: Sequence[str]) -> bool:
        """Whether a page of this Origin may ask; what is no browser sends none."""
        return not origins or (len(origins) == 1 and _is_one_of(origins[0].lower(), self.origins))


def _is_one_of(value: str, allowed: Iterable[str]) -> bool:
    name, _, port = value.rpartition(":")
    wildcard = f"{name}:*" if port.isdecimal() else value
    return any(one in (value, wildcard) for one in map(str.lower, allowed))


class Hosts:
    """Refuses requests for other hosts and from pages of other origins, on every route but the probes."""

    def __init__(self, app: ASGIApp, allowed: AllowedHosts) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and scope["path"] not in PROBES:
            headers = Headers(scope=scope)
            if not self._allowed.serve(headers.getlist("host")):
                error = InvalidArgument(
                    "connect",
                    scope["path"],
                    "this server is not called by this Host",
                    hint="use the name it is served by, or have the operator pass --allow-host",
                )
                await refuse(error, scope, receive, send, status=_MISDIRECTED)
                return
            if not self._allowed.trust(headers.getlist("origin")):
                error = InvalidArgument(
                    "connect",
                    scope["path"],
                    "pages of this Origin may not ask here",
                    hint="have the operator pass --allow-origin",
                )
                await refuse(error, scope, receive, send, status=_FORBIDDEN)
                return
        await self._app(scope, receive, send)
