"""Configuration of the documentation."""

import sys
from pathlib import Path

import mlcnn

sys.path.insert(0, str(Path(__file__).parent))

project = "mlcnn"
author = "the mlcnn authors"
copyright = author
version = release = mlcnn.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxcontrib.bibtex",
    "mathml",
]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "amsmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_math_renderer = "mathml"
html_theme = "furo"
html_title = "mlcnn"
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "unsrt"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
# Types of other packages are not linked: their inventories would have to be downloaded.
nitpicky = False
