"""Links of the documentation: from docstrings to the page of errors, and a check of all of them."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

from ndx_simulation_output import errors

__all__ = ["link_errors", "report_dead_links"]

_log = logging.getLogger(__name__)


def link_errors(
    app: Sphinx, _: BuildEnvironment, node: pending_xref, text: nodes.TextElement
) -> nodes.reference | None:
    """Return a link to the page of errors, if a docstring names one of them."""
    if node["reftarget"].rpartition(".")[2] not in errors.__all__:
        return None
    return make_refnode(app.builder, node["refdoc"], "reference/errors", None, text)


class _Page(HTMLParser):
    """The anchors and links of an HTML page, whether made from Markdown, directives or HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors, self.links = {"", "top"}, set[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and (name == "id" or (tag == "a" and name == "name")):
                self.anchors.add(value)
            elif value and name in {"href", "src"}:
                self.links.add(value)


def report_dead_links(app: Sphinx, error: Exception | None) -> None:
    """Warn of each link of a finished page whose page, file or anchor does not exist."""
    if error is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in out.rglob("*.html")}
    # viewcode lists modules there of which it can make no page. No page links to the list.
    pages[out / "_modules" / "index.html"] = _Page("")
    for path, page in pages.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.exists() or (target in pages and anchor not in pages[target].anchors):
                _log.warning("dead link to %s", link, location=str(path.relative_to(out)))
