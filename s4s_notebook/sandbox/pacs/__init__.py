"""A PACS as the archive of the sandbox: C-FIND for the studies, C-MOVE for their images.

Needs the ``pacs`` extra (pynetdicom).
"""

from .archive import PacsArchive

__all__ = ["PacsArchive"]
