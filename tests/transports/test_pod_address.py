"""URLs of containers."""

import pytest

from devbox_mcp.errors import InvalidArgument
from devbox_mcp.transports.kubernetes import PodAddress


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("k8s://default/web", PodAddress("default", "web")),
        ("k8s://default/web/", PodAddress("default", "web")),
        ("k8s://team-1/web.0/app", PodAddress("team-1", "web.0", "app")),
        ("k8s://n/p?root=/a%20b/c", PodAddress("n", "p", root="/a b/c")),
        (
            "k8s://n/p/c?context=me@there:1&kubeconfig=~/k&root=/",
            PodAddress("n", "p", "c", root="/", context="me@there:1", kubeconfig="~/k"),
        ),
    ],
)
def test_what_a_url_means(url, address):
    assert PodAddress.parse(url) == address


@pytest.mark.parametrize(
    ("url", "detail", "hint"),
    [
        ("http://default/web", "no k8s URL", "k8s://NAMESPACE/POD"),
        ("k8s://[/web", "no URL", "k8s://NAMESPACE/POD"),
        ("k8s:///web", "namespace is missing", "k8s://NAMESPACE/POD"),
        ("k8s://default", "pod is missing", "k8s://NAMESPACE/POD"),
        ("k8s://default/", "pod is missing", "k8s://NAMESPACE/POD"),
        ("k8s://default//app", "pod is missing", "k8s://NAMESPACE/POD"),
        ("k8s://default/web/app/srv", "more than a container", "?root="),
        ("k8s://me:secret@default/web", "no place", "context"),
        ("k8s://default:6443/web", "no place", "context"),
        ("k8s://default/web#x", "#", "%23"),
        ("k8s://Default/web", "'Default'", "a-z"),
        ("k8s://default/web_1", "'web_1'", "a-z"),
        ("k8s://default/..%2F..%2Fnodes", "more than a container|no name", ""),
        ("k8s://default/%2e%2e", "'..'", ""),
        ("k8s://default/web/a%2Fb", "no name of a container", ""),
        ("k8s://default/web/" + "a" * 64, "no name of a container", ""),
        ("k8s://default/" + "a" * 254, "no name of a pod", ""),
        ("k8s://default/web?contxt=x", "'contxt'", "root, context, kubeconfig"),
        ("k8s://default/web?root=a&root=b", "twice", "once"),
        ("k8s://default/web?root=", "empty", "?root=VALUE"),
        ("k8s://default/web?root=a/b", "not absolute", "?root=/"),
        ("k8s://default/web?root=/a%00b", "no text", ""),
    ],
)
def test_what_is_wrong_with_a_url_and_what_to_write(url, detail, hint):
    with pytest.raises(InvalidArgument) as caught:
        PodAddress.parse(url)
    assert any(part in caught.value.detail for part in detail.split("|"))
    assert hint in caught.value.hint


def test_an_address_in_words():
    assert str(PodAddress("n", "p")) == "pod n/p"
    assert str(PodAddress("n", "p", "c", root="/x")) == "pod n/p, container c"
