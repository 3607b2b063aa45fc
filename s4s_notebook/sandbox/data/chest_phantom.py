"""A chest CT phantom in Hounsfield units, identical in every run; 60 slices by default.

The anatomy is drawn as ellipses in millimetres. ``level`` is 0 at the apices of the lungs and 1
below the diaphragm. The patient's right is on the left of the image, and anterior is up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Pair = tuple[float, float]

SIZE = 512
SLICES = 60
SPACING = 0.74  # mm
THICKNESS = 5.0  # mm
NODULE_LEVEL = 0.37

# Hounsfield units.
AIR, LUNG, FAT, MUSCLE, WATER = -1000.0, -865.0, -105.0, 52.0, 8.0
BLOOD, LIVER, SPLEEN, MARROW, CORTEX = 42.0, 60.0, 50.0, 190.0, 780.0


class Canvas:
    """A square slice with its origin at the centre; x to the right, y downwards, in mm.

    Shapes are blended with an edge of about one millimetre (partial volume effect). Only the
    bounding box of a shape is computed, so that 60 slices take about a second.

    Args:
        size: rows and columns.
        spacing: pixel spacing in mm.
        fill: initial value in Hounsfield units.
    """

    def __init__(self, size: int, spacing: float, fill: float) -> None:
        self.size = size
        self.spacing = spacing
        self.pixels: Image = np.full((size, size), fill, dtype=np.float32)
        axis = (np.arange(size, dtype=np.float32) - (size - 1) / 2) * spacing
        self._axis = axis.astype(np.float32)

    def _box(self, centre: float, reach: float) -> slice:
        middle = (self.size - 1) / 2
        low = math.floor((centre - reach) / self.spacing + middle)
        high = math.ceil((centre + reach) / self.spacing + middle) + 1
        return slice(max(0, low), min(self.size, max(0, high)))

    def ellipse(
        self,
        centre: Pair,
        radii: Pair,
        value: float | Image,
        *,
        turn: float = 0.0,
        edge: float = 1.2,
        power: float = 2.0,
        within: Image | None = None,
        weight: float = 1.0,
    ) -> None:
        """Blend a superellipse into the slice.

        Args:
            centre: x and y in mm.
            radii: semi-axes in mm.
            value: Hounsfield units, or an image of the size of the slice.
            turn: rotation in radians.
            edge: width of the edge in mm.
            power: exponent; 2 is an ellipse, more is closer to a rectangle.
            within: mask of the slice (0 to 1) that clips the shape.
            weight: opacity from 0 to 1.
        """
        box, mask = self._mask(centre, radii, turn, edge, power)
        if within is not None:
            mask = mask * within[box]
        if weight != 1.0:
            mask = mask * np.float32(weight)
        target = self.pixels[box]
        paint = value[box] if isinstance(value, np.ndarray) else np.float32(value)
        target += mask * (paint - target)

    def _mask(
        self, centre: Pair, radii: Pair, turn: float, edge: float, power: float
    ) -> tuple[tuple[slice, slice], Image]:
        """Return the bounding box of a superellipse and its mask there."""
        reach = max(radii) + edge
        rows, columns = self._box(centre[1], reach), self._box(centre[0], reach)
        x = self._axis[columns][None, :] - np.float32(centre[0])
        y = self._axis[rows][:, None] - np.float32(centre[1])
        if turn:
            cos, sin = np.float32(math.cos(turn)), np.float32(math.sin(turn))
            x, y = x * cos + y * sin, y * cos - x * sin
        u, v = np.abs(x / np.float32(radii[0])), np.abs(y / np.float32(radii[1]))
        if power == 2.0:
            radius = np.sqrt(u * u + v * v)
        else:
            radius = (u**power + v**power) ** np.float32(1 / power)
        depth = (1 - radius) * np.float32(min(radii))
        mask: Image = np.clip(depth / np.float32(edge) + np.float32(0.5), 0, 1)
        return (rows, columns), mask

    def mask(
        self, centre: Pair, radii: Pair, *, turn: float = 0.0, edge: float = 1.2, power: float = 2.0
    ) -> Image:
        """Return a superellipse as a mask of the slice, 0 outside and 1 inside."""
        mask = np.zeros((self.size, self.size), dtype=np.float32)
        box, part = self._mask(centre, radii, turn, edge, power)
        mask[box] = part
        return mask

    def blend(self, mask: Image, value: float | Image) -> None:
        """Blend ``value`` into the slice with the weights of ``mask`` (0 to 1)."""
        self.pixels += mask * (value - self.pixels)


def band_noise(
    rng: np.random.Generator, size: int, *, low: float, high: float, sigma: float
) -> Image:
    """Return noise between two spatial frequencies (cycles per pixel), as CT reconstruction has."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    shape = frequency * np.exp(-((frequency / high) ** 2)) * (1 - np.exp(-((frequency / low) ** 2)))
    white = np.fft.rfft2(rng.standard_normal((size, size)))
    field = np.fft.irfft2(white * shape, s=(size, size))
    noise: Image = (field * (sigma / field.std())).astype(np.float32)
    return noise


