"""A DICOM archive behind the sandbox: C-FIND for what there is, C-MOVE for the images.

Needs the ``pacs`` extra (pynetdicom).
"""

from .archive import PacsArchive

__all__ = ["PacsArchive"]
