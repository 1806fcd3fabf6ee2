"""What keeps a program from being started in a pod, on a real cluster: each has an error of its own."""

import asyncio
import contextlib
import itertools
import re
import socket
from pathlib import Path

import pytest
import yaml

from devbox_mcp.errors import InvalidArgument, NotFound, PermissionDenied, Unavailable
from devbox_mcp.transports.base import Gone
from tests.cluster.namespace import container

pytestmark = pytest.mark.anyio

DOCUMENT = Path(__file__).parents[2] / "docs" / "kubernetes.md"


async def refusal(transport, kind):
    with pytest.raises(kind) as caught:
        await transport.start(["true"])
    assert caught.value.path == "."
    return caught.value


async def works(transport):
    channel = await transport.start(["true"])
    try:
        return (await channel.exit()).status == 0
    finally:
        await channel.aclose()


async def test_no_such_pod(cluster):
    error = await refusal(cluster.transport("none"), NotFound)
    assert f"pod {cluster.namespace}/none" in error.detail
    error = await refusal(cluster.transport("none", "main"), NotFound)
    assert f"pod {cluster.namespace}/none" in error.detail


async def test_no_such_container(cluster):
    cluster.running("busybox")
    error = await refusal(cluster.transport("busybox", "nothing"), NotFound)
    assert "'nothing'" in error.detail
    assert "main" in error.hint


async def test_several_containers(cluster):
    cluster.create_pod("two", containers=[container("one"), container("other")])
    cluster.running("two")
    error = await refusal(cluster.transport("two"), InvalidArgument)
    assert "one, other" in error.detail
    assert f"k8s://{cluster.namespace}/two/one" in error.hint
    assert await works(cluster.transport("two", "other"))


async def test_the_default_container_is_taken(cluster):
    default = {"annotations": {"kubectl.kubernetes.io/default-container": "other"}}
    cluster.create_pod("annotated", metadata=default, containers=[container("one"), container("other")])
    cluster.running("annotated")
    transport = cluster.transport("annotated")
    assert await works(transport)
    assert transport.name.endswith("container other")


@pytest.mark.parametrize("argument", ["a\0b", "\udcff", "x" * 1_200_000])
async def test_arguments_that_cannot_be_passed(pod, argument):
    with pytest.raises(InvalidArgument):
        await pod("busybox").start(["true", argument])


async def test_an_image_that_cannot_be_had(cluster):
    bad = container("main", image="devbox.local/there-is-no-such-image:1", imagePullPolicy="Never")
    cluster.create_pod("imageless", containers=[bad])
    cluster.until("imageless", lambda pod: waiting(pod) == "ErrImageNeverPull")
    error = await refusal(cluster.transport("imageless"), Unavailable)
    assert "ErrImageNeverPull" in error.detail


def waiting(pod):
    state = (pod.status.container_statuses or [None])[0]
    return state.state.waiting.reason if state and state.state.waiting else None


@pytest.mark.parametrize(("command", "phase"), [("true", "Succeeded"), ("false", "Failed")])
async def test_a_pod_that_has_ended(cluster, command, phase):
    cluster.create_pod(f"over-{command}", restartPolicy="Never", containers=[container("main", command=[command])])
    cluster.until(f"over-{command}", lambda pod: pod.status.phase == phase)
    error = await refusal(cluster.transport(f"over-{command}"), Gone)
    assert phase in error.detail


async def test_a_container_that_keeps_crashing(cluster):
    cluster.create_pod("crashing", containers=[container("main", command=["false"]), container("fine")])
    cluster.until(
        "crashing", lambda pod: any(c.restart_count and c.state.waiting for c in pod.status.container_statuses or ())
    )
    error = await refusal(cluster.transport("crashing", "main"), Unavailable)
    assert "CrashLoopBackOff" in error.detail
    assert await works(cluster.transport("crashing", "fine"))


