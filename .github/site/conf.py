"""Settings of Sphinx for the site, see `simclr_lib.authoring.site`."""

from docutils import nodes
from latex2mathml.converter import convert

project = "SimCLR, learned by doing it"
html_title = project
author = copyright = "SimCLR by building it contributors"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"
html_theme = "furo"
html_copy_source = False
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["site.css"]

nb_execution_mode = "off"  # the outputs are those that are committed
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4
suppress_warnings = [
    "myst.header",  # a cell may begin with a heading of any level
    "mystnb.unknown_mime_type",
]

napoleon_use_ivar = True  # attributes are described once
autodoc_default_options = {"members": True}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
default_role = "py:obj"  # `name` in a docstring leads to that class or function, where the site has it

html_math_renderer = "mathml"  # which browsers draw themselves: MathJax would come from another server


def setup(app):
    """Register the renderer of formulas."""
    app.add_html_math_renderer("mathml", (formula, None), (displayed_formula, None))


def formula(self, node):
    """Write a formula within a line."""
    self.body.append(convert(node.astext()))
    raise nodes.SkipNode


def displayed_formula(self, node):
    """Write a formula on a line of its own."""
    self.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode
