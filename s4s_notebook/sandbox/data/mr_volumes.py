"""Phantoms of a head and a knee as tissue maps, and their MR and CT values.

Each voxel has one tissue. Axes of the arrays: slices, rows, columns. Positions are in mm in the
patient's axes: x to the left, y to the back, z to the head.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Tissues = NDArray[np.uint8]
(
    AIR,
    SKIN_FAT,
    BONE,
    MARROW,
    CSF,
    GREY,
    WHITE,
    DEEP_GREY,
    MUSCLE,
    EYE,
    LESION,
    CARTILAGE,
    FLUID,
    FIBRE,
    VESSEL,
    MUCOSA,
) = range(16)

# Signal of the tissues in three weightings of the head, and in a fat-saturated knee.
T1 = {SKIN_FAT: 900, BONE: 45, MARROW: 430, CSF: 130, GREY: 420, WHITE: 610, DEEP_GREY: 480}
T1 |= {MUSCLE: 330, EYE: 150, LESION: 330, VESSEL: 90, MUCOSA: 380}
T2 = {SKIN_FAT: 600, BONE: 40, MARROW: 260, CSF: 950, GREY: 430, WHITE: 300, DEEP_GREY: 350}
T2 |= {MUSCLE: 150, EYE: 930, LESION: 780, VESSEL: 60, MUCOSA: 620}
FLAIR = {SKIN_FAT: 520, BONE: 40, MARROW: 230, CSF: 70, GREY: 480, WHITE: 370, DEEP_GREY: 420}
FLAIR |= {MUSCLE: 190, EYE: 90, LESION: 900, VESSEL: 60, MUCOSA: 500}
KNEE = {SKIN_FAT: 150, BONE: 40, MARROW: 190, MUSCLE: 310, CARTILAGE: 640, FLUID: 960}
KNEE |= {FIBRE: 45, VESSEL: 480}
# Hounsfield units of the head.
CT = {AIR: -1000, SKIN_FAT: -90, BONE: 1150, MARROW: 550, CSF: 7, GREY: 39, WHITE: 30}
CT |= {DEEP_GREY: 38, MUSCLE: 55, EYE: 12, LESION: 22, VESSEL: 45, MUCOSA: 40}

LESION_CENTRE = (30.0, -26.0, 42.0)
LESION_RADIUS = 7.0
LESION_VOLUME = 4 / 3 * math.pi * LESION_RADIUS**3


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigmas: Floats) -> Floats:
    """Return noise with unit deviation, smoothed by a Gaussian of ``sigmas`` voxels an axis."""
    spectrum = np.fft.rfftn(rng.standard_normal(shape, dtype=np.float32))
    for axis, (size, sigma) in enumerate(zip(shape, sigmas, strict=True)):
        last = axis == len(shape) - 1
        frequency = np.fft.rfftfreq(size) if last else np.fft.fftfreq(size)
        weights = np.exp(-2 * (math.pi * float(sigma) * frequency) ** 2)
        spectrum *= weights.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    field = np.fft.irfftn(spectrum, s=shape, axes=range(len(shape)))
    noise: Floats = (field / field.std()).astype(np.float32)
    return noise


class _Painter:
    """Paints ellipsoids into a tissue map."""

    def __init__(self, x: Floats, y: Floats, z: Floats) -> None:
        self.x, self.y, self.z = x, y, z
        self.map: Tissues = np.zeros(np.broadcast_shapes(x.shape, y.shape, z.shape), np.uint8)

    def inside(
        self,
        centre: tuple[float, float, float],
        radii: tuple[float, float, float],
        *,
        power: float = 2.0,
        tilt: float = 0.0,
    ) -> NDArray[np.bool_]:
        """Return the voxels of an ellipsoid; ``tilt`` turns it about the x axis (radians)."""
        return self.radius(centre, radii, power=power, tilt=tilt) <= 1

    def radius(
        self,
        centre: tuple[float, float, float],
        radii: tuple[float, float, float],
        *,
        power: float = 2.0,
        tilt: float = 0.0,
    ) -> Floats:
        """Return the distance from the centre, 1 on the surface (to the power ``power``)."""
        x, y, z = self.x - centre[0], self.y - centre[1], self.z - centre[2]
        if tilt:
            cos, sin = math.cos(tilt), math.sin(tilt)
            y, z = y * cos + z * sin, z * cos - y * sin
        u, v, w = np.abs(x / radii[0]), np.abs(y / radii[1]), np.abs(z / radii[2])
        total: Floats = (u**power + v**power + w**power).astype(np.float32)
        return total

    def paint(self, where: NDArray[np.bool_], tissue: int) -> None:
        self.map[where] = tissue

    def ellipsoid(
        self,
        centre: tuple[float, float, float],
        radii: tuple[float, float, float],
        tissue: int,
        **options: float,
    ) -> None:
        self.paint(self.inside(centre, radii, **options), tissue)

    def pair(
        self,
        centre: tuple[float, float, float],
        radii: tuple[float, float, float],
        tissue: int,
        **options: float,
    ) -> None:
        """Paint an ellipsoid on both sides."""
        for side in (-1, 1):
            self.ellipsoid((side * centre[0], centre[1], centre[2]), radii, tissue, **options)


def axes(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], bottom: float
) -> tuple[Floats, Floats, Floats]:
    """Return x, y and z of axial slices as arrays that broadcast.

    Args:
        shape: slices, rows, columns; the first slice is the lowest.
        spacing: of slices, rows, columns in mm.
        bottom: z of the first slice in mm.
    """
    z = (bottom + spacing[0] * np.arange(shape[0], dtype=np.float32))[:, None, None]
    y = (spacing[1] * (np.arange(shape[1], dtype=np.float32) - (shape[1] - 1) / 2))[None, :, None]
    x = (spacing[2] * (np.arange(shape[2], dtype=np.float32) - (shape[2] - 1) / 2))[None, None, :]
    return x.astype(np.float32), y.astype(np.float32), z.astype(np.float32)


def head(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], bottom: float, seed: int
) -> Tissues:
    """Return a head with folded cortex, ventricles, deep nuclei, cerebellum, eyes and a lesion."""
    x, y, z = axes(shape, spacing, bottom)
    painter = _Painter(x, y, z)
    rng = np.random.default_rng(seed)
    sigmas = np.array([3.4 / spacing[0], 3.0 / spacing[1], 3.0 / spacing[2]], np.float32)
    folds = smooth_noise(rng, shape, sigmas)
    _shell(painter)
    skull = painter.inside((0, 2, 24), (70, 88, 66), power=2.3)
    base = (z < -13 + 0.16 * y) & (y < 14)
    painter.paint(skull, CSF)
    painter.paint(skull & base, MARROW)
    painter.paint(skull & base & (folds > 0.55), BONE)
    painter.paint(skull & base & (y < -20) & (np.abs(x) < 16), AIR)  # ethmoid and sphenoid cells
    cerebrum = (0.0, 1.0, 26.0)
    radius = painter.radius(cerebrum, (68.6, 86.3, 63.0), power=2.3)
    tentorium = np.where(y > 14, -9 - 0.08 * (y - 14), -9 + 0.16 * np.minimum(y, 0))
    above = (z > tentorium) | painter.inside((42, -14, -12), (25, 36, 21))
    above = above | painter.inside((-42, -14, -12), (25, 36, 21))
    brain = (radius + 0.035 * folds <= 1) & above
    depth = np.clip(1 - radius, 0, 1)
    sulci = (np.abs(folds) < 0.21 - 0.36 * depth) & brain
    cortex = (np.abs(folds) < 0.98 - 1.15 * depth) | (depth < 0.10)
    painter.paint(brain, WHITE)
    painter.paint(brain & cortex, GREY)
    painter.paint(sulci, CSF)
    fissure = (np.abs(x + 0.8 * np.sin(y / 9)) < 1.1) & brain & ((z > 38) | (y < -34) | (y > 42))
    painter.paint(fissure, CSF)
    _inner_brain(painter, brain)
    _posterior_fossa(painter)
    painter.ellipsoid(LESION_CENTRE, (LESION_RADIUS,) * 3, LESION)
    return painter.map


def _shell(painter: _Painter) -> None:
    """Paint skin, skull with its marrow, face, eyes and neck."""
    outer = painter.inside((0, 2, 16), (80, 99, 84), power=2.25)
    neck = painter.inside((0, 22, -70), (58, 62, 110), power=2.6)
    face = painter.inside((0, -48, -52), (58, 52, 62), power=2.4)
    painter.paint(outer | neck | face, SKIN_FAT)
    painter.ellipsoid((0, 22, -70), (52, 56, 108), MUSCLE, power=2.6)
    painter.ellipsoid((0, -46, -52), (50, 44, 56), MUSCLE, power=2.4)
    painter.ellipsoid((0, 2, 24), (76, 94, 72), BONE, power=2.3)
    painter.ellipsoid((0, 2, 24), (74.2, 92.2, 70.2), MARROW, power=2.3)
    painter.ellipsoid((0, 2, 24), (72.0, 90.0, 68.0), BONE, power=2.3)
    painter.pair((30, -78, -22), (17, 20, 16), SKIN_FAT)
    painter.pair((31, -80, -22), (12.2, 12.2, 12.2), EYE)
    painter.pair((26, -62, -22), (2.4, 12, 2.4), WHITE, tilt=0.1)
    painter.pair((30, -55, -52), (17, 17, 18), AIR)  # maxillary sinuses
    painter.ellipsoid((0, -80, -2), (22, 7, 11), AIR)  # frontal sinus
    painter.ellipsoid((0, -64, -44), (8, 24, 24), AIR)
    painter.ellipsoid((0, -64, -44), (2, 22, 22), MUCOSA)
    painter.pair((5, -62, -48), (2.2, 18, 8), MUCOSA)
    painter.pair((52, 26, -28), (11, 15, 13), BONE)  # petrous bones


def _inner_brain(painter: _Painter, brain: NDArray[np.bool_]) -> None:
    core = painter.inside((0, 6, 20), (36, 46, 24)) & brain
    painter.paint(core & (painter.map == CSF), WHITE)
    painter.paint(core & (painter.map == GREY), WHITE)
    painter.pair((12, -10, 25), (5.5, 18, 10), DEEP_GREY)
    painter.pair((25, 0, 17), (5.5, 18, 11), DEEP_GREY, tilt=0.05)
    painter.pair((10.5, 12, 16), (9, 14, 8.5), DEEP_GREY)
    painter.pair((36, 2, 16), (2.4, 22, 14), GREY)
    painter.pair((39.5, 2, 16), (1.6, 22, 14), CSF)
    painter.pair((9.0, -4, 32), (5.2, 34, 7.2), CSF, tilt=-0.10)
    painter.pair((15, 34, 22), (6.0, 15, 9), CSF, tilt=0.4)
    painter.pair((29, 14, -4), (3.0, 18, 3.4), CSF, tilt=0.3)
    painter.ellipsoid((0, 8, 14), (2.0, 13, 9), CSF)
    painter.ellipsoid((0, -4, 41), (22, 36, 3.0), WHITE)  # corpus callosum
    painter.ellipsoid((0, 0, 33), (1.0, 26, 7), WHITE)  # septum


def _posterior_fossa(painter: _Painter) -> None:
    leaves = np.sin((painter.y * 0.55 + painter.z * 0.9) + 0.02 * painter.x**2 / 10)
    cerebellum = painter.inside((0, 48, -28), (49, 30, 22), power=2.2)
    painter.paint(painter.inside((0, 48, -28), (51, 32, 24), power=2.2), CSF)
    painter.paint(cerebellum, GREY)
    painter.paint(cerebellum & (leaves > 0.72), CSF)
    painter.pair((20, 44, -28), (17, 15, 10), WHITE)
    painter.ellipsoid((0, 20, -24), (15, 14, 30), CSF)
    painter.ellipsoid((0, 18, -22), (13, 12, 17), WHITE)  # pons
    painter.ellipsoid((0, 26, -52), (7.5, 7, 34), WHITE)  # medulla and cord
    painter.ellipsoid((0, 16, -2), (15, 12, 10), WHITE)  # midbrain
    painter.ellipsoid((0, 34, -24), (7, 5, 9), CSF)  # fourth ventricle
    painter.ellipsoid((0, 3, -21), (1.9, 1.9, 16), VESSEL)  # basilar artery


def knee(seed: int) -> Tissues:
    """Return a knee as 40 sagittal slices of 256 x 256 (3 mm, 0.6 mm), lateral first.

    Axes: slices to the left, rows downwards, columns to the back.
    """
    count, size, step, fine = 40, 256, 3.0, 0.6
    x = (step * (np.arange(count, dtype=np.float32) - (count - 1) / 2))[:, None, None]
    z = (-fine * (np.arange(size, dtype=np.float32) - (size - 1) / 2))[None, :, None]
    y = (fine * (np.arange(size, dtype=np.float32) - (size - 1) / 2))[None, None, :]
    painter = _Painter(x, y, z)
    rng = np.random.default_rng(seed)
    shape = (count, size, size)
    strands = smooth_noise(rng, shape, np.array([0.8, 9.0, 1.6], np.float32))
    leg = ((x / 58) ** 2 + ((y - 4) / (56 + 0.05 * np.abs(z))) ** 2 <= 1) & (np.abs(z) < 80)
    painter.paint(leg, SKIN_FAT)
    for side in (-1, 1):
        belly = ((x - side * 23) / 23) ** 2 + ((y - 36) / 17) ** 2 <= 1
        painter.paint(belly & (strands < 1.7), MUSCLE)
    for start, direction, x0, y0 in ((14, 1, 0, -18), (-26, -1, -24, -12), (-34, -1, 16, 16)):
        grown = np.sqrt(np.clip(direction * (z - start) / 46, 0, 1)) + 1e-3
        belly = ((x - x0) / (42 * grown)) ** 2 + ((y - y0) / (24 * grown)) ** 2 <= 1
        painter.paint(belly & leg & (strands < 1.7), MUSCLE)
    painter.paint(painter.inside((3, 38, 0), (4, 3.4, 95), power=4), VESSEL)
    painter.paint((np.abs(x) < 14) & (np.abs(y + 42 + 0.05 * z) < 2.6) & (z > 30), FIBRE)
    painter.ellipsoid((0, -32, 34), (20, 4.0, 16), FLUID)
    _bones(painter)
    return painter.map


def _bones(painter: _Painter) -> None:
    x, y, z = painter.x, painter.y, painter.z
    condyles = ((22.0, 3.0, 14.0), (22.0, 30.0, 22.5))
    for extra, tissue in ((2.6, CARTILAGE), (0.0, BONE), (-1.4, MARROW)):
        radii = (21.0 + extra, 27.5 + extra, 22.5 + extra)
        painter.pair(condyles[0], radii, tissue, power=2.2)
        if tissue != CARTILAGE:
            shaft = (np.abs(x) / (17 + extra)) ** 2 + (np.abs(y + 4) / (14 + extra)) ** 2 <= 1
            flare = (np.abs(x) / (36 + extra)) ** 2 + (np.abs(y + 1) / (18 + extra)) ** 2 <= 1
            painter.paint(shaft & (z > 20), tissue)
            painter.paint(flare & (z > 16) & (z < 34), tissue)
    painter.ellipsoid((0, 16, 2), (8, 18, 17), SKIN_FAT, power=3)
    plateau = ((np.abs(x) / 40) ** 2.4 + (np.abs(y - 3) / 27) ** 2.4) <= 1
    for extra, tissue in ((0.0, CARTILAGE), (2.6, BONE), (4.0, MARROW)):
        low = ((np.abs(x) / (17 + 21 * np.clip((z + 66) / 44, 0, 1) - extra / 2)) ** 2) + (
            (np.abs(y - 1) / (14 + 12 * np.clip((z + 66) / 44, 0, 1) - extra / 2)) ** 2
        ) <= 1
        top = -11.5 - extra
        painter.paint(low & (z < top - 6), tissue if tissue != CARTILAGE else BONE)
        painter.paint(plateau & (z < top) & (z > -24 + extra / 3), tissue)
    gap = (z < -8.2) & (z > -11.5) & plateau & (np.abs(x) > 6)
    painter.paint(gap & (painter.map == SKIN_FAT), FLUID)
    for front in (-1, 1):
        wedge = (front * (y - 3) > 8) & (front * (y - 3) < 25) & (np.abs(x) > 8) & (np.abs(x) < 38)
        height = 0.34 * (front * (y - 3) - 8)
        painter.paint(wedge & (np.abs(z + 10.2) < height) & (painter.map != BONE), FIBRE)
    painter.ellipsoid((0, -43, 12), (21, 11, 21), CARTILAGE, power=2.3)
    painter.ellipsoid((0, -44.5, 12), (21, 9.6, 20.5), BONE, power=2.3)
    painter.ellipsoid((0, -44.5, 12), (19.5, 8.0, 19), MARROW, power=2.3)
    tendon = (np.abs(y + 47 - 0.24 * (z + 40)) < 2.4) & (z < -6) & (z > -46) & (np.abs(x) < 13)
    painter.paint(tendon, FIBRE)
    cross = (np.abs(x) < 4.5) & (z > -14) & (z < 12)
    painter.paint(cross & (np.abs(y - 6 - 0.62 * (z - 2)) < 3.0), FIBRE)
    arch = (y - 9) ** 2 + (z + 7) ** 2
    painter.paint(cross & (arch < 17.5**2) & (arch > 13.2**2) & (y > 8), FIBRE)


def signal(
    tissues: Tissues,
    values: Mapping[int, float],
    seed: int,
    *,
    noise: float = 13.0,
    coil: float = 0.12,
) -> NDArray[np.uint16]:
    """Return MR magnitudes: blurred signal, an uneven coil, and Rician noise.

    Args:
        tissues: the tissue map.
        values: signal of each tissue; others have none.
        seed: seed of the noise.
        noise: its standard deviation.
        coil: how uneven the coil's sensitivity is.
    """
    rng = np.random.default_rng(seed)
    grain = smooth_noise(rng, tissues.shape, np.array([0.5, 1.3, 1.3], np.float32))
    image = softened(values_of(tissues, values) * (1 + 0.035 * grain))
    rows = np.linspace(-1, 1, image.shape[1], dtype=np.float32)[None, :, None]
    columns = np.linspace(-1, 1, image.shape[2], dtype=np.float32)[None, None, :]
    image *= 1 + coil * (rows**2 + columns**2) - coil * 0.6 * rows
    real = image + rng.normal(0, noise, image.shape).astype(np.float32)
    other = rng.normal(0, noise, image.shape).astype(np.float32)
    magnitudes: NDArray[np.uint16] = np.clip(np.hypot(real, other), 0, 4095).astype(np.uint16)
    return magnitudes


def values_of(tissues: Tissues, values: Mapping[int, float]) -> Floats:
    """Return the value of each voxel's tissue."""
    table = np.zeros(16, np.float32)
    for tissue, value in values.items():
        table[tissue] = value
    return table[tissues]


def softened(image: Floats) -> Floats:
    """Return an image with its edges softened within each slice."""
    for axis in (1, 2):
        image = 0.25 * np.roll(image, 1, axis) + 0.5 * image + 0.25 * np.roll(image, -1, axis)
    return image