async def test_a_pod_that_no_node_takes(cluster):
    cluster.create_pod("nowhere", nodeSelector={"there-is": "no-such-node"}, containers=[container("main")])
    cluster.until("nowhere", lambda pod: pod.status.conditions)
    error = await refusal(cluster.transport("nowhere"), Unavailable)
    assert "Unschedulable" in error.detail


async def test_a_pod_that_is_deleted_under_a_program(cluster):
    name = cluster.running(cluster.start_pod("busybox"))
    transport = cluster.transport(name)
    channel = await transport.start(["sleep", "1000"])
    try:
        before = await transport.identity()
        cluster.core.delete_namespaced_pod(name, cluster.namespace, grace_period_seconds=0)
        end = await channel.exit()
        assert end.status in (None, 137)
    finally:
        await channel.aclose()
    error = await refusal(transport, Gone)
    assert name in error.detail
    cluster.start_pod("busybox", name)
    cluster.running(name)
    assert await works(transport)
    assert await transport.identity() != before


@pytest.fixture
def agent(cluster, tmp_path):
    """``agent(*rules)``: the kubeconfig of a new user who has just these rights in the namespace."""
    from kubernetes import client

    numbers = itertools.count()

    def make(*rules):
        name = f"agent-{tmp_path.name.lower().replace('_', '-')}-{next(numbers)}"[-60:].strip("-")
        cluster.core.create_namespaced_service_account(cluster.namespace, {"metadata": {"name": name}})
        rbac = client.RbacAuthorizationV1Api(cluster.core.api_client)
        rbac.create_namespaced_role(cluster.namespace, {"metadata": {"name": name}, "rules": list(rules)})
        binding = documented("RoleBinding")
        binding["metadata"]["name"] = binding["roleRef"]["name"] = name
        binding["subjects"][0].update(name=name, namespace=cluster.namespace)
        rbac.create_namespaced_role_binding(cluster.namespace, binding)
        asked = cluster.core.create_namespaced_service_account_token(name, cluster.namespace, {"spec": {}})
        return kubeconfig(cluster, tmp_path / f"{name}.kubeconfig", {"token": asked.status.token})

    return make


def documented(kind):
    blocks = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    return next(found for found in map(yaml.safe_load, blocks) if found["kind"] == kind)


def user_of(path):
    """The credentials in a kubeconfig that `agent` made."""
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))["users"][0]["user"]


def kubeconfig(cluster, path, user, **changes):
    """Write a kubeconfig for the same cluster and another user."""
    own = yaml.safe_load(Path(cluster.kubeconfig).read_text(encoding="utf-8"))
    context = next(item["context"] for item in own["contexts"] if item["name"] == own["current-context"])
    server = next(item["cluster"] for item in own["clusters"] if item["name"] == context["cluster"])
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "there", "cluster": {**server, **changes}}],
        "users": [{"name": "someone", "user": user}],
        "contexts": [{"name": "here", "context": {"cluster": "there", "user": "someone"}}],
    }
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return str(path)


async def test_the_documented_role_is_enough(cluster, agent):
    cluster.running("busybox")
    transport = cluster.transport("busybox", kubeconfig=agent(*documented("Role")["rules"]))
    assert await works(transport)
    assert await transport.identity()


@pytest.mark.parametrize("missing", range(len(documented("Role")["rules"])))
async def test_every_documented_rule_is_needed_and_named_when_it_is_missing(cluster, agent, missing):
    cluster.running("busybox")
    rules = documented("Role")["rules"]
    lacking = rules.pop(missing)
    error = await refusal(cluster.transport("busybox", kubeconfig=agent(*rules)), PermissionDenied)
    assert error.data["rule"] == lacking
    for word in ("apiGroups", *lacking["resources"], *lacking["verbs"]):
        assert word in error.hint


