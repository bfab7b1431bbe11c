#!/usr/bin/env python3
"""Checks the built book: links and anchors inside it lead somewhere, nothing is fetched from a network, no equation failed.

    python scripts/check_book.py target/book
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {("img", "src"), ("script", "src"), ("link", "href"), ("source", "src"), ("iframe", "src")}


class Page(HTMLParser):
    """What a page names, and what it links to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[tuple[str, str, str]] = []
        self.failed_equations = text.count("katex-error")
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if value is None:
                continue
            if name in ("id", "name"):
                self.anchors.add(value)
            if name in ("href", "src"):
                self.links.append((tag, name, value))


def main() -> int:
    root = Path(sys.argv[1]).resolve()
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(root.rglob("*.html"))}
    faults, links = [], 0
    if not pages:
        faults.append(f"{root} holds no pages: build the book first, with mdbook build docs")
    for path, page in pages.items():
        where = path.relative_to(root)
        if page.failed_equations:
            faults.append(f"{where}: {page.failed_equations} equations failed")
        if where.name in ("print.html", "404.html", "toc.html"):
            continue
        for tag, attribute, link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if (tag, attribute) in FETCHED and parts.scheme != "data":
                    faults.append(f"{where}: fetches {link}")
                continue
            links += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                faults.append(f"{where}: no file for {link}")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                faults.append(f"{where}: no anchor for {link}")
    print("\n".join(faults) or f"{len(pages)} pages, {links} links, all lead somewhere")
    return 1 if faults or not links else 0


if __name__ == "__main__":
    sys.exit(main())
