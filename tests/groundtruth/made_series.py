"""Series of known values: six kinds of time and contrast, phantoms, and what has to be refused."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage, PositronEmissionTomographyImageStorage

from tests.imaging.make import enhanced, image, save

MR = {"Modality": "MR", "SOPClassUID": MRImageStorage, "PixelSpacing": [2, 1.5]}
PT = {"Modality": "PT", "SOPClassUID": PositronEmissionTomographyImageStorage}
DEPTHS = [0.0, 3.0, 6.0, 9.0]


@dataclass
class Made:
    """What a series was made from.

    Attributes:
        volumes: arrays [z, y, x], or the value of a phantom at points; None: to be refused.
        spacing: between slices, rows and columns; None is not compared.
    """

    volumes: list[Any] | None
    spacing: tuple[float, float, float] | None = None


def made_series() -> dict[str, Callable[[Path], Made]]:
    """Return what makes each series in a folder."""
    ways = [[1.0, 0, 0], [0, 1.0, 0], [0, 0.6, 0.8]]
    times = {
        "fMRI, no times in the headers": [{} for _ in range(5)],
        "fMRI, an AcquisitionNumber each": [{"AcquisitionNumber": n + 1} for n in range(5)],
        "three echoes": [{"EchoTime": te, "EchoNumbers": n + 1} for n, te in enumerate((4, 9, 14))],
        "echoes with a jittered time": [
            {"EchoTime": lambda z, te=te: te + z / 1e4} for te in (4, 9)
        ],
        "diffusion": [{"DiffusionBValue": 0}]
        + [{"DiffusionBValue": 800, "DiffusionGradientOrientation": way} for way in ways],
        "cine": [{"TriggerTime": 40 * n} for n in range(8)],
        "cine, another heart rate each slice": [
            {"TriggerTime": lambda z, n=n: n * (40 + z)} for n in range(8)
        ],
        "perfusion over midnight": [
            {"AcquisitionDate": d, "AcquisitionTime": t}
            for d, t in (("20240229", "235958.5"), ("20240301", "000000.5"), ("20240301", "000002"))
        ],
        "magnitude and phase": [{"ImageType": ["ORIGINAL", "PRIMARY", part]} for part in "MP"],
        "flip angles": [{"FlipAngle": angle} for angle in (3, 10, 20)],
        "inversion times": [{"InversionTime": time} for time in (300, 900)],
        "temporal positions": [{"TemporalPositionIdentifier": n + 1} for n in range(4)],
    }
    result: dict[str, Callable[[Path], Made]] = {
        name: _rows(rows, MR) for name, rows in times.items()
    }
    frames = [{"FrameReferenceTime": t} for t in (5000, 15000, 40000)]
    result["dynamic PET, uneven times"] = _rows(frames, PT)
    result["fMRI, a picture lost"] = _rows([{} for _ in range(5)], MR, lost=7)
    result["an echo, a slice lost"] = _echo_with_a_gap
    result["enhanced, b-values"] = _enhanced
    result["a copy of each under another name"] = _copies
    result["files in any order"] = _shuffled
    for angle in (15.0, -12.0, 25.0):
        result[f"phantom, gantry tilted by {angle:g}"] = _tilted(angle)
    result["phantom, oblique"] = _oblique
    return result


def _rows(
    rows: Sequence[dict[str, Any]], common: dict[str, Any], lost: int | None = None
) -> Callable[[Path], Made]:
    """Volumes of random values whose pictures differ in what a row says."""

    def make(folder: Path) -> Made:
        truth = np.random.default_rng(len(rows)).integers(0, 900, (len(rows), len(DEPTHS), 4, 6))
        number = 0
        for volume, elements in enumerate(rows):
            for z, depth in enumerate(DEPTHS):
                number += 1
                if number == lost:
                    continue
                values = {k: v(depth) if callable(v) else v for k, v in elements.items()}
                made = image(truth[volume, z].astype(np.int16), **{**common, **values},
                             InstanceNumber=number, ImagePositionPatient=[0, 0, depth])  # fmt: skip
                save(made, folder / f"{number}.dcm")
        return Made(None if lost else list(truth), None if lost else (3, *_spacing(common)))

    return make


def _spacing(common: dict[str, Any]) -> tuple[float, float]:
    down, across = common.get("PixelSpacing", (0.5, 0.75))
    return float(down), float(across)


def _echo_with_a_gap(folder: Path) -> Made:
    truth = _rows([{"EchoTime": te} for te in (4, 9)], MR)(folder)
    (folder / "8.dcm").unlink()
    assert truth.volumes is not None
    return Made([truth.volumes[0], truth.volumes[1][:3]], truth.spacing)


def _enhanced(folder: Path) -> Made:
    made = enhanced([*DEPTHS, *DEPTHS])
    for at, group in enumerate(made.PerFrameFunctionalGroupsSequence):
        item = Dataset()
        item.DiffusionBValue = 800.0 * (at // len(DEPTHS))
        group.MRDiffusionSequence = [item]
    save(made, folder / "a.dcm")
    truth = np.arange(8).repeat(24).reshape(2, 4, 4, 6)
    return Made(list(truth), (3, 0.25, 0.25))


def _copies(folder: Path) -> Made:
    truth = _rows([{}], MR)(folder)
    for path in list(folder.iterdir()):
        (folder / f"copy-{path.name}").write_bytes(path.read_bytes())
    return truth


def _shuffled(folder: Path) -> Made:
    truth = _rows([{"EchoTime": te} for te in (4, 9)], MR)(folder)
    names = [f"{letter}.dcm" for letter in random.Random(4).sample("abcdefghijkl", 8)]
    for path, name in zip(sorted(folder.iterdir()), names, strict=True):
        path.rename(folder / name)
    return truth


def blob(points: np.ndarray) -> np.ndarray:
    """A smooth phantom: its value at points in mm (LPS)."""
    away = points - np.array([16.0, 14.0, 12.0])
    return 1000 * np.exp(-(away**2).sum(axis=-1) / (2 * 6.0**2))


def _cut(folder: Path, origins: Sequence[np.ndarray], row: np.ndarray, column: np.ndarray) -> None:
    """Slices through the phantom, of 32 x 32 pixels of 1 mm."""
    rows, columns = np.mgrid[:32, :32].astype(float)
    for at, origin in enumerate(origins):
        points = origin + columns[..., None] * row + rows[..., None] * column
        made = image(
            np.rint(blob(points)).astype(np.int16), InstanceNumber=at, PixelSpacing=[1, 1],
            ImagePositionPatient=[float(v) for v in np.round(origin, 6)],
            ImageOrientationPatient=[float(v) for v in np.round([*row, *column], 9)],
        )  # fmt: skip
        save(made, folder / f"{at}.dcm")


def _tilted(angle: float) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        slope = np.tan(np.radians(angle))
        origins = [np.array([0.0, at * 3.0 * slope, at * 3.0]) for at in range(9)]
        _cut(folder, origins, np.array([1.0, 0, 0]), np.array([0, 1.0, 0]))
        return Made([blob])

    return make


def _oblique(folder: Path) -> Made:
    row, column = np.array([0.96, 0.28, 0.0]), np.array([-0.168, 0.576, 0.8])
    through = np.cross(row, column)
    _cut(folder, [through * 2.0 * at for at in range(12)], row, column)
    return Made([blob], (2, 1, 1))
