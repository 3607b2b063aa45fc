"""`python -m tests.binder`: build Binder's environment, and sign in there as a visitor does."""

import sys

from tests.binder.check import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
