"""Where access to a cluster comes from, and what is said when it cannot be had. No cluster is asked."""

import datetime as dt
import json
import sys

import certifi
import pytest

from devbox_mcp.errors import DevboxError, InvalidArgument, NotFound, PermissionDenied, Unsupported
from devbox_mcp.transports.kubernetes import KubernetesTransport, PodAddress
from devbox_mcp.transports.kubernetes.config import access_to

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def nothing_of_this_machine(monkeypatch, tmp_path):
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def config(path, name="one", user=None, **changes):
    """Write a kubeconfig with one context; JSON is YAML too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}.example:6443/"}}],
        "users": [{"name": name, "user": {"token": f"token-{name}"} if user is None else user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        **changes,
    }
    path.write_text(json.dumps(content))
    return str(path)


async def access(**parameters):
    return await access_to(PodAddress("n", "p", **parameters))


async def refusal(kind, **parameters):
    with pytest.raises(kind) as caught:
        await access(**parameters)
    assert isinstance(caught.value, DevboxError)
    return caught.value


async def test_the_url_names_the_file(tmp_path):
    found = await access(kubeconfig=config(tmp_path / "a"))
    assert found.host == "https://one.example:6443"
    assert await found.headers() == {"Authorization": "Bearer token-one"}
    assert found.ssl_context.check_hostname


async def test_a_file_in_the_home_directory(tmp_path):
    config(tmp_path / "home" / ".kube" / "config")
    assert (await access()).host == "https://one.example:6443"
    assert (await access(kubeconfig="~/.kube/config")).host == "https://one.example:6443"


async def test_kubeconfig_may_name_several_files(tmp_path, monkeypatch):
    first, second = config(tmp_path / "a", "first"), config(tmp_path / "b", "second")
    monkeypatch.setenv("KUBECONFIG", f"{first}:{tmp_path / 'not-there'}:{second}")
    found = await access(context="first")
    assert await found.headers() == {"Authorization": "Bearer token-first"}
    found = await access(context="second")
    assert (found.host, await found.headers()) == (
        "https://second.example:6443",
        {"Authorization": "Bearer token-second"},
    )


async def test_a_token_in_a_file_may_end_with_a_line_break(tmp_path):
    (tmp_path / "token").write_text("from-a-file\n")
    found = await access(kubeconfig=config(tmp_path / "a", user={"tokenFile": "token"}))
    assert await found.headers() == {"Authorization": "Bearer from-a-file"}


async def test_user_and_password(tmp_path):
    found = await access(kubeconfig=config(tmp_path / "a", user={"username": "me", "password": "secret"}))
    assert await found.headers() == {"Authorization": "Basic bWU6c2VjcmV0"}


async def test_proxy_and_server_name(tmp_path):
    cluster = {"server": "https://10.0.0.1", "proxy-url": "http://proxy:3128", "tls-server-name": "kubernetes"}
    found = await access(kubeconfig=config(tmp_path / "a", clusters=[{"name": "one", "cluster": cluster}]))
    assert (found.proxy, found.server_hostname) == ("http://proxy:3128", "kubernetes")


async def test_there_is_none(tmp_path):
    assert "there is no ~/.kube/config" in (await refusal(NotFound)).detail
    assert str(tmp_path) not in str(await refusal(NotFound, kubeconfig=str(tmp_path / "none")))


async def test_kubeconfig_points_to_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert "KUBECONFIG" in (await refusal(NotFound)).detail


async def test_a_context_that_is_not_there_and_those_that_are(tmp_path):
    contexts = [{"name": name, "context": {"cluster": "one", "user": "one"}} for name in ("staging", "production")]
    path = config(tmp_path / "a", contexts=contexts)
    error = await refusal(NotFound, kubeconfig=path, context="dev")
    assert "'dev'" in error.detail
    assert "staging, production" in error.hint
    assert "'one'" in (await refusal(NotFound, kubeconfig=path)).detail
    assert (await access(kubeconfig=path, context="staging")).host


async def test_no_current_context(tmp_path):
    error = await refusal(InvalidArgument, kubeconfig=config(tmp_path / "a", **{"current-context": ""}))
    assert "?context=NAME: the contexts are one" in error.hint


@pytest.mark.parametrize(
    "content",
    ["", "[]", "just words", "a: [unclosed", "\t", "{}", "\ufffe", '{"contexts": [{}]}', '{"contexts": 3}', "\0"],
)
async def test_a_file_that_is_no_kubeconfig(tmp_path, content):
    (tmp_path / "a").write_text(content)
    error = await refusal(InvalidArgument, kubeconfig=str(tmp_path / "a"))
    assert str(tmp_path) not in str(error)


@pytest.mark.parametrize(
    "changes",
    [
        {"clusters": []},
        {"clusters": [{"name": "one", "cluster": {"server": "one.example"}}]},
        {"contexts": [{"name": "one", "context": {"user": "one"}}]},
        {"clusters": [{"name": "one", "cluster": {"server": "https://x", "certificate-authority": "/none"}}]},
        {"clusters": [{"name": "one", "cluster": {"server": "https://x", "certificate-authority-data": "bm9uZQ=="}}]},
    ],
)
async def test_a_kubeconfig_with_a_hole(tmp_path, changes):
    error = await refusal(InvalidArgument, kubeconfig=config(tmp_path / "a", **changes))
    assert str(tmp_path) not in str(error)
    assert "/none" not in str(error)


@pytest.mark.parametrize("command", ["false", "no-such-plugin-anywhere", "true"])
async def test_a_plugin_that_gives_no_credentials(tmp_path, command):
    plugin = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": command}}
    error = await refusal(PermissionDenied, kubeconfig=config(tmp_path / "a", user=plugin))
    assert f"plugin '{command}'" in error.detail


async def test_the_service_account_of_this_pod(tmp_path, monkeypatch):
    from kubernetes.aio.config import incluster_config

    token = tmp_path / "token"
    token.write_text("first\n")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    assert "service account" in (await refusal(InvalidArgument)).detail
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", certifi.where())
    found = await access()
    assert found.host == "https://10.0.0.1:443"
    assert await found.headers() == {"Authorization": "bearer first"}


async def test_a_service_accounts_token_is_read_again(tmp_path, monkeypatch):
    from kubernetes.aio.config import incluster_config

    real = dt.datetime

    class Later(dt.datetime):
        minutes = 5

        @classmethod
        def now(cls, tz=None):
            return real.now(tz) + dt.timedelta(minutes=cls.minutes)

    token = tmp_path / "token"
    token.write_text("first")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", certifi.where())
    found = await access()
    token.write_text("second")
    monkeypatch.setattr(incluster_config.datetime, "datetime", Later)
    assert await found.headers() == {"Authorization": "bearer second"}
    token.unlink()
    Later.minutes = 10
    with pytest.raises(PermissionDenied):
        await found.headers()


async def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    for name in [name for name in sys.modules if name.startswith("kubernetes.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(Unsupported) as caught:
        await KubernetesTransport(PodAddress("n", "p")).start(["true"])
    assert "devbox-mcp[kubernetes]" in caught.value.hint


def test_importing_the_transport_brings_none_of_the_packages():
    """The server of a local directory starts as fast as without them."""
    import subprocess

    program = (
        "import sys, devbox_mcp.transports.kubernetes; print({'aiohttp', 'kubernetes', 'yarl'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"
