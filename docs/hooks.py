"""Hooks of the documentation's build: pages made of the repository's own files, and a check of every link."""

from __future__ import annotations

import logging
import posixpath
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PUBLISHED = {
    "README.md": "tour.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""Files outside the documentation's folder that are pages too, and what they are called there."""

LINK = re.compile(r"\]\(([^)\s:#]+)(#[^)\s]*)?\)")

log = logging.getLogger("mkdocs.hooks.rltune")  # a warning of `mkdocs.*` fails a strict build


def on_files(files: Files, config: MkDocsConfig) -> Files:
    root = Path(config.docs_dir).parent
    for source, page in PUBLISHED.items():
        if (root / source).exists():
            files.append(File.generated(config, page, abs_src_path=str(root / source)))
    return files


def on_page_markdown(markdown: str, page: Page, **_given: Any) -> str:
    """Links to the repository's files become links to their pages."""
    sources = {target: source for source, target in PUBLISHED.items()}
    source = sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def on_site(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        there = PUBLISHED.get(target) or target.removeprefix("docs/")
        here = posixpath.dirname(page.file.src_uri)
        return f"]({posixpath.relpath(there, here or '.')}{match[2] or ''})"

    return LINK.sub(on_site, markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """MkDocs checks the links that stand in Markdown; this checks all that was built, docstrings among it."""
    site = Path(config.site_dir)
    pages = {path: _read(path) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        for problem in _problems(path, page, pages):
            log.warning("%s: %s", path.relative_to(site), problem)


class _Page(HTMLParser):
    """What a page refers to, and what can be referred to in it."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("canonical", "prev", "next", "alternate"):
            self.loads.append(given.get("href", ""))
        elif "src" in given:
            self.loads.append(given["src"])


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _problems(path: Path, page: _Page, pages: dict[Path, _Page]) -> list[str]:
    if path.name == "404.html":  # its links begin at the root of a server
        return []
    problems = [f"loads {url} from another host" for url in page.loads if urlsplit(url).netloc]
    for url in [*page.links, *page.loads]:
        parts = urlsplit(url)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        target = target / "index.html" if target.is_dir() else target
        if not target.exists():
            problems.append(f"links to {url}, and there is no such file")
        elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
            problems.append(f"links to {url}, and there is no such anchor")
    return problems
