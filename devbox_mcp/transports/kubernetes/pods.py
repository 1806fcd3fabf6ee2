"""What a pod, as the API shows it, says about its containers. No I/O."""

from __future__ import annotations

from typing import Any

from devbox_mcp.errors import DevboxError, InvalidArgument, NotFound, Unavailable
from devbox_mcp.transports.base import Gone
from devbox_mcp.transports.kubernetes.address import PodAddress

_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
_OVER = ("Succeeded", "Failed")
#: Owners that give every pod another name.
_NEW_NAMES = ("DaemonSet", "Job", "ReplicaSet", "ReplicationController")


def choose_container(pod: dict[str, Any], address: PodAddress) -> str:
    """Return the container that is meant. Raises NotFound and InvalidArgument, which name the containers there are."""
    names = _names(pod, "containers")
    # init containers may run for ever (sidecars) and ephemeral ones are for debugging: only by name
    others = _names(pod, "initContainers") + _names(pod, "ephemeralContainers")
    listed = f"its containers are {', '.join(names)}"
    if address.container is not None:
        if address.container not in names + others:
            raise NotFound(
                "start",
                ".",
                f"pod {address.namespace}/{address.pod} has no container {address.container!r}",
                hint=listed,
            )
        return address.container
    default = (pod.get("metadata", {}).get("annotations") or {}).get(_DEFAULT_CONTAINER)
    if default in names:
        return str(default)
    if len(names) != 1:
        raise InvalidArgument(
            "start",
            ".",
            f"pod {address.namespace}/{address.pod} has several containers: {', '.join(names)}",
            hint=f"name one: k8s://{address.namespace}/{address.pod}/{names[0] if names else 'CONTAINER'}",
        )
    return names[0]


def identity(pod: dict[str, Any], container: str) -> str:
    """What changes when the pod is replaced or the container restarted, which loses its files too."""
    status = _status(pod, container)
    return f"{pod.get('metadata', {}).get('uid', '')}/{status.get('containerID', '')}"


def may_return(pod: dict[str, Any]) -> bool:
    """Whether there is somebody who makes another pod of the same name when this one has ended."""
    owners = pod.get("metadata", {}).get("ownerReferences") or ()
    return any(owner.get("kind") not in _NEW_NAMES for owner in owners)


def gone(pod: dict[str, Any], detail: str) -> Unavailable:
    """Return the error for a pod that does not start again."""
    if may_return(pod):
        return Unavailable("start", ".", detail, hint="wait until it is replaced")
    return Gone("start", ".", detail, hint="a pod that has ended does not start again: make another")


def problem(pod: dict[str, Any], container: str, address: PodAddress) -> DevboxError | None:
    """Return why nothing can be started in the container, or None if the pod shows no reason."""
    name = f"pod {address.namespace}/{address.pod}"
    if pod.get("metadata", {}).get("deletionTimestamp"):
        return gone(pod, f"{name} is being deleted")
    state = pod.get("status", {})
    phase = str(state.get("phase", "Unknown"))
    if phase in _OVER:
        why = f": {state['reason']}" if state.get("reason") else ""
        return gone(pod, f"{name} has ended ({phase}{why})")
    current = _status(pod, container).get("state") or {}
    if waiting := current.get("waiting"):
        return Unavailable(
            "start",
            ".",
            f"container {container} of {name} is waiting: {_cause(waiting, 'no reason given')}",
            hint=f"kubectl -n {address.namespace} describe pod {address.pod} tells more",
        )
    if ended := current.get("terminated"):
        return Unavailable(
            "start",
            ".",
            f"container {container} of {name} has ended: {_cause(ended, 'no reason given')}, "
            f"status {ended.get('exitCode')}",
            hint=f"kubectl -n {address.namespace} logs {address.pod} -c {container} --previous tells more",
        )
    if phase != "Running" or "running" not in current:
        return Unavailable(
            "start",
            ".",
            f"{name} is not running yet ({phase}{_unscheduled(state)})",
            hint=f"wait, or see kubectl -n {address.namespace} describe pod {address.pod}",
        )
    return None


def _names(pod: dict[str, Any], kind: str) -> list[str]:
    return [str(item["name"]) for item in pod.get("spec", {}).get(kind) or ()]


def _status(pod: dict[str, Any], container: str) -> dict[str, Any]:
    state = pod.get("status", {})
    for kind in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for status in state.get(kind) or ():
            if status.get("name") == container:
                return dict(status)
    return {}


def _cause(state: dict[str, Any], otherwise: str) -> str:
    reason, message = state.get("reason", ""), " ".join(str(state.get("message", "")).split())[:300]
    return ": ".join(part for part in (reason, message) if part) or otherwise


def _unscheduled(state: dict[str, Any]) -> str:
    for condition in state.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f", {_cause(condition, 'not scheduled')}"
    return ""
