"""``python -m s4s_notebook.sandbox`` is ``s4s sandbox``."""

import sys

from ..cli.sandbox import serve

sys.exit(serve())
