"""Sphinx configuration. Building these pages needs no network."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from gallery_pictures import make_pictures
from links import link_errors, report_dead_links
from schema_page import write_schema_page
from sphinx.application import Sphinx

DOCS = Path(__file__).parent

project = "ndx-simulation-output"
author = "ndx-simulation-output developers"
project_copyright = f"2026, {author}"
version = release = installed_version("ndx-simulation-output")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "_gallery"]
html_theme = "furo"
html_title = f"ndx-simulation-output {version}"
html_static_path = ["_static"]
html_css_files = ["page.css"]
myst_enable_extensions = ["colon_fence"]
# Names of this package in the reference must be documented; those of others have no pages here.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!ndx_simulation_output).*"),
    ("py:.*", r"ndx_simulation_output\..*\.(Communicator|Groups|HowStored|KeyCounts)"),
    (
        "py:.*",
        r"ndx_simulation_output\..*\.(Contents|LaterNotes|PreparedData|Recorded|SpikeSource|Undo)",
    ),
]
myst_heading_anchors = 3
smartquotes = False  # options begin with two hyphens

# Copy commands without their prompts, and without what they print.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_line_continuation_character = "\\"

autodoc_mock_imports = ["neuroconv", "nwbinspector"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = True
napoleon_google_docstring = False

write_schema_page(DOCS.parent / "spec", DOCS / "reference" / "schema.md")
make_pictures([DOCS / "gallery.md", DOCS / "tutorial" / "circuit.md"], DOCS / "_gallery")


def setup(app: Sphinx) -> None:
    """Link docstrings to the page of errors, and check the links of the finished pages."""
    app.connect("missing-reference", link_errors)
    app.connect("build-finished", report_dead_links)
