"""What the documentation's site needs beyond MkDocs; ``mkdocs.yml`` names this file as its hook.

It runs in the site's own environment, and so imports nothing but the standard library.
"""

from __future__ import annotations

import re
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


#: A page that shows a file of another directory names it in its head.
_SOURCE = re.compile(r"\A---\n(?:.*\n)*?source: (.+)\n")
_LINK = re.compile(r"\[([^]]*)\]\((?![a-z]+:|#)([^)#]*)([^)]*)\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Put a file of another directory where a page says so: ``source: CONTRIBUTING.md`` in its head."""
    return _sourced(Path(page.file.abs_src_path).read_text()) or markdown


def _sourced(page: str) -> str | None:
    """Return the file that a page shows, None if it is a page of its own. Links to what is not on the site go."""
    found = _SOURCE.match(page)
    if found is None:
        return None
    file, docs = ROOT / found[1], ROOT / "docs"

    def link(match: re.Match[str]) -> str:
        target = (file.parent / match[2]).resolve()
        if not target.is_relative_to(docs):
            return match[1]
        return f"[{match[1]}]({target.relative_to(docs)}{match[3]})"

    return _LINK.sub(link, file.read_text())


def on_page_content(html: str, *, page: Any, **_: Any) -> str:
    """Let the style tell the pages of the reference, which are tables of short names."""
    return f'<div class="reference">{html}</div>' if page.file.src_uri.startswith("reference/") else html


def on_post_build(*, config: Any, **_: Any) -> None:
    """Ship each page as Markdown too, for readers of ``llms.txt``; refuse what a page would fetch from elsewhere."""
    site, docs = Path(config["site_dir"]), Path(config["docs_dir"])
    for page in docs.rglob("*.md"):
        copy = site / page.relative_to(docs)
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = page.read_text()
        copy.write_text(_sourced(text) or text)
    if found := sorted(set(fetched(site))):
        sys.exit("the site would fetch from elsewhere:\n" + "\n".join(found))


def fetched(site: Path) -> Iterator[str]:
    """Return what the pages, styles and pictures of a site fetch from other hosts, each with the file that does."""
    for path in site.rglob("*"):
        if path.suffix in {".html", ".css", ".svg"}:
            for match in _FETCHED.finditer(path.read_text()):
                yield f"{path.relative_to(site)}: {match[0]}"