def _rise(level: float, start: float, end: float) -> float:
    """Return 0 before ``start``, 1 after ``end``, and a smooth step in between."""
    t = min(1.0, max(0.0, (level - start) / (end - start)))
    return t * t * (3 - 2 * t)


_CLEAR = 18.0  # mm, around a round nodule
HEIGHT = SLICES * THICKNESS  # mm, of the whole phantom


@dataclass(frozen=True)
class Sphere:
    """A sphere in the chest: x, y from the middle of a slice and z from its top, in mm."""

    x: float
    y: float
    z: float
    radius: float

    @property
    def volume(self) -> float:
        """Volume in cubic millimetres."""
        return 4 / 3 * math.pi * self.radius**3


def sphere_share(canvas: Canvas, sphere: Sphere, index: int, thickness: float) -> Image:
    """Return how much of each voxel of a slice lies within a sphere, 0 to 1."""
    share = np.zeros((canvas.size, canvas.size), dtype=np.float32)
    steps = 8
    for step in range(steps):
        z = (index + (step + 0.5) / steps - 0.5) * thickness
        square = sphere.radius**2 - (z - sphere.z) ** 2
        if square > 0:
            radius = math.sqrt(square)
            edge = canvas.spacing
            share += canvas.mask((sphere.x, sphere.y), (radius, radius), edge=edge) / steps
    return share


