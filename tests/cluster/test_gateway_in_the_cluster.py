"""The gateway's manifests, applied: two replicas work as one, and have no more rights than they need.

DEVBOX_MCP_TEST_GATEWAY_IMAGE    an image of this checkout that the cluster has; without it these tests skip
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from devbox_mcp import Devbox
from tests.cluster.balancer import Balancer
from tests.cluster.deployment import await_replicas, forwarded, kubectl, overlay
from tests.cluster.namespace import Cluster

IMAGE = os.environ.get("DEVBOX_MCP_TEST_GATEWAY_IMAGE", "")
KEY = f"dbx_{secrets.token_urlsafe(32)}"
SIZE = 32 * 1024 * 1024

pytestmark = [
    pytest.mark.skipif(not IMAGE, reason="no image of the gateway: DEVBOX_MCP_TEST_GATEWAY_IMAGE is not set"),
    pytest.mark.slow,
]


@dataclass(frozen=True)
class Deployed:
    namespace: str
    sandboxes: str

    def ready(self) -> list[str]:
        """The names of the pods that are ready."""
        found = json.loads(
            kubectl("-n", self.namespace, "get", "pods", "-l", "app.kubernetes.io/name=devbox-mcp", "-o", "json")
        )
        return [
            pod["metadata"]["name"]
            for pod in found["items"]
            if "deletionTimestamp" not in pod["metadata"]
            and all(one["ready"] for one in pod["status"]["containerStatuses"])
        ]


@pytest.fixture(scope="module")
def gateway(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Two replicas that are ready."""
    namespace = f"{cluster.namespace}-gateway"
    place = tmp_path_factory.mktemp("overlay")
    access = f"""
[[keys]]
name = "test"
hash = "sha256:{hashlib.sha256(KEY.encode()).hexdigest()}"
devboxes = ["*"]
scopes = ["read", "write"]
"""
    secret = {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "devbox-mcp", "namespace": namespace},
        "stringData": {"access.toml": access, "signing": secrets.token_urlsafe(32)},
    }  # fmt: skip
    kubectl("create", "namespace", namespace)
    try:
        kubectl("apply", "-f", "-", text=json.dumps(secret))
        kubectl("apply", "-k", str(overlay(place, image=IMAGE, gateway=namespace, sandboxes=cluster.namespace)))
        await_replicas(namespace)
        yield Deployed(namespace, cluster.namespace)
    finally:
        kubectl("delete", "namespace", namespace, "--wait=false")


def test_an_upload_goes_on_at_the_other_replica_when_one_is_killed(gateway: Deployed, tmp_path: Path) -> None:
    content = secrets.token_bytes(SIZE)
    (tmp_path / "big.bin").write_bytes(content)
    pods = gateway.ready()
    assert len(pods) == 2
    killed: list[tuple[str, int]] = []
    with ExitStack() as stack:
        ports = {pod: stack.enter_context(forwarded(gateway.namespace, pod)) for pod in pods}
        balancer = stack.enter_context(Balancer(ports))

        def kill(done: int, whole: int) -> None:
            if killed or done < whole // 3:
                return
            killed.append((pods[0], done))
            kubectl("-n", gateway.namespace, "delete", "pod", pods[0], "--grace-period=0", "--force")
            balancer.drop(pods[0])

        address = f"http://127.0.0.1:{balancer.port}/v1/devboxes/shop"
        box = stack.enter_context(Devbox(address, api_key=KEY))
        box.fs.write_file("small.txt", "before\n")
        box.fs.upload_large_file(tmp_path / "big.bin", "big.bin", on_progress=kill)
        ((_, done),) = killed
        assert done < SIZE
        assert balancer.used[pods[1]] > 0
        assert box.fs.read_file("small.txt") == "before\n"
        back = tmp_path / "back.bin"
        box.fs.download_large_file("big.bin", back)
        assert back.read_bytes() == content
        assert sorted(entry.path for entry in box.fs.list_dir()) == ["big.bin", "small.txt"]


def test_a_replica_that_was_killed_is_replaced(gateway: Deployed) -> None:
    await_replicas(gateway.namespace)
    assert len(gateway.ready()) == 2


def test_it_is_not_root_and_cannot_write_its_file_system(gateway: Deployed) -> None:
    pod = gateway.ready()[0]
    looking = "id -u; touch /opt/x 2>&1; grep -E 'CapEff|NoNewPrivs' /proc/self/status; touch /tmp/x && echo fine"
    told = kubectl("-n", gateway.namespace, "exec", pod, "-c", "gateway", "--", "sh", "-c", looking)
    assert told.splitlines()[0] == "65532"
    assert "Read-only file system" in told
    assert "CapEff:\t0000000000000000" in told
    assert "NoNewPrivs:\t1" in told
    assert told.splitlines()[-1] == "fine"


@pytest.mark.parametrize(
    ("verb", "resource", "allowed"),
    [
        ("get", "pods", True),
        ("get", "pods/exec", True),
        ("create", "pods/exec", True),
        ("list", "pods", False),
        ("create", "pods", False),
        ("delete", "pods", False),
        ("get", "secrets", False),
        ("get", "pods/log", False),
    ],
)
def test_its_rights_end_where_they_should(gateway: Deployed, verb: str, resource: str, allowed: bool) -> None:
    who = {"user": f"system:serviceaccount:{gateway.namespace}:devbox-mcp"}
    name, _, sub = resource.partition("/")
    for namespace, expected in ((gateway.sandboxes, allowed), (gateway.namespace, False), ("default", False)):
        asked = {"namespace": namespace, "verb": verb, "resource": name, **({"subresource": sub} if sub else {})}
        review = {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {**who, "resourceAttributes": asked},
        }  # fmt: skip
        answer = json.loads(kubectl("create", "-o", "json", "-f", "-", text=json.dumps(review)))
        assert answer["status"].get("allowed", False) is expected, (namespace, answer)


def test_with_its_service_account_it_works_in_a_sandbox(gateway: Deployed, cluster: Cluster) -> None:
    """The image, with the configuration that a pod finds in itself, on a pod of the sandboxes' namespace."""
    box = cluster.running("debian-python")
    server = urlsplit(kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"))
    # an apiserver on loopback is reached from the node's network alone
    near = server.hostname in ("127.0.0.1", "localhost", "::1")
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "caller", "namespace": gateway.namespace},
        "spec": {
            "restartPolicy": "Never", "serviceAccountName": "devbox-mcp", "automountServiceAccountToken": True,
            "hostNetwork": near,
            "securityContext": {"runAsUser": 65532, "runAsNonRoot": True},
            "containers": [{
                "name": "caller", "image": IMAGE,
                "args": ["find", f"k8s://{cluster.namespace}/{box}?root=/etc:", "passwd"],
                "env": [
                    {"name": "KUBERNETES_SERVICE_HOST", "value": str(server.hostname)},
                    {"name": "KUBERNETES_SERVICE_PORT", "value": str(server.port or 443)},
                ] if near else [],
            }],
        },
    }  # fmt: skip
    kubectl("apply", "-f", "-", text=json.dumps(pod))
    ended = Cluster(cluster.core, gateway.namespace)
    ended.until("caller", lambda one: one.status.phase in ("Succeeded", "Failed"))
    said = kubectl("-n", gateway.namespace, "logs", "caller")
    assert "passwd" in said
    assert "devbox-mcp:" not in said
