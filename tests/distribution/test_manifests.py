"""The gateway's manifests, as far as they can be checked without a cluster. tests/cluster applies them."""

from __future__ import annotations

import os
import re
import tomllib
from typing import Any

import pytest
import yaml

from devbox_mcp import __version__
from devbox_mcp.settings import load
from tests.distribution.conftest import PROJECT

MANIFESTS = PROJECT / "deploy" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())
OBJECTS: dict[tuple[str, str], dict[str, Any]] = {
    (one["kind"], one["metadata"]["name"]): one
    for file in KUSTOMIZATION["resources"]
    for one in yaml.safe_load_all((MANIFESTS / file).read_text())
}
DEPLOYMENT = OBJECTS["Deployment", "devbox-mcp"]["spec"]
POD = DEPLOYMENT["template"]["spec"]
(CONTAINER,) = POD["containers"]


def test_every_file_is_a_resource() -> None:
    assert {file.name for file in MANIFESTS.glob("*.yaml")} == {*KUSTOMIZATION["resources"], "kustomization.yaml"}
    (image,) = KUSTOMIZATION["images"]
    assert (image["name"], str(image["newTag"])) == (CONTAINER["image"], __version__)


def test_its_rights_are_the_documented_ones() -> None:
    text = (PROJECT / "docs" / "kubernetes.md").read_text()
    documented = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    (role,) = [one for one in documented if one["kind"] == "Role"]
    assert OBJECTS["Role", "devbox-mcp"]["rules"] == role["rules"]
    assert not [kind for kind, _ in OBJECTS if kind.startswith("Cluster")]


def test_it_may_do_nothing_that_it_need_not() -> None:
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    containerfile = (PROJECT / "packaging" / "Containerfile").read_text()
    assert f"USER {POD['securityContext']['runAsUser']}:{POD['securityContext']['runAsGroup']}" in containerfile


def test_one_replica_may_go() -> None:
    assert DEPLOYMENT["replicas"] == 2
    budget = OBJECTS["PodDisruptionBudget", "devbox-mcp"]
    assert (budget["apiVersion"], budget["spec"]["minAvailable"]) == ("policy/v1", 1)
    assert {probe for probe in CONTAINER if probe.endswith("Probe")} == {
        "startupProbe",
        "livenessProbe",
        "readinessProbe",
    }
    assert CONTAINER["readinessProbe"]["httpGet"]["path"] == "/readyz"
    # the server's own patience with what is under way, after the pause
    pause = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    assert POD["terminationGracePeriodSeconds"] >= pause + 30


def test_all_select_the_same_pods() -> None:
    labels = DEPLOYMENT["template"]["metadata"]["labels"]
    assert DEPLOYMENT["selector"]["matchLabels"] == labels
    assert OBJECTS["Service", "devbox-mcp"]["spec"]["selector"] == labels
    assert OBJECTS["PodDisruptionBudget", "devbox-mcp"]["spec"]["selector"]["matchLabels"] == labels
    assert OBJECTS["NetworkPolicy", "devbox-mcp"]["spec"]["podSelector"]["matchLabels"] == labels
    assert all(spread["labelSelector"]["matchLabels"] == labels for spread in POD["topologySpreadConstraints"])


def test_the_settings_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith("DEVBOX_MCP_"):
            monkeypatch.delenv(name)
    settings = load({}, MANIFESTS / "gateway.toml")
    assert settings.http is not None
    assert int(settings.http.rpartition(":")[2]) == CONTAINER["ports"][0]["containerPort"]
    mounts = [mount["mountPath"] for mount in CONTAINER["volumeMounts"]]
    assert settings.access is not None
    assert settings.access.rpartition("/")[0] in mounts
    # where it runs, the Service's own name must not be taken for settings
    assert POD["enableServiceLinks"] is False
    assert tomllib.loads((MANIFESTS / "gateway.toml").read_text())["devboxes"]
