"""`python -m ndp_jax` is the `ndp` command."""

import sys

from ndp_command import main

if __name__ == "__main__":
    sys.exit(main())
