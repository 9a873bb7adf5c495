"""The page as one file, which opens without a server."""

from collections.abc import Sequence
from pathlib import Path

from bokeh.document import Document
from bokeh.embed import file_html
from bokeh.resources import INLINE

from ndx_simulation_output.files import atomic_file
from ndx_simulation_output.viewer.page import open_page
from ndx_simulation_output.viewer.session import Downloads, ViewedFile


def save_page(
    files: Sequence[ViewedFile], path: str | Path, query: str = "", *, overwrite: bool = False
) -> Path:
    """Write what the page shows first, or in the state of ``query``, to an HTML file.

    The file holds the reduced data that are drawn, and says so.

    Raises
    ------
    SourceError
        If the file cannot be read.
    TargetExistsError
        If the target exists and ``overwrite`` is false.
    WriteError
        If the target cannot be written.

    """
    path = Path(path)
    with atomic_file(path, overwrite=overwrite) as temporary:
        with files[0].open():
            pass  # An error of the file is not a page.
        document = Document()
        open_page(document, files, Downloads(), query, is_saved=True)
        html = file_html(
            document,
            INLINE,
            document.title,
            template=document.template,
            template_variables=document.template_variables,
            suppress_callback_warning=True,
        )
        temporary.write_text(html, "utf-8")
    for file in files:
        file.close()
    return path
