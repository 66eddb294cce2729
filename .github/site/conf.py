"""Settings of Sphinx for the site, see `simclr_lib.authoring.site`."""

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
