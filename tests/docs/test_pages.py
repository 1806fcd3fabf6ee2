"""What the pages say of the code, and what the site is made of."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from devbox_mcp import errors
from devbox_mcp.servers.mcp.tools import TOOLS
from devbox_mcp.servers.problems import STATUS
from devbox_mcp.settings import Settings
from tests.docs.blocks import PROJECT
from tools import reference, site

DOCS = PROJECT / "docs"


def test_the_reference_is_what_the_code_says() -> None:
    stale = [path.name for path, text in reference.pages().items() if path.read_text() != text]
    assert stale == [], "run python -m tools.reference"


def test_every_setting_is_on_its_page() -> None:
    page = (DOCS / "reference" / "settings.md").read_text()
    assert [name for name in Settings.model_fields if f"| `{name}` |" not in page] == []


def test_every_option_of_the_server_is_on_its_page() -> None:
    page = (DOCS / "reference" / "settings.md").read_text()
    beside = {"config", "help"}
    options = {name for name in reference.serve_options() if name not in beside}
    assert {name for name in options if f"`--{name.replace('_', '-')}`" not in page} == {"devbox"}


def test_every_error_code_is_on_its_page() -> None:
    page = (DOCS / "reference" / "errors.md").read_text()
    assert [code for code in {*errors.BY_CODE, *STATUS, "internal"} if f"| `{code}` |" not in page] == []


def test_every_tool_is_on_its_page_with_every_argument() -> None:
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", reference.tools(), re.DOTALL | re.MULTILINE))
    for tool in TOOLS:
        for argument in tool.definition.input_schema["properties"]:
            assert argument == "devbox" or f"| `{argument}` |" in sections[tool.name]


def test_models_are_shown_every_page() -> None:
    listed = re.findall(r"\]\(([^)]+)\)", (DOCS / "llms.txt").read_text())
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_what_a_page_of_the_top_leads_to_is_there(page: str) -> None:
    named = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (PROJECT / page).read_text())
    assert [name for name in named if not (PROJECT / name).exists()] == []


def test_a_page_shows_a_file_of_another_directory() -> None:
    shown = site.on_page_markdown("", page=SimpleNamespace(file=SimpleNamespace(abs_src_path=DOCS / "deploying.md")))
    assert shown.startswith("# The gateway on Kubernetes")
    assert "](operations.md" in shown
    assert "](../" not in shown


def test_pictures_fetch_nothing() -> None:
    assert list(site.fetched(DOCS)) == []
    assert len(list((DOCS / "assets").glob("*.svg"))) >= 4


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("page.html", '<script src="https://cdn.example.com/a.js"></script>'),
        ("page.html", "<link rel=stylesheet href=//cdn.example.com/a.css>"),
        ("page.html", '<link href="https://fonts.example.com" rel="preconnect">'),
        ("page.html", "<img alt='' src='http://example.com/a.png'>"),
        ("style.css", "@import 'https://example.com/a.css';"),
        ("picture.svg", '@font-face { src: url("https://example.com/a.woff2") }'),
    ],
)
def test_what_a_page_would_fetch_from_elsewhere_is_found(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert len(list(site.fetched(tmp_path))) == 1


def test_a_link_that_a_reader_follows_is_no_fetch(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        '<a href="https://example.com/">there</a> <script src="assets/a.js"></script> <link href="../a.css">'
        '<svg xmlns="http://www.w3.org/2000/svg"></svg>'
    )
    assert list(site.fetched(tmp_path)) == []
