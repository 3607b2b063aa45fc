"""DICOM files → arrays → pictures: sorting, grey levels, plot.

Nothing is decoded before it is looked at, and matplotlib is loaded by ``plot`` alone.
"""

from .frame import Frame
from .instance import Instance, render
from .series import Series
from .study import Study, read
from .windows import PRESETS, Table, Window

__all__ = ["PRESETS", "Frame", "Instance", "Series", "Study", "Table", "Window", "read", "render"]
