"""Access to an apiserver, from what kubectl users have: a kubeconfig (several in KUBECONFIG), its credential plugins
and tokens, or the service account of the pod that this process runs in. The ``kubernetes`` package reads them all.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devbox_mcp.errors import DevboxError, InvalidArgument, NotFound, PermissionDenied, Unavailable
from devbox_mcp.extras import KUBERNETES
from devbox_mcp.transports.kubernetes.address import PodAddress

if TYPE_CHECKING:
    from kubernetes.aio.client import Configuration

logger = logging.getLogger(__name__)

_DEFAULT = "~/.kube/config"
_FILE = re.compile(r"(?<![\w/:.])~?/[^\s'\",]+")
_IN_CLUSTER = "KUBERNETES_SERVICE_HOST"


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach an apiserver. Made anew when the credentials do not hold any more."""

    host: str
    ssl_context: ssl.SSLContext
    proxy: str | None
    proxy_headers: Mapping[str, str] | None
    server_hostname: str | None
    _configuration: Configuration

    async def headers(self) -> dict[str, str]:
        """The credentials of this moment: a service account's token is read again when it is older than a minute."""
        from kubernetes.aio.config import ConfigException  # noqa: PLC0415  see access_to

        try:
            token = await self._configuration.get_api_key_with_prefix("BearerToken")
        except (ConfigException, OSError) as error:
            raise PermissionDenied("start", ".", f"the token cannot be read again: {_plain(error)}") from error
        return {"Authorization": token.strip()} if token else {}


async def access_to(address: PodAddress) -> Access:
    """Find and load the configuration. Raises InvalidArgument for one that is wrong, NotFound for one that is not
    there, PermissionDenied for credentials that cannot be had, Unsupported without the ``kubernetes`` package."""
    await asyncio.to_thread(_import)  # half a second, for those who use it
    from kubernetes.aio.client import Configuration  # noqa: PLC0415  see above

    configuration = Configuration()
    # Go, and so kubectl, takes certificates without the extensions that RFC 5280 demands; clusters do use them.
    configuration.disable_strict_ssl_verification = True
    paths = _kubeconfig(address)
    if paths is None:
        _load_service_account(configuration)
    else:
        await _load_kubeconfig(configuration, paths, address)
    if not configuration.host.startswith(("https://", "http://")):
        raise InvalidArgument("start", ".", f"the cluster's server is no URL: {configuration.host!r}")
    try:
        return await asyncio.to_thread(_access, configuration)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise InvalidArgument("start", ".", f"the cluster's certificates cannot be used: {_plain(error)}") from error


def _import() -> None:
    KUBERNETES.require()
    importlib.import_module("kubernetes.aio.config")


def _kubeconfig(address: PodAddress) -> str | None:
    """The files to read, joined as in KUBECONFIG, or None for the service account of this pod."""
    given = address.kubeconfig or os.environ.get("KUBECONFIG") or ""
    paths = [path for path in given.split(os.pathsep) if path] or [_DEFAULT]
    there = [path for path in paths if Path(path).expanduser().is_file()]
    if there:
        return os.pathsep.join(there)
    if not given and address.context is None and os.environ.get(_IN_CLUSTER):
        return None
    named = "kubeconfig=" if address.kubeconfig else "KUBECONFIG" if given else _DEFAULT
    raise NotFound(
        "start",
        ".",
        f"there is no kubeconfig where {named} points" if given else f"there is no {_DEFAULT}",
        hint="write ?kubeconfig=/path/to/file in the URL, or set KUBECONFIG",
    )


def _load_service_account(configuration: Configuration) -> None:
    from kubernetes.aio.config import ConfigException, load_incluster_config  # noqa: PLC0415  see access_to

    try:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError) as error:
        raise InvalidArgument(
            "start",
            ".",
            f"the service account of this pod cannot be used: {_plain(error)}",
            hint="set automountServiceAccountToken, or give a kubeconfig",
        ) from error


