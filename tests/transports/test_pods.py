"""What a pod says about its containers, for the states that are hard to arrange on a cluster."""

import pytest

from devbox_mcp.errors import InvalidArgument, NotFound, Unavailable
from devbox_mcp.transports.base import Gone
from devbox_mcp.transports.kubernetes import PodAddress
from devbox_mcp.transports.kubernetes.pods import choose_container, identity, problem

WEB = PodAddress("shop", "web")


def pod(*containers, phase="Running", metadata=None, spec=None, **status):
    return {
        "metadata": {"uid": "uid-1", **(metadata or {})},
        "spec": {"containers": [{"name": name} for name in containers], **(spec or {})},
        "status": {"phase": phase, **status},
    }


def state(name, container_id="containerd://1", **states):
    return {"name": name, "containerID": container_id, "state": states}


def test_the_only_container_is_meant():
    assert choose_container(pod("app"), WEB) == "app"


def test_containers_beside_the_main_ones_are_meant_only_by_name():
    beside = {"initContainers": [{"name": "proxy"}], "ephemeralContainers": [{"name": "debug"}]}
    assert choose_container(pod("app", spec=beside), WEB) == "app"
    for name in ("proxy", "debug"):
        assert choose_container(pod("app", spec=beside), PodAddress("shop", "web", name)) == name


@pytest.mark.parametrize("annotations", [None, {}, {"kubectl.kubernetes.io/default-container": "gone"}])
def test_several_need_a_name(annotations):
    with pytest.raises(InvalidArgument, match="app, log"):
        choose_container(pod("app", "log", metadata={"annotations": annotations}), WEB)


def test_a_name_that_is_not_there():
    with pytest.raises(NotFound, match="containers are app, log"):
        choose_container(pod("app", "log"), PodAddress("shop", "web", "ap"))


def test_a_restarted_container_is_another_one():
    first = identity(pod("app", containerStatuses=[state("app", "containerd://1")]), "app")
    assert first == "uid-1/containerd://1"
    assert identity(pod("app", containerStatuses=[state("app", "containerd://2")]), "app") != first


def test_a_running_container_is_no_problem():
    running = pod("app", "log", containerStatuses=[state("log", waiting={}), state("app", running={"startedAt": "x"})])
    assert problem(running, "app", WEB) is None
    assert problem(pod("app", containerStatuses=[state("app", running={})]), "app", WEB) is None


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (
            pod("app", metadata={"deletionTimestamp": "now"}, containerStatuses=[state("app", running={})]),
            "being deleted",
        ),
        (pod("app", phase="Failed", reason="Evicted"), "has ended (Failed: Evicted)"),
        (pod("app", phase="Succeeded"), "has ended (Succeeded)"),
        (
            pod("app", phase="Pending", containerStatuses=[state("app", waiting={"reason": "ImagePullBackOff"})]),
            "container app of pod shop/web is waiting: ImagePullBackOff",
        ),
        (
            pod(
                "app",
                containerStatuses=[state("app", waiting={"reason": "CrashLoopBackOff", "message": "back-off\n5m"})],
            ),
            "CrashLoopBackOff: back-off 5m",
        ),
        (
            pod("app", containerStatuses=[state("app", terminated={"reason": "OOMKilled", "exitCode": 137})]),
            "has ended: OOMKilled, status 137",
        ),
        (pod("app", phase="Pending"), "not running yet (Pending)"),
        (pod("app", phase="Pending", conditions=[{"type": "Ready", "status": "False"}]), "not running yet (Pending)"),
        (
            pod(
                "app",
                phase="Pending",
                conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}],
            ),
            "not running yet (Pending, Unschedulable)",
        ),
        (pod("app", phase="Unknown"), "not running yet (Unknown)"),
    ],
)
def test_what_is_the_problem(shown, words):
    error = problem(shown, "app", WEB)
    assert isinstance(error, Unavailable)
    assert words in error.detail
    assert error.hint


@pytest.mark.parametrize(
    ("kind", "waits"), [(None, False), ("ReplicaSet", False), ("Job", False), ("StatefulSet", True), ("Devbox", True)]
)
@pytest.mark.parametrize(
    "shown", [pod("app", phase="Failed"), pod("app", metadata={"deletionTimestamp": "now"})], ids=["ended", "deleted"]
)
def test_a_pod_that_has_ended_is_waited_for_where_another_may_have_its_name(shown, kind, waits):
    owners = [] if kind is None else [{"kind": kind, "name": "web", "controller": True}]
    error = problem({**shown, "metadata": {**shown["metadata"], "ownerReferences": owners}}, "app", WEB)
    assert isinstance(error, Gone) is not waits
    assert ("wait until" if waits else "make another") in error.hint
