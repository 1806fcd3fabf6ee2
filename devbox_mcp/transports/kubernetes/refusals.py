"""What an apiserver's refusal means and what to do about it. No I/O."""

from __future__ import annotations

import json

from devbox_mcp.errors import DevboxError, InvalidArgument, NotFound, PermissionDenied, Unavailable, Unsupported
from devbox_mcp.transports.kubernetes.address import PodAddress
from devbox_mcp.transports.kubernetes.api import Refused
from devbox_mcp.transports.kubernetes.channels import Ended

#: POSIX: a command that cannot be executed, and one that is not found. Some runtimes tell it so.
_NOT_STARTED = (126, 127)

#: The arguments are part of the URL.
_TOO_LONG = (413, 414, 431)


def refused(refusal: Refused, address: PodAddress, resource: str, verbs: tuple[str, ...]) -> DevboxError:
    """Return the error for a refusal that the pod itself does not explain."""
    if refusal.status == 401:
        return PermissionDenied(
            "start",
            ".",
            "the cluster does not accept the credentials (401): a token that has expired, or never was valid",
            hint="log in again as for kubectl, or renew the token; then repeat",
        )
    if refusal.status == 403:
        return missing_right(refusal, address, resource, verbs)
    if refusal.status == 404:
        return NotFound(
            "start",
            ".",
            f"there is no pod {address.namespace}/{address.pod}",
            hint=f"kubectl -n {address.namespace} get pods shows what is there",
        )
    if refusal.status in _TOO_LONG:
        return InvalidArgument("start", ".", "the arguments are too long", hint="send what is long through stdin")
    return Unavailable(
        "start",
        ".",
        f"the cluster cannot start programs in {address}: {refusal.message[:300] or f'HTTP {refusal.status}'}",
        hint="the node's kubelet or container runtime may be down; kubectl get nodes shows it",
    )


def missing_right(refusal: Refused, address: PodAddress, resource: str, verbs: tuple[str, ...]) -> PermissionDenied:
    rule = f'{{apiGroups: [""], resources: ["{resource}"], verbs: {json.dumps(list(verbs))}}}'
    return PermissionDenied(
        "start",
        ".",
        f"a right is missing: {refusal.message[:300] or 'HTTP 403'}",
        hint=f"let a Role in namespace {address.namespace} have the rule {rule}",
        rule={"apiGroups": [""], "resources": [resource], "verbs": list(verbs)},
    )


def never_started(program: str, ended: Ended) -> Unsupported | None:
    """Return the error for a program that the runtime could not start. There is no code for that: the Status is an
    internal error that quotes the runtime, which names the program in the fixed form of its own error type."""
    quoted = (f"exec: {json.dumps(program)}: ", f"executable file `{program}` ")
    if ended.status is None and any(form in ended.message for form in quoted):
        why = ended.message.partition(quoted[0])[2].removesuffix(": unknown") or "not found"
    elif ended.status in _NOT_STARTED:
        why = f"status {ended.status}"
    else:
        return None
    return Unsupported(
        "start",
        ".",
        f"{program} cannot be started in the container: {why}",
        hint="the image lacks it; use an image that has it, or add a container with it to the pod",
        program=program,
    )
