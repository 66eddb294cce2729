"""Programs for the authors of the pages: fill tables, execute notebooks, draw the diagram, bundle weights,
and measure what no command of ``simclr`` measures.

They read and write files of a clone of the repository, so they are not part of the installed package.
"""
