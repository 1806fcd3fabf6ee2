"""A namespace of its own on a real cluster, with a pod of every kind, for one run of the tests.

DEVBOX_MCP_TEST_KUBECONFIG    a user who may create and delete namespaces; without it everything here skips
DEVBOX_MCP_TEST_IMAGE_KIND    the image for a kind (BUSYBOX, DEBIAN, DEBIAN_PYTHON, DISTROLESS); it needs `sleep`
DEVBOX_MCP_TEST_COMPONENT     a command that takes `stop|kill|start NAME` for a part of the cluster, for faults
"""

import os
import secrets
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from devbox_mcp.transports.kubernetes import KubernetesTransport
from tests.cluster.namespace import KUBECONFIG, Cluster

COMPONENT = os.environ.get("DEVBOX_MCP_TEST_COMPONENT", "")
KINDS = ("busybox", "debian", "debian-python", "distroless")
_HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cluster: needs a Kubernetes cluster")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker("cluster")
            if not KUBECONFIG:
                item.add_marker(pytest.mark.skip(reason="no cluster: DEVBOX_MCP_TEST_KUBECONFIG is not set"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A namespace with one pod of every kind, deleted at the end."""
    from kubernetes import client, config

    api = config.new_client_from_config(KUBECONFIG)
    core = client.CoreV1Api(api)
    namespace = f"devbox-mcp-test-{secrets.token_hex(4)}"
    core.create_namespace({"metadata": {"name": namespace}})
    try:
        made = Cluster(core, namespace)
        made.await_service_account("default")
        for kind in KINDS:
            made.start_pod(kind, kind)
        yield made
    finally:
        core.delete_namespace(namespace)
        api.close()


@pytest.fixture(scope="session")
def pod(cluster):
    """``pod(kind)`` is a new transport to the running pod of that kind; its files are in ``cluster.root``."""

    def to(kind: str) -> KubernetesTransport:
        return cluster.transport(cluster.running(kind))

    return to


@pytest.fixture(scope="session")
def component():
    """``component("stop", "kubelet")`` acts on a part of the cluster; whoever stops something starts it again."""
    if not COMPONENT:
        pytest.skip("no faults: DEVBOX_MCP_TEST_COMPONENT is not set")

    def act(verb: str, name: str) -> None:
        subprocess.run([*shlex.split(COMPONENT), verb, name], check=True, timeout=60)

    return act
