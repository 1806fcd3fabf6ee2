"""What the documentation's site needs beyond MkDocs; ``mkdocs.yml`` names this file as its hook.

It runs in the site's own environment, and so imports nothing but the standard library.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent

#: What a browser would fetch without being asked to. Links that a reader follows are none of it.
_FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|audio|video|embed)\b[^>]*?\bsrc\s*=\s*["']?(?:https?:)?//[^"'\s>]+"""
    r"""|<link\b(?![^>]*\brel=["']?canonical)[^>]*?\bhref\s*=\s*["']?(?:https?:)?//[^"'\s>]+"""
    r"""|(?:url\(|@import)\s*["']?(?:https?:)?//[^"')\s]+""",
    re.IGNORECASE,
)


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Put a page of the top directory where a page says so: ``source: CONTRIBUTING.md`` in its head."""
    source: str | None = page.meta.get("source")
    return markdown if source is None else _of_the_top(source)


def _of_the_top(source: str) -> str:
    # seen from there, the site's pages are in docs/
    return (ROOT / source).read_text().replace("](docs/", "](")


def on_page_content(html: str, *, page: Any, **_: Any) -> str:
    """Let the style tell the pages of the reference, which are tables of short names."""
    return f'<div class="reference">{html}</div>' if page.file.src_uri.startswith("reference/") else html


def on_post_build(*, config: Any, **_: Any) -> None:
    """Ship each page as Markdown too, for readers of ``llms.txt``; refuse what a page would fetch from elsewhere."""
    site, docs = Path(config["site_dir"]), Path(config["docs_dir"])
    for page in docs.rglob("*.md"):
        copy = site / page.relative_to(docs)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page, copy)
    if found := sorted(set(fetched(site))):
        sys.exit("the site would fetch from elsewhere:\n" + "\n".join(found))


def fetched(site: Path) -> Iterator[str]:
    """Return what the pages, styles and pictures of a site fetch from other hosts, each with the file that does."""
    for path in site.rglob("*"):
        if path.suffix in {".html", ".css", ".svg"}:
            for match in _FETCHED.finditer(path.read_text()):
                yield f"{path.relative_to(site)}: {match[0]}"
