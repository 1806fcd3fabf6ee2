"""The manifests in deploy/kubernetes on the test cluster, as an overlay of them."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

from tests.cluster.namespace import KUBECONFIG

_NAMES_NAMESPACE = r"namespace: |kind: Namespace\nmetadata:\n  name: "
MANIFESTS = Path(__file__).parents[2] / "deploy" / "kubernetes"


def kubectl(*arguments: str, text: str | None = None) -> str:
    """Run kubectl, and return what it prints."""
    done = subprocess.run(
        ["kubectl", "--kubeconfig", KUBECONFIG, *arguments],
        input=text, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def await_replicas(namespace: str) -> None:
    """Wait until all replicas are ready. Fails with what the cluster says of them."""
    try:
        kubectl("-n", namespace, "rollout", "status", "deployment/devbox-mcp", "--timeout=170s")
    except AssertionError as error:
        told = kubectl("-n", namespace, "describe", "pods")
        logs = kubectl("-n", namespace, "logs", "-l", "app.kubernetes.io/name=devbox-mcp", "--tail=20")
        raise AssertionError(f"{error}\n{told}\n{logs}") from None


def overlay(place: Path, *, image: str, gateway: str, sandboxes: str) -> Path:
    """Write an overlay and return its directory. What it changes: the namespaces' names and the image; a directory of
    the node instead of a pod, which both replicas serve; and, for a cluster before 1.21, the budget's version."""
    base = shutil.copytree(MANIFESTS, place / "base")
    for file in base.glob("*.yaml"):
        text = file.read_text()
        if "policy/v1" not in kubectl("api-versions").splitlines():
            text = text.replace("apiVersion: policy/v1\n", "apiVersion: policy/v1beta1\n")
        for name, theirs in (("devbox-mcp", gateway), ("sandboxes", sandboxes)):
            text = re.sub(rf"({_NAMES_NAMESPACE}){name}$", rf"\g<1>{theirs}", text, flags=re.MULTILINE)
        file.write_text(text)
    settings = (base / "gateway.toml").read_text()
    settings, changed = re.subn(r"^devboxes = .*$", 'devboxes = ["shop=local:/srv/shop"]', settings, flags=re.MULTILINE)
    assert changed == 1
    (base / "gateway.toml").write_text(settings)
    name, _, tag = image.rpartition(":")
    (place / "kustomization.yaml").write_text(
        dedent(f"""\
            apiVersion: kustomize.config.k8s.io/v1beta1
            kind: Kustomization
            bases: [base]
            patchesStrategicMerge: [shared.yaml]
            images:
              - name: registry.example.com/devbox-mcp
                newName: {name}
                newTag: "{tag}"
            """)
    )
    (place / "shared.yaml").write_text(
        dedent(f"""\
            apiVersion: apps/v1
            kind: Deployment
            metadata: {{name: devbox-mcp, namespace: {gateway}}}
            spec:
              template:
                spec:
                  initContainers:
                    - name: shared
                      image: {image}
                      command: [chown, "65532:65532", /srv/shop]
                      securityContext: {{runAsUser: 0, runAsNonRoot: false}}
                      volumeMounts: [{{name: shared, mountPath: /srv/shop}}]
                  containers:
                    - name: gateway
                      volumeMounts: [{{name: shared, mountPath: /srv/shop}}]
                  volumes:
                    - name: shared
                      hostPath: {{path: {place / "shared"}, type: DirectoryOrCreate}}
            """)
    )
    return place


@contextlib.contextmanager
def forwarded(namespace: str, pod: str) -> Iterator[int]:
    """A port of this machine's loopback that leads to the gateway in a pod."""
    with subprocess.Popen(
        ["kubectl", "--kubeconfig", KUBECONFIG, "-n", namespace, "port-forward", f"pod/{pod}", ":8000"],
        stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            said = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
            assert said is not None
            yield int(said[1])
        finally:
            process.kill()
