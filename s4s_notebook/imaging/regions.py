"""Regions of a picture: which pixels lie inside a polygon, rectangle or ellipse.

Points are (column, row); whole numbers are the centres of pixels. A pixel is inside where its
centre is, by the even-odd rule. A centre on an edge is inside at the left and upper edge and
outside at the right and lower one, so that regions side by side share no pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .windows import Floats

Point = tuple[float, float]
Bits = NDArray[np.bool_]


def filled(outlines: Sequence[Floats], shape: tuple[int, int]) -> Bits:
    """Return which pixel centres lie inside an odd number of closed outlines.

    Args:
        outlines: points x 2, (column, row); the last point is joined to the first.
        shape: rows and columns of the picture.
    """
    rows, columns = shape
    starts = np.concatenate([np.asarray(outline, np.float64) for outline in outlines])
    ends = np.concatenate([np.roll(outline, -1, axis=0) for outline in outlines])
    low, high = (
        np.clip(np.ceil(part), 0, rows).astype(np.intp)
        for part in (np.minimum(starts[:, 1], ends[:, 1]), np.maximum(starts[:, 1], ends[:, 1]))
    )
    crossed = high - low  # how many rows of pixel centres each edge crosses
    edge = np.repeat(np.arange(len(crossed)), crossed)
    row = low[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(crossed) - crossed, crossed)
    way = ends[edge] - starts[edge]
    across = starts[edge, 0] + (row - starts[edge, 1]) * (way[:, 0] / way[:, 1])
    result = np.zeros(shape, np.bool_)
    if not len(row):
        return result
    # Each crossing turns over all pixels of its row to the left of it.
    until = np.clip(np.ceil(across), 0, columns).astype(np.intp)
    top, wide = int(row.min()), int(until.max())
    turned = np.zeros((int(row.max()) - top + 1, wide + 1), np.int32)
    np.add.at(turned, (row - top, until), 1)
    right = np.cumsum(turned[:, ::-1], axis=1)[:, ::-1]  # crossings at a column or beyond
    result[top : top + len(turned), :wide] = right[:, 1:] % 2 == 1
    return result


@dataclass(frozen=True)
class Polygon:
    """A polygon through points (column, row); it closes itself.

    Raises:
        ValueError: there are fewer than three points, or one is no pair of finite numbers.
    """

    points: Sequence[Point]

    def __post_init__(self) -> None:
        _check(self.points, 3)

    @property
    def outline(self) -> Floats:
        """The corners, points x 2."""
        return np.array(self.points, np.float64)

    @property
    def pixels(self) -> float:
        """What the outline holds, in pixels, by its geometry."""
        x, y = self.outline.T
        return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2

    def mask(self, shape: tuple[int, int]) -> Bits:
        """Return which pixels of a picture of (rows, columns) are inside."""
        return filled([self.outline], shape)


@dataclass(frozen=True)
class Rectangle:
    """An upright rectangle between two opposite corners (column, row).

    Raises:
        ValueError: a corner is no pair of finite numbers, or both are on one line.
    """

    corner: Point
    opposite: Point

    def __post_init__(self) -> None:
        _check((self.corner, self.opposite), 2)
        if self.corner[0] == self.opposite[0] or self.corner[1] == self.opposite[1]:
            raise ValueError("The corners of a rectangle lie apart both ways.")

    @property
    def outline(self) -> Floats:
        """The corners, 4 x 2."""
        (x0, y0), (x1, y1) = self.corner, self.opposite
        return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float64)

    @property
    def pixels(self) -> float:
        """What the outline holds, in pixels, by its geometry."""
        (x0, y0), (x1, y1) = self.corner, self.opposite
        return abs((x1 - x0) * (y1 - y0))

    def mask(self, shape: tuple[int, int]) -> Bits:
        """Return which pixels of a picture of (rows, columns) are inside."""
        return filled([self.outline], shape)


@dataclass(frozen=True)
class Ellipse:
    """An ellipse; a pixel centre on its edge is inside.

    Attributes:
        center: (column, row).
        radii: half of its width and height, in pixels, before it is turned.
        angle: degrees by which it is turned, from the columns' direction to the rows'.

    Raises:
        ValueError: a number is not finite, or a radius is not above 0.
    """

    center: Point
    radii: Point
    angle: float = 0.0

    def __post_init__(self) -> None:
        _check((self.center, self.radii, (self.angle, 0.0)), 3)
        if min(self.radii) <= 0:
            raise ValueError("The radii of an ellipse are above 0.")

    @property
    def outline(self) -> Floats:
        """The ends of its upright box, 2 x 2."""
        turn = math.radians(self.angle)
        (a, b), (cos, sin) = self.radii, (math.cos(turn), math.sin(turn))
        half = np.array([math.hypot(a * cos, b * sin), math.hypot(a * sin, b * cos)])
        return np.stack([self.center - half, self.center + half])

    @property
    def pixels(self) -> float:
        """What the outline holds, in pixels, by its geometry."""
        return math.pi * self.radii[0] * self.radii[1]

    def mask(self, shape: tuple[int, int]) -> Bits:
        """Return which pixels of a picture of (rows, columns) are inside."""
        turn = math.radians(self.angle)
        across = np.arange(shape[1]) - self.center[0]
        down = (np.arange(shape[0]) - self.center[1])[:, None]
        along = (across * math.cos(turn) + down * math.sin(turn)) / self.radii[0]
        beside = (down * math.cos(turn) - across * math.sin(turn)) / self.radii[1]
        return np.asarray(along**2 + beside**2 <= 1.0, np.bool_)


@dataclass(frozen=True)
class Line:
    """A line between two points (column, row), which has a length and a profile.

    Raises:
        ValueError: a point is no pair of finite numbers, or both are one.
    """

    start: Point
    end: Point

    def __post_init__(self) -> None:
        _check((self.start, self.end), 2)
        if tuple(self.start) == tuple(self.end):
            raise ValueError("The ends of a line are two points.")


Shape = Polygon | Rectangle | Ellipse


def _check(points: Sequence[Sequence[float]], least: int) -> None:
    pairs = [tuple(point) for point in points]
    if len(pairs) < least or any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"Give at least {least} points, each (column, row).")
    if not all(math.isfinite(number) for pair in pairs for number in pair):
        raise ValueError("Points are finite numbers.")
