"""DICOM files → arrays → pictures: sorting, grey levels, plot.

Nothing is decoded before it is looked at, and matplotlib is loaded by ``plot`` alone.
"""

from .frame import Frame
from .greys import render
from .series import Series
from .study import Study, read
from .windows import PRESETS, Table, Window

__all__ = [
    "PRESETS",
    "Frame",
    "Series",
    "Study",
    "Table",
    "Window",
    "read",
    "render",
]
