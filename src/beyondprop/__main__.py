"""`python -m beyondprop` is the command `beyondprop`."""

import sys

from beyondprop.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
