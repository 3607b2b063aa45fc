"""``python -m s4s_notebook`` is the ``s4s`` command."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
