"""How Sphinx builds these pages: ``sphinx-build -W --keep-going docs docs/_build``."""

from __future__ import annotations

from typing import Any

import redlock_beat

project = "redlock_beat"
author = "the authors of redlock_beat"
copyright = author
version = release = redlock_beat.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click"]
exclude_patterns = ["_build"]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
add_module_names = False
python_use_unqualified_type_names = True

# Two dashes are an option, not a dash.
smartquotes = False

html_theme = "furo"
html_title = f"redlock_beat {version}"

# `sphinx-build -b linkcheck docs docs/_build/links` asks whether the links to other sites lead somewhere.
linkcheck_ignore = [r"http://localhost", r"http://127\.0\.0\.1"]


def escaped(app: Any, ctx: Any, lines: list[str]) -> None:
    """Make help texts reStructuredText: a star means itself, and examples are commands."""
    found: list[str] = []
    for line in lines:
        if line.startswith("|   "):
            found += [] if found and found[-1].startswith("   ") else ["", ".. code-block:: console", ""]
            found.append(f"   $ {line[4:]}" if line[4:].startswith("celery ") else f"   {line[4:]}")
        else:
            found += [""] if found and found[-1].startswith("   ") and line else []
            found.append(line.removeprefix("| ").replace("*", r"\*"))
    lines[:] = found


def starred(app: Any, ctx: Any, lines: list[str]) -> None:
    """Make the help text of an option reStructuredText: a star means itself."""
    lines[:] = [line.replace("*", r"\*") for line in lines]


def setup(app: Any) -> None:
    """Hear what sphinx-click makes of the verbs."""
    app.connect("sphinx-click-process-description", escaped)
    app.connect("sphinx-click-process-options", starred)
