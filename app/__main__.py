"""`python -m app` is `greenroom`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
