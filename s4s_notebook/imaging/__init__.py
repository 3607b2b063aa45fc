"""DICOM files → arrays → pictures: sorting, grey levels, plot.

Nothing is decoded before it is looked at, and matplotlib is loaded by ``plot`` alone.
"""

from .frame import Frame
from .instance import Instance, render
from .regions import Ellipse, Line, Polygon, Rectangle
from .series import Series
from .study import Study, read
from .windows import PRESETS, Table, Window

__all__ = [
    "PRESETS",
    "Ellipse",
    "Frame",
    "Instance",
    "Line",
    "Polygon",
    "Rectangle",
    "Series",
    "Study",
    "Table",
    "Window",
    "read",
    "render",
]