async def test_with_a_container_named_a_right_to_start_programs_is_enough(cluster, agent):
    cluster.running("busybox")
    kubeconfig = agent(documented("Role")["rules"][1])
    assert await works(cluster.transport("busybox", "main", kubeconfig=kubeconfig))


async def test_without_the_right_to_look_the_servers_own_words_must_do(cluster, agent):
    bad = container("main", image="devbox.local/there-is-no-such-image:1", imagePullPolicy="Never")
    cluster.create_pod("unseen", containers=[bad])
    cluster.until("unseen", lambda pod: waiting(pod) == "ErrImageNeverPull")
    kubeconfig = agent(documented("Role")["rules"][1])
    error = await refusal(cluster.transport("unseen", "main", kubeconfig=kubeconfig), Unavailable)
    assert "container not found" in error.detail
    assert '["pods"]' in error.hint


async def test_a_token_that_is_not_accepted(cluster, tmp_path):
    bad = kubeconfig(cluster, tmp_path / "kubeconfig", {"token": "expired"})
    for container_name in (None, "main"):
        error = await refusal(cluster.transport("busybox", container_name, kubeconfig=bad), PermissionDenied)
        assert "401" in error.detail


async def test_a_token_that_expires_is_renewed(cluster, agent, tmp_path):
    """The credential plugin gives a good token, then, while the transport is in use, the cluster stops taking it."""
    cluster.running("busybox")
    good = user_of(agent(*documented("Role")["rules"]))["token"]
    token = tmp_path / "token"
    path = kubeconfig(cluster, tmp_path / "plugged", plugin(tmp_path, f"cat '{token}'"))
    token.write_text("expired")
    transport = cluster.transport("busybox", kubeconfig=path)
    await refusal(transport, PermissionDenied)
    token.write_text(good)
    assert await works(transport)


async def test_a_credential_plugin_that_fails(cluster, tmp_path):
    path = kubeconfig(cluster, tmp_path / "plugged", plugin(tmp_path, "echo 'please log in' >&2; exit 1"))
    error = await refusal(cluster.transport("busybox", kubeconfig=path), PermissionDenied)
    assert "plugin" in error.detail


def plugin(directory, script):
    program = directory / "plugin"
    program.write_text(
        "#!/bin/sh\ntoken=$("
        + script
        + ") || exit 1\n"
        + 'printf \'{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", '
        + '"status": {"token": "%s"}}\' "$token"\n'
    )
    program.chmod(0o755)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(program)}}


async def test_an_apiserver_that_is_not_there(cluster, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"https://127.0.0.1:{probe.getsockname()[1]}"
    path = kubeconfig(cluster, tmp_path / "kubeconfig", {"token": "x"}, server=address)
    error = await refusal(cluster.transport("busybox", kubeconfig=path), Unavailable)
    assert address in error.detail


async def test_an_apiserver_that_cannot_be_trusted(cluster, tmp_path):
    import certifi

    path = kubeconfig(cluster, tmp_path / "kubeconfig", {"token": "x"}, **{"certificate-authority": certifi.where()})
    error = await refusal(cluster.transport("busybox", kubeconfig=path), Unavailable)
    assert "trusted" in error.detail


async def test_through_a_proxy(cluster, agent, tmp_path):
    cluster.running("busybox")
    user = user_of(agent(*documented("Role")["rules"]))
    asked = []

    async def pipe(reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connect(reader, writer):
        request = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = request.split(b"\r\n")[0].decode().split()
        asked.append((method, target))
        host, port = target.rsplit(":", 1)
        there, here = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(pipe(reader, here), pipe(there, writer))

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as proxy:
        url = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        path = kubeconfig(cluster, tmp_path / "proxied", user, **{"proxy-url": url})
        assert await works(cluster.transport("busybox", kubeconfig=path))
        await asyncio.sleep(0.1)
    # to look at the pod, to ask for the version, to start the program
    assert [method for method, _ in asked] == ["CONNECT"] * 3
