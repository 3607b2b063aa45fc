"""``python -m s4s_notebook.sandbox`` is ``s4s sandbox``."""

import sys

from s4s_notebook.sandbox.serving import serve

sys.exit(serve())
