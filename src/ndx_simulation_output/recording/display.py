"""HTML summaries for notebooks. The package hooks in the function that draws them."""

from functools import singledispatch


@singledispatch
def html_summary(shown: object, name: str = "") -> str:
    """Return HTML that shows an object under ``name``; empty if nothing is hooked in.

    Summaries are drawn by ``plots``, a layer above this one. The package registers a function for
    ``object`` that imports it when the first summary is shown.
    """
    del shown, name
    return ""
