"""`python -m lipsync_core.cli`."""

import sys

from lipsync_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
