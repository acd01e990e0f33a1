"""The documentation's settings."""

import importlib.metadata
import re
from typing import Any

project = "degradation-study"
author = "the authors of degradation-study"
copyright = author
try:
    release = importlib.metadata.version("degradation-study")
except importlib.metadata.PackageNotFoundError:  # read from a source tree
    release = "0.1.0"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "jupyter_execute"]
html_theme = "furo"
html_title = "degradation-study"
html_copy_source = False

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True


def plain_text(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text with `code` and *emphasis*: what else reStructuredText would read
    in them is escaped, and indented lines stand apart."""
    found: list[str] = []
    arguments = False
    for line in lines:
        arguments = line.strip() == "Args:" or (arguments and (not line or line.startswith(" ")))
        parts = re.split(r"(`[^`]*`)", line)
        text = "".join(
            f"`{part}`"
            if part.startswith("`")
            else re.sub(r"([|\\])|(?<=\w)(_)(?!\w)", r"\\\1\2", part)
            for part in parts
        )
        indented = line.startswith(" ") and not arguments
        before = found[-1] if found else ""
        if before and line and indented != before.startswith(" ") and not arguments:
            found.append("")
        found.append(text)
    lines[:] = found


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", plain_text, priority=100)
