"""Sphinx configuration. Building these pages needs no network."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from gallery_pictures import make_pictures
from schema_page import write_schema_page

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
]
exclude_patterns = ["_build", "_gallery"]
html_theme = "furo"
html_title = f"ndx-simulation-output {version}"
myst_heading_anchors = 3
smartquotes = False  # options begin with two hyphens

autodoc_mock_imports = ["neuroconv", "nwbinspector"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_numpy_docstring = True
napoleon_google_docstring = False

write_schema_page(DOCS.parent / "spec", DOCS / "reference" / "schema.md")
make_pictures([DOCS / "gallery.md", DOCS / "tutorial" / "circuit.md"], DOCS / "_gallery")
