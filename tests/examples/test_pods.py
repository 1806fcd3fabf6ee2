"""The same errand in a pod: the project is put there, and its tests run on a copy that is fetched."""

import secrets
import shlex
import subprocess

import pytest

from tests.cluster.namespace import KUBECONFIG, ROOT, Cluster
from tests.examples.programs import AGENTS, MAIN, agent, assert_mended, broken_project, pytest_in

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not KUBECONFIG, reason="no cluster: DEVBOX_MCP_TEST_KUBECONFIG is not set"),
]


@pytest.fixture(scope="module")
def devbox():
    """The URL of a directory in a pod, in a namespace of its own."""
    from kubernetes import client, config

    api = config.new_client_from_config(KUBECONFIG)
    core = client.CoreV1Api(api)
    namespace = f"devbox-mcp-test-{secrets.token_hex(4)}"
    core.create_namespace({"metadata": {"name": namespace}})
    try:
        made = Cluster(core, namespace)
        made.await_service_account("default")
        pod = made.running(made.start_pod("debian-python"))
        yield f"k8s://{namespace}/{pod}/main?root={ROOT}&kubeconfig={KUBECONFIG}"
    finally:
        core.delete_namespace(namespace)
        api.close()


@pytest.mark.parametrize("name", ["anthropic_messages", "langgraph"])
def test_mends_a_failing_test_in_a_pod(programs, tmp_path, devbox, name):
    project = broken_project(tmp_path)
    own = MAIN / "devbox-mcp"
    send = [own, "sync", "--delete", project, f"{devbox}:."]
    subprocess.run(send, env=programs.environment("agents"), check=True, timeout=60)
    copy = tmp_path / "copy"
    with_kubernetes = tmp_path / "bin"  # of this environment only devbox-mcp: it has the extra for pods
    with_kubernetes.mkdir()
    (with_kubernetes / "devbox-mcp").symlink_to(own)
    fetch = shlex.join([str(own), "sync", "--delete", f"{devbox}:.", str(copy)])
    errand = [devbox, f"{fetch} && {pytest_in(copy)}", *agent(name)]
    ran = programs.run("fix_test/fix.py", *errand, env=AGENTS[name], first=(with_kubernetes,))
    assert_mended(ran, copy)
    assert not (project / "CHANGELOG.md").exists()
