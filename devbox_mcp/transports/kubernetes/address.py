"""Where a container is: ``k8s://NAMESPACE/POD[/CONTAINER][?root=…&context=…&kubeconfig=…]``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

from devbox_mcp.errors import InvalidArgument

SCHEME = "k8s"
_SHAPE = "k8s://NAMESPACE/POD or k8s://NAMESPACE/POD/CONTAINER"
_PARAMETERS = ("root", "context", "kubeconfig")
#: What Kubernetes itself admits: namespaces and containers are DNS labels, pods are DNS subdomains.
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class PodAddress:
    """A container of a pod. Without ``container`` it is the only one or the one the pod names as its default; without
    ``root`` the container's working directory; without ``context`` and ``kubeconfig`` what kubectl would take."""

    namespace: str
    pod: str
    container: str | None = None
    root: str | None = None
    context: str | None = None
    kubeconfig: str | None = None

    def __str__(self) -> str:
        return f"pod {self.namespace}/{self.pod}" + (f", container {self.container}" if self.container else "")

    @classmethod
    def parse(cls, url: str) -> Self:
        """Return the address that a URL means. Raises InvalidArgument, which says what to write instead."""
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise _wrong(f"{url!r} is no URL") from error
        if parts.scheme != SCHEME:
            raise _wrong(f"{url!r} is no {SCHEME} URL")
        if "@" in parts.netloc or ":" in parts.netloc:
            raise _wrong("user, password and port have no place in it", "choose the cluster with ?context=NAME")
        if parts.fragment:
            raise _wrong("a # has no place in it", "write %23 where a path contains one")
        names = [unquote(name) for name in parts.path.removeprefix("/").removesuffix("/").split("/")]
        if len(names) > 2:
            raise _wrong("there is more than a container behind the pod", "write a path as ?root=/some/path")
        namespace, pod, container = unquote(parts.netloc), names[0], names[1] if len(names) == 2 else None
        _require(_LABEL, namespace, "namespace")
        _require(_SUBDOMAIN, pod, "pod")
        if container is not None:
            _require(_LABEL, container, "container")
        return cls(namespace, pod, container, **_parameters(parts.query))


def _parameters(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _PARAMETERS:
            raise _wrong(f"there is no parameter {name!r}", f"the parameters are {', '.join(_PARAMETERS)}")
        if name in found:
            raise _wrong(f"{name} is given twice", "give it once")
        if not value or "\0" in value:
            raise _wrong(f"{name} is {'empty' if not value else 'no text'}", f"write ?{name}=VALUE, or leave it out")
        found[name] = value
    if not found.get("root", "/").startswith("/"):
        raise _wrong(f"the root {found['root']!r} is not absolute", "write ?root=/some/path")
    return found


def _require(form: re.Pattern[str], name: str, what: str) -> None:
    if not name:
        raise _wrong(f"the {what} is missing")
    if not form.fullmatch(name):
        raise _wrong(f"{name!r} is no name of a {what}", "names consist of a-z, 0-9 and -")


def _wrong(detail: str, hint: str = "") -> InvalidArgument:
    return InvalidArgument("open", ".", detail, hint=hint or f"write {_SHAPE}")
