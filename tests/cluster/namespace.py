"""A namespace on a real cluster, and what tests do in it."""

import contextlib
import os
import secrets
import time
from typing import Any

from devbox_mcp.transports.kubernetes import KubernetesTransport, PodAddress

KUBECONFIG = os.environ.get("DEVBOX_MCP_TEST_KUBECONFIG", "")
ROOT = "/work-dir"


class Cluster:
    """The namespace and what tests do in it."""

    root = ROOT

    def __init__(self, core: Any, namespace: str, kubeconfig: str = KUBECONFIG) -> None:
        self.core = core
        self.kubeconfig = kubeconfig
        self.namespace = namespace

    def create_pod(self, name: str, **changes: Any) -> None:
        """Create a pod; ``changes`` to its spec. Does not wait."""
        self.core.create_namespaced_pod(
            self.namespace,
            {
                "metadata": {"name": name, **changes.pop("metadata", {})},
                "spec": {"terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False, **changes},
            },
        )

    def start_pod(self, kind: str, name: str | None = None) -> str:
        """Create a pod of a kind and return its name. Does not wait."""
        name = name or f"{kind}-{secrets.token_hex(3)}"
        self.create_pod(
            name,
            containers=[container("main", kind, volumeMounts=[{"name": "work", "mountPath": ROOT}])],
            volumes=[{"name": "work", "emptyDir": {}}],
        )
        return name

    def running(self, name: str) -> str:
        """Wait until a pod runs, and return its name."""
        self.until(
            name, lambda pod: pod.status.container_statuses and all(c.ready for c in pod.status.container_statuses)
        )
        return name

    def until(self, name: str, condition: Any) -> None:
        deadline = time.monotonic() + 120
        while not condition(self.core.read_namespaced_pod(name, self.namespace)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"pod {name} did not become what the test waits for")
            time.sleep(0.2)

    def await_service_account(self, name: str) -> None:
        """No pod can be created before."""
        from kubernetes.client import ApiException

        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(ApiException):
                self.core.read_namespaced_service_account(name, self.namespace)
                return
            time.sleep(0.1)
        raise TimeoutError("the namespace has no service account")

    def address(self, pod: str, container: str | None = None, **parameters: str) -> PodAddress:
        parameters.setdefault("kubeconfig", self.kubeconfig)
        return PodAddress(self.namespace, pod, container, **parameters)

    def transport(self, pod: str, container: str | None = None, **parameters: str) -> KubernetesTransport:
        return KubernetesTransport(self.address(pod, container, **parameters))


def container(name: str, kind: str = "busybox", **changes: Any) -> dict[str, Any]:
    """The specification of a container that sleeps."""
    default = f"devbox.local/{kind}:1"
    return {
        "name": name,
        "image": os.environ.get(f"DEVBOX_MCP_TEST_IMAGE_{kind.upper().replace('-', '_')}", default),
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "2147483647"],
        **({"workingDir": ROOT} if "volumeMounts" in changes else {}),
        **changes,
    }
