"""``python -m simclr_lib``: the same command line as ``simclr``."""

import sys

from simclr_lib.cli import main

if __name__ == "__main__":
    sys.exit(main())