async def _load_kubeconfig(configuration: Configuration, paths: str, address: PodAddress) -> None:
    from kubernetes.aio.config.kube_config import (  # noqa: PLC0415  see access_to
        KubeConfigLoader,
        KubeConfigMerger,
    )

    try:
        merger = KubeConfigMerger(paths)  # type: ignore[no-untyped-call]
        entries = {kind: [item.value for item in merger.config.value[kind]] for kind in ("contexts", "users")}
        context = _context(entries, address.context or merger.config.value.get("current-context"))
        loader = KubeConfigLoader(  # type: ignore[no-untyped-call]
            merger.config, context, config_base_path=None, config_persister=_persister(merger)
        )
        await loader.load_and_set(configuration)  # type: ignore[no-untyped-call]
        plugin = _failed_plugin(configuration, entries, context)
    except DevboxError:
        raise
    except OSError as error:
        raise Unavailable("start", ".", f"the credentials cannot be loaded: {_plain(error)}") from error
    except Exception as error:
        # whatever a file of unforeseen shape, a plugin or an identity provider makes the package stumble over
        raise InvalidArgument(
            "start",
            ".",
            f"the kubeconfig cannot be used: {_misshapen(error) or _plain(error)}",
            hint="kubectl config view shows it; kubectl get pods shows whether it works",
        ) from error
    if plugin is not None:
        raise PermissionDenied(
            "start",
            ".",
            f"the kubeconfig's credential plugin {plugin!r} gave no credentials",
            hint="run kubectl get pods on the server's machine: it shows what the plugin wants, such as a login",
        )


def _context(entries: Mapping[str, list[dict[str, Any]]], name: str | None) -> str:
    names = [str(item["name"]) for item in entries["contexts"]]
    known = f"the contexts are {', '.join(names)}" if names else "there are no contexts in it"
    if not name:
        raise InvalidArgument("start", ".", "the kubeconfig has no current context", hint=f"add ?context=NAME: {known}")
    if name not in names:
        raise NotFound("start", ".", f"the kubeconfig has no context {name!r}", hint=known)
    return name


def _failed_plugin(
    configuration: Configuration, entries: Mapping[str, list[dict[str, Any]]], context: str
) -> str | None:
    """The package logs the failure of a credential plugin and goes on as nobody, which an apiserver refuses later and
    for a reason that leads astray."""
    chosen = next(item["context"] for item in entries["contexts"] if item["name"] == context)
    user = next((item["user"] for item in entries["users"] if item["name"] == chosen.get("user")), None) or {}
    if "exec" not in user or configuration.api_key or configuration.cert_file:
        return None
    return str(user["exec"].get("command", ""))


def _persister(merger: Any) -> Any:
    """Keep a refreshed token for kubectl too: where refresh tokens are used up, the old one is worth nothing."""

    def save(_: object) -> None:
        try:
            merger.save_changes()
        except OSError:
            logger.warning("a refreshed token could not be written to the kubeconfig")

    return save


def _access(configuration: Configuration) -> Access:
    from kubernetes.aio.client.rest import RESTClientObject  # noqa: PLC0415  see access_to

    return Access(
        host=configuration.host.rstrip("/"),
        ssl_context=RESTClientObject(configuration).ssl_context,
        proxy=configuration.proxy,
        proxy_headers=configuration.proxy_headers,
        server_hostname=configuration.tls_server_name,
        _configuration=configuration,
    )


def _misshapen(error: Exception) -> str:
    import yaml  # noqa: PLC0415  see access_to

    if isinstance(error, yaml.YAMLError | UnicodeDecodeError):
        return "it is not YAML"
    return "it has not the form of one" if isinstance(error, TypeError | AttributeError | KeyError) else ""


def _plain(error: BaseException) -> str:
    """The error in one line, without the names of this machine's files."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(_FILE.sub("(a file)", str(error)).split())
    return text[:300] or type(error).__name__
