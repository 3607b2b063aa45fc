"""A DICOM archive behind the sandbox: C-FIND for what there is, C-MOVE for the images.

Needs the ``pacs`` extra (pynetdicom).
"""

from .images import PacsImages

__all__ = ["PacsImages"]