class ChestPhantom:
    """Generates the slices one at a time, to limit memory.

    Args:
        seed: seed of vessels and noise: the patient.
        thickness: distance of the slices in mm.
        nodule: a round nodule of exactly known volume; None for one with spicules.
        noise: factor of the noise.
        scan: number of the scan; another number gives other noise in the same patient.
    """

    def __init__(
        self,
        seed: int = 1288992,
        *,
        thickness: float = THICKNESS,
        nodule: Sphere | None = None,
        noise: float = 1.0,
        scan: int = 0,
    ) -> None:
        self.thickness = thickness
        self.count = round(HEIGHT / thickness)
        self._round_nodule = nodule
        self._loudness = np.float32(noise)
        self._scan = scan
        self._rng = np.random.default_rng(seed)
        self._noise = [
            band_noise(self._rng, SIZE, low=0.02, high=0.16, sigma=13.0) for _ in range(4)
        ]
        texture = band_noise(self._rng, SIZE, low=0.006, high=0.05, sigma=14.0)
        depth = ((np.arange(SIZE) - SIZE / 2) * SPACING / 90).astype(np.float32)[:, None]
        # The lung of a supine patient is denser at the back.
        self._lung: Image = (LUNG + 38 * depth + texture).astype(np.float32)
        self._fat: Image = (FAT + 0.6 * texture).astype(np.float32)
        self._vessels = np.concatenate([self._vessel_tree(-1), self._vessel_tree(1)])
        if nodule is not None:  # which no vessel touches, so that its volume can be measured
            centre = np.array([nodule.x, nodule.y, nodule.z])
            away = np.linalg.norm(self._vessels[:, :3] - centre, axis=1) > _CLEAR
            self._vessels = self._vessels[away]
        self._spicules = self._rng.uniform(0.45, 1.0, 13)

    def slices(self) -> Iterator[NDArray[np.int16]]:
        """Yield the slices from head to feet in Hounsfield units, shape (512, 512)."""
        for index in range(self.count):
            yield self.slice(index)

    def slice(self, index: int) -> NDArray[np.int16]:
        """Return a slice in Hounsfield units, shape (512, 512)."""
        level = index / (self.count - 1)
        canvas = Canvas(SIZE, SPACING, AIR)
        self._table(canvas)
        self._wall(canvas, level)
        lungs = self._lungs(canvas, level)
        self._mediastinum(canvas, level)
        self._heart(canvas, level)
        self._abdomen(canvas, level, lungs)
        self._ribs(canvas, level)
        self._spine(canvas, level, int(index * self.thickness / THICKNESS + 1e-6))
        self._airways(canvas, level)
        self._draw_vessels(canvas, index, lungs)
        if self._round_nodule is None:
            self._nodule(canvas, index, lungs)
        else:
            canvas.blend(sphere_share(canvas, self._round_nodule, index, self.thickness), 34.0)
        shift = index + 17 * self._scan
        noise = np.roll(self._noise[shift % 4], (37 * shift % SIZE, 91 * shift % SIZE), (0, 1))
        hounsfield = canvas.pixels + self._loudness * noise
        pixels: NDArray[np.int16] = np.clip(np.rint(hounsfield), -1024, 3071).astype(np.int16)
        return pixels

    @staticmethod
    def _table(canvas: Canvas) -> None:
        canvas.ellipse((0, 104), (205, 62), -780, edge=1.5)
        canvas.ellipse((0, 101), (203, 61), -985, edge=1.5)

    def _wall(self, canvas: Canvas, level: float) -> None:
        half_width = 158 + 10 * _rise(level, 0.0, 0.25) + 4 * _rise(level, 0.6, 1.0)
        half_depth = 98 + 12 * _rise(level, 0.0, 0.35) + 5 * _rise(level, 0.6, 1.0)
        canvas.ellipse((0, 5), (half_width, half_depth), -15, power=2.5)
        canvas.ellipse((0, 5), (half_width - 2.2, half_depth - 2.2), self._fat, power=2.5)
        canvas.ellipse((0, 8), (half_width - 15, half_depth - 13), MUSCLE, power=2.4)
        pectoral = _rise(level, 0.02, 0.15) * (1 - _rise(level, 0.42, 0.6))
        for side in (-1, 1):
            if pectoral > 0.05:
                thick = 9 * pectoral
                canvas.ellipse((side * 66, -86), (54, thick), MUSCLE, turn=side * 0.22)
            # latissimus dorsi and fat between the layers of the chest wall
            canvas.ellipse((side * 132, 34), (5, 46), self._fat, turn=side * 0.30, edge=3)
            canvas.ellipse((side * 44, 92), (36, 11), MUSCLE, turn=side * -0.12)
            canvas.ellipse((side * 78, 80), (30, 2.4), self._fat, turn=side * -0.45, edge=3)
            shoulder = 1 - _rise(level, 0.28, 0.46)
            if shoulder > 0.1:
                canvas.ellipse(
                    (side * 112, 56), (34 * shoulder, 4.4), CORTEX - 200, turn=side * -0.85
                )
                canvas.ellipse((side * 112, 56), (32 * shoulder, 1.9), MARROW, turn=side * -0.85)
            collar = 1 - _rise(level, 0.04, 0.12)
            if collar > 0.1:
                canvas.ellipse((side * 52, -74), (46 * collar, 6), CORTEX, turn=side * -0.2)
                canvas.ellipse((side * 52, -74), (43 * collar, 3.4), MARROW, turn=side * -0.2)

    def _lung_shape(self, level: float, side: int) -> tuple[Pair, Pair]:
        grown = math.sqrt(max(0.0, min(1.0, (level - 0.015) / 0.34)))
        radii = (18 + 43 * grown, 20 + 62 * grown)
        return (side * (46 + 25 * grown), 6 - 3 * grown), radii

    def _lungs(self, canvas: Canvas, level: float) -> Image:
        """Draw the fat around both lungs and return the mask of the lungs (0 to 1)."""
        air = np.zeros((SIZE, SIZE), dtype=np.float32)
        base = 1 - _rise(level, 0.9, 1.0)
        if level < 0.02 or base <= 0.02:
            return air
        for side in (-1, 1):
            centre, radii = self._lung_shape(level, side)
            canvas.ellipse(centre, (radii[0] + 2.2, radii[1] + 2.2), self._fat, power=2.5)
            air = np.maximum(air, canvas.mask(centre, radii, power=2.5, turn=side * 0.1))
        return air

    def _mediastinum(self, canvas: Canvas, level: float) -> None:
        # The air of the lungs is blended later, around the mediastinum.
        canvas.ellipse((2, -8), (25 + 10 * _rise(level, 0.2, 0.45), 66), self._fat, power=2.6)
        if level < 0.36:
            for x, y, radius in ((-18, -18, 7.0), (14, -14, 5.2), (-4, -24, 5.6), (22, 0, 4.6)):
                canvas.ellipse((x, y), (radius, radius), BLOOD)
        if 0.31 < level < 0.42:
            canvas.ellipse((10, 4), (12, 34), BLOOD, turn=-0.5)  # aortic arch
        if 0.40 < level < 0.62:
            canvas.ellipse((-12, -26), (16, 15), BLOOD)  # ascending aorta
            canvas.ellipse((-33, -14), (8.5, 9), BLOOD)  # superior vena cava
        if 0.44 < level < 0.54:
            canvas.ellipse((16, -22), (19, 12), BLOOD, turn=-0.4)  # pulmonary trunk
            canvas.ellipse((-18, -2), (26, 7.5), BLOOD, turn=0.12)  # right pulmonary artery
            canvas.ellipse((36, 2), (16, 7), BLOOD, turn=0.7)
        if level > 0.37:
            canvas.ellipse((23, 46), (12.5, 12.5), BLOOD)  # descending aorta
            canvas.ellipse((23, 46), (13.4, 13.4), 130, weight=0.12)
        canvas.ellipse((7, 34), (7, 5), MUSCLE - 10)  # oesophagus
        canvas.ellipse((7, 34), (2.2, 1.4), -400)

    def _heart(self, canvas: Canvas, level: float) -> None:
        size = _rise(level, 0.50, 0.64) * (1 - _rise(level, 0.80, 0.90))
        if size < 0.05:
            return
        centre = (20.0, -22.0)
        canvas.ellipse(centre, (68 * size + 4, 48 * size + 4), self._fat, turn=0.5, power=2.2)
        canvas.ellipse(centre, (66 * size, 46 * size), MUSCLE - 2, turn=0.5, power=2.2)
        canvas.ellipse((34, -14), (38 * size, 25 * size), BLOOD - 4, turn=0.6, edge=6)
        canvas.ellipse((-6, -36), (32 * size, 22 * size), BLOOD - 6, turn=0.3, edge=6)
        canvas.ellipse((12, 10), (30 * size, 17 * size), BLOOD - 3, edge=5)

    def _abdomen(self, canvas: Canvas, level: float, lungs: Image) -> None:
        """Fill the lungs above the diaphragm with air, and draw the abdominal organs."""
        right, left = _rise(level, 0.66, 0.92), _rise(level, 0.72, 0.97)
        domes = np.zeros((SIZE, SIZE), dtype=np.float32)
        for side, size in ((-1, right), (1, left)):
            if size > 0.02:
                shape = ((side * (74 - 8 * size), 2 - 8 * size), (74 * size + 2, 78 * size + 2))
                domes = np.maximum(domes, canvas.mask(*shape, power=2.3, edge=2.0))
        heart_size = _rise(level, 0.50, 0.64) * (1 - _rise(level, 0.80, 0.90))
        middle = canvas.mask((2, -8), (23 + 9 * _rise(level, 0.2, 0.45), 64), power=2.6, edge=2.0)
        covered = np.maximum(domes, middle)
        spine = canvas.mask((0, 60), (25, 24), power=2.2)
        covered = np.maximum(covered, spine)
        if heart_size > 0.05:
            heart = canvas.mask(
                (20, -22), (68 * heart_size + 3, 48 * heart_size + 3), turn=0.5, power=2.2
            )
            covered = np.maximum(covered, heart)
        lungs *= 1 - covered
        canvas.blend(lungs, self._lung)
        self._organs(canvas, right, left)

    def _organs(self, canvas: Canvas, right: float, left: float) -> None:
        if right > 0.02:
            canvas.ellipse((-66, -6), (72 * right, 76 * right), LIVER, power=2.3, edge=2.0)
            for x, y, size in ((-60, -22, 6.0), (-86, 14, 4.5), (-48, 12, 5.0), (-92, -26, 3.5)):
                canvas.ellipse((x, y), (size * right, size * 0.6 * right), BLOOD - 8, edge=3)
        if left > 0.02:
            canvas.ellipse((58, -18), (64 * left, 58 * left), self._fat, power=2.3, edge=2.0)
        if left > 0.45:
            canvas.ellipse((84, 34), (32 * left, 42 * left), SPLEEN, turn=0.35, edge=2.0)
            canvas.ellipse((52, -28), (44 * left, 34 * left), MUSCLE - 15, edge=2.0)
            canvas.ellipse((52, -38), (35 * left, 19 * left), AIR + 40, edge=2.0)
            canvas.ellipse((52, -22), (38 * left, 22 * left), WATER + 12, edge=2.0)
            canvas.ellipse((23, 46), (12.5, 12.5), BLOOD)

    @staticmethod
    def _ribs(canvas: Canvas, level: float) -> None:
        """Draw the ribs, which slope down from back to front."""
        half_width = 139 - 36 * (1 - _rise(level, 0.0, 0.28))
        half_depth = 93 - 14 * (1 - _rise(level, 0.0, 0.3))
        for rib in range(13):
            start = -0.14 + rib * 0.085
            along = (level - start) / 0.30
            if not 0.0 <= along <= 1.0:
                continue
            angle = math.pi / 2 - 0.30 - along * 2.35  # from the spine round to the front
            for side in (-1, 1):
                x, y = side * half_width * math.cos(angle), 4 + half_depth * math.sin(angle)
                tangent = math.atan2(
                    half_depth * math.cos(angle), -half_width * math.sin(angle) * side
                )
                length = 15.0 if along < 0.85 else 11.0
                cortex = CORTEX if along < 0.85 else 190.0  # cartilage in front
                canvas.ellipse((x, y), (length, 4.6), cortex, turn=tangent)
                canvas.ellipse((x, y), (length - 2.2, 2.5), MARROW + 40, turn=tangent)
        if 0.08 < level < 0.62:
            sternum = 21 - 8 * _rise(level, 0.2, 0.5)
            canvas.ellipse((0, -82 - 4 * level), (sternum, 6.4), CORTEX - 260)
            canvas.ellipse((0, -82 - 4 * level), (sternum - 2.2, 4.2), MARROW - 20)

    @staticmethod
    def _spine(canvas: Canvas, level: float, index: int) -> None:
        disc = index % 5 == 4
        size = 1 + 0.18 * level
        if disc:
            canvas.ellipse((0, 60), (17 * size, 13.5 * size), 105, power=2.3)
        else:
            canvas.ellipse((0, 60), (17.5 * size, 14 * size), CORTEX - 120, power=2.3)
            canvas.ellipse((0, 60), (15.6 * size, 12.2 * size), MARROW, power=2.3, edge=1.8)
            canvas.ellipse((0, 64), (2.2, 5), 60, edge=2)  # basivertebral vein
        for side in (-1, 1):
            canvas.ellipse((side * 13, 80), (5.2, 8.5), CORTEX - 80, turn=side * -0.35)
            canvas.ellipse((side * 26, 86), (14, 4.8), CORTEX - 60, turn=side * 0.35)
            canvas.ellipse((side * 26, 86), (11.6, 2.7), MARROW, turn=side * 0.35)
            canvas.ellipse((side * 8, 93), (11, 3.6), CORTEX, turn=side * 0.55)
        canvas.ellipse((0, 100), (3.6, 9), CORTEX - 100)
        canvas.ellipse((0, 100), (1.7, 6.8), MARROW)
        canvas.ellipse((0, 82), (10.5, 8.6), FAT + 30)
        canvas.ellipse((0, 82), (8.6, 7.2), WATER + 6)
        canvas.ellipse((0, 82), (5.2, 4.2), 38)  # cord

    @staticmethod
    def _airways(canvas: Canvas, level: float) -> None:
        if level < 0.44:
            canvas.ellipse((-2, 14), (10.4, 9.6), MUSCLE - 20)
            canvas.ellipse((-2, 14), (8.8, 8.0), AIR + 8)
        elif level < 0.60:
            apart = 9 + 120 * (level - 0.44)
            for side in (-1, 1):
                radius = 7.2 - 9 * (level - 0.44)
                centre = (side * apart - 2, 14 + 10 * (level - 0.44))
                canvas.ellipse(centre, (radius + 1.4, radius + 1.0), MUSCLE - 20)
                canvas.ellipse(centre, (radius, radius - 0.6), AIR + 10)

    def _vessel_tree(self, side: int) -> NDArray[np.float64]:
        """Return the vessels of a lung as points: x, y (mm), z (mm from the top), radius (mm)."""
        points: list[tuple[float, float, float, float]] = []
        for _ in range(120):
            x, y, z = side * 36.0, 2.0, 0.49 * SLICES * THICKNESS
            heading = self._rng.normal(0, 1, 3) + np.array([side * 0.75, 0.0, 0.0])
            heading /= np.linalg.norm(heading)
            heading *= np.array([0.8, 1.0, 1.55])
            thick = self._rng.uniform(1.5, 3.4)
            length = int(self._rng.integers(30, 68))
            for step in range(length):
                heading += self._rng.normal(0, 0.10, 3)
                x, y, z = x + heading[0] * 1.5, y + heading[1] * 1.5, z + heading[2] * 1.5
                radius = thick * (1 - step / length) ** 0.75 + 0.35
                points.append((x, y, z, radius))
        return np.array(points)

    def _draw_vessels(self, canvas: Canvas, index: int, lungs: Image) -> None:
        z = index * self.thickness
        near = self._vessels[np.abs(self._vessels[:, 2] - z) < 0.75 * THICKNESS]
        for x, y, height, radius in near.tolist():
            # Partial volume: a vessel at the slice's edge is fainter.
            weight = 1 - 0.55 * abs(height - z) / THICKNESS
            canvas.ellipse((x, y), (radius, radius), BLOOD - 20, within=lungs, weight=weight)

    def _nodule(self, canvas: Canvas, index: int, lungs: Image) -> None:
        distance = (index - round(NODULE_LEVEL * SLICES)) * THICKNESS
        radius = 9.5
        if abs(distance) >= radius + 3:
            return
        across = math.sqrt(max(0.04, 1 - (distance / (radius + 3)) ** 2))
        x, y = -84.0, -18.0
        for k, reach in enumerate(self._spicules.tolist()):
            angle = 2 * math.pi * k / len(self._spicules) + 0.5 * reach
            middle = radius * across * 0.9
            tip = (x + middle * math.cos(angle), y + middle * math.sin(angle))
            length = 7.5 * reach * across
            canvas.ellipse(tip, (length, 0.9), 10, turn=angle, within=lungs, weight=0.75)
        canvas.ellipse((x, y), (radius * across, radius * 0.86 * across), 34, edge=2.2)
        canvas.ellipse((x + 3, y - 4), (radius * 0.6 * across, radius * 0.6 * across), 30, edge=2)
