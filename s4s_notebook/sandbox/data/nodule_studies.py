"""A woman with a nodule in the lung: films, CT and follow-up, with known truth.

The nodule is a sphere. It is segmented, outlined and reported in the follow-up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from .chest_phantom import SIZE, SPACING, Canvas, ChestPhantom, Sphere, sphere_share
from .derived_objects import headers, write_report, write_segmentation, write_structure_set
from .phantom_files import (
    Exam,
    chest_film,
    mammogram,
    write_chest,
    write_film,
    write_mammogram,
)

SLICE = 3.0  # mm, the distance of the CT slices
SLICES = round(300 / SLICE)
_SEED = 1469713
EARLIER = Sphere(-84.0, -18.0, 111.0, 6.0)
LATER = Sphere(-84.0, -18.0, 111.0, 8.0)
VIEWS = (("R", "CC"), ("L", "CC"), ("R", "MLO"), ("L", "MLO"))


def chest(nodule: Sphere, scan: int, *, noise: float = 0.8) -> ChestPhantom:
    """Return the woman's chest with a nodule."""
    return ChestPhantom(_SEED, thickness=SLICE, nodule=nodule, noise=noise, scan=scan)


def first_ct(exam: Exam, folder: Path) -> Iterator[Path]:
    """Write the CT in which the nodule was found."""
    yield from write_chest(exam, folder, chest(EARLIER, 0), "Axial 3 mm, standard")


def follow_up_ct(exam: Exam, folder: Path) -> Iterator[Path]:
    """Write the follow-up CT, with segmentation, structure set and report of the nodule."""
    paths = list(write_chest(exam, folder, chest(LATER, 1), "Axial 3 mm, standard"))
    yield from paths
    images = headers(paths)
    yield write_segmentation(exam, folder, images, nodule_mask(LATER), 2)
    yield write_structure_set(exam, folder, images, nodule_outlines(LATER, images), 3)
    growth = 100 * (LATER.volume / EARLIER.volume - 1)
    yield write_report(
        exam,
        folder,
        images,
        (
            ("118565006", "SCT", "Volume", LATER.volume, "mm3"),
            ("81827009", "SCT", "Diameter", 2 * LATER.radius, "mm"),
        ),
        (
            ("11329-0", "History", "Nodule in the right upper lobe, found six months ago."),
            (
                "59776-5",
                "Findings",
                "The solid round nodule in the right upper lobe now measures "
                f"{2 * LATER.radius:.0f} mm, formerly {2 * EARLIER.radius:.0f} mm: its volume grew "
                f"by {growth:.0f} %. No second nodule. No effusion. Normal heart and vessels.",
            ),
            ("19005-8", "Impression", "Growing solid nodule; PET/CT is advised."),
        ),
        4,
    )


def nodule_mask(nodule: Sphere) -> NDArray[np.bool_]:
    """Return the voxels of which at least half lies within the nodule."""
    canvas = Canvas(SIZE, SPACING, 0)
    masks = np.zeros((SLICES, SIZE, SIZE), dtype=np.bool_)
    for index in range(SLICES):
        if abs(index * SLICE - nodule.z) < nodule.radius + SLICE:
            masks[index] = sphere_share(canvas, nodule, index, SLICE) >= 0.5
    return masks


def nodule_outlines(nodule: Sphere, images: list[Dataset]) -> list[tuple[int, NDArray[np.float64]]]:
    """Return the circle in which each slice cuts the nodule, in patient coordinates (mm)."""
    outlines = []
    turns = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    for index in range(SLICES):
        square = nodule.radius**2 - (index * SLICE - nodule.z) ** 2
        if square > 0:
            radius = math.sqrt(square)
            z = float(images[index].ImagePositionPatient[2])
            x, y = nodule.x + radius * np.cos(turns), nodule.y + radius * np.sin(turns)
            outlines.append((index, np.stack([x, y, np.full_like(x, z)], axis=1)))
    return outlines


def first_film(exam: Exam, folder: Path) -> Iterator[Path]:
    """Write the chest film that came before the CT."""
    yield write_film(exam, folder, chest_film(chest(EARLIER, 0), 20180528))


def mammograms(exam: Exam, folder: Path) -> Iterator[Path]:
    """Write both views of both breasts; a mass in the left one is seen in 2018 alone."""
    for number, (side, view) in enumerate(VIEWS, start=1):
        mass = 9.0 if side == "L" and exam.date >= "2018" else 0.0
        image = mammogram(_SEED + number, left=side == "L", view=view, mass=mass)
        yield write_mammogram(exam, folder, image, number, side, view)
