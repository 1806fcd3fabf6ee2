"""DEVBOX:PATH, taken apart."""

from __future__ import annotations

import pytest

from devbox_mcp.cli.locations import parse, parse_devbox, whole_devbox


@pytest.mark.parametrize(
    ("text", "devbox", "path"),
    [
        ("k8s://default/web:src/app.py", "k8s://default/web", "src/app.py"),
        ("k8s://default/web/app:src", "k8s://default/web/app", "src"),
        ("k8s://default/web?root=/x:src/a:b", "k8s://default/web?root=/x", "src/a:b"),
        ("k8s://default/web?root=/x%3Ay:a", "k8s://default/web?root=/x%3Ay", "a"),
        ("k8s://default/web", "k8s://default/web", "."),
        ("k8s://default/web:", "k8s://default/web", "."),
        ("k8s://default/web:/abs/path", "k8s://default/web", "/abs/path"),
        ("https://host/web:src", "https://host/web", "src"),
        ("https://host:8443/web:src", "https://host:8443/web", "src"),
        ("https://host:8443/web", "https://host:8443/web", "."),
        ("https://host:8443:src", "https://host:8443", "src"),
        ("https://host:src", "https://host", "src"),
        ("https://host:8443", "https://host:8443", "."),
        ("https://host:8443x/y", "https://host", "8443x/y"),
        ("https://[::1]:8443/web:src", "https://[::1]:8443/web", "src"),
        ("https://[fe80::1]/web:a:b", "https://[fe80::1]/web", "a:b"),
        ("http://127.0.0.1:80:8080", "http://127.0.0.1:80", "8080"),
        ("exec:docker exec -i web:src/my file.txt", "exec:docker exec -i web", "src/my file.txt"),
        ("exec:docker exec -i web:a:b", "exec:docker exec -i web", "a:b"),
        ("exec:docker -H tcp://h:2375 exec -i web?root=/app:src", "exec:docker -H tcp://h:2375 exec -i web?root=/app",
         "src"),
        ("exec:?root=/app:a?root=b", "exec:?root=/app", "a?root=b"),
        ("exec:ssh host?root=/app", "exec:ssh host?root=/app", "."),
        ("exec:", "exec:", "."),
        ("local:dir:path", "local:dir", "path"),
        ("dir:path", "dir", "path"),
        ("./dir:path", "./dir", "path"),
        ("/srv/app:path:with:colons", "/srv/app", "path:with:colons"),
        (".:README.md", ".", "README.md"),
        ("dir:", "dir", "."),
        ("web:a\nb", "web", "a\nb"),
        ("web:\udcff", "web", "\udcff"),
        ("README.md", None, "README.md"),
        ("/etc/hosts", None, "/etc/hosts"),
        ("-", None, "-"),
    ],
)  # fmt: skip
def test_the_first_colon_behind_the_devbox_ends_it(text: str, devbox: str | None, path: str) -> None:
    location = parse(text)
    assert (location.devbox, location.path, location.text) == (devbox, path, text)


def test_a_colon_alone_is_the_devbox_before() -> None:
    assert parse(":b", same_as="k8s://default/web").devbox == "k8s://default/web"
    assert parse(":", same_as="web").path == "."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty argument"),
        (":path", r"':path' names no devbox before its colon; write DEVBOX:PATH, or \.:path"),
        ("https://user:key@host/web:a", "no place in a URL"),
        ("https://key@host/web", "no place in a URL"),
        ("a\0b", "NUL"),
    ],
)
def test_what_is_no_location_says_what_to_write(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(text)


def test_a_directory_alone_can_be_a_devbox() -> None:
    assert (parse_devbox("src").devbox, parse_devbox("src").path) == ("src", ".")
    assert parse_devbox("src:app.py").path == "app.py"


@pytest.mark.parametrize(
    ("text", "devbox"),
    [
        ("src", "src"),
        ("src:", "src"),
        ("k8s://default/web:", "k8s://default/web"),
        ("https://host:8443/web", "https://host:8443/web"),
        ("exec:docker -H tcp://h:2375 exec -i web", "exec:docker -H tcp://h:2375 exec -i web"),
        ("exec:ssh host?root=/app", "exec:ssh host?root=/app"),
    ],
)
def test_where_only_a_devbox_can_be_meant_no_path_is_taken(text: str, devbox: str) -> None:
    assert whole_devbox(text) == devbox


def test_a_path_behind_a_devbox_alone_is_wrong() -> None:
    with pytest.raises(ValueError, match="write web"):
        whole_devbox("web:src")


@pytest.mark.parametrize(
    ("text", "directory", "contents"),
    [
        ("web:src", False, False),
        ("web:src/", True, False),
        ("web:src/.", True, True),
        ("web:src/./", True, True),
        ("web:", True, True),
        ("web:.", True, True),
        ("web:/", True, True),
        (".", True, True),
        ("..", True, False),
        ("dir/..", True, False),
        ("dir.", False, False),
    ],
)
def test_how_a_directory_and_its_contents_are_written(text: str, directory: bool, contents: bool) -> None:
    location = parse(text)
    assert (location.says_directory, location.says_contents) == (directory, contents)
