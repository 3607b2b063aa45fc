"""Every series of pydicom's and pydicom-data's files as volumes, beside dcm2niix and SimpleITK.

Made series of known values stand beside them: there the oracle is what they were made from.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK

from s4s_notebook.errors import DICOMError
from s4s_notebook.imaging import read
from s4s_notebook.imaging.instance import Instance
from s4s_notebook.imaging.series import Series, arrange
from s4s_notebook.imaging.volume import ColorVolume

from .compare import files
from .made_series import Made, made_series

DCM2NIIX = shutil.which("dcm2niix", path=str(Path(sys.executable).parent)) or "dcm2niix"
Grid = tuple[np.ndarray, np.ndarray]  # values [x, y, z], affine (RAS)


@dataclass
class SeriesRow:
    """One series: what we make of it, what others do, and how the two stand to each other."""

    name: str
    ours: str
    theirs: str
    verdict: str  # "equal", "refused", "differs", "no volume"
    why: str = ""

    @property
    def silent(self) -> bool:
        """Whether it differs, and nothing says so."""
        return self.verdict == "differs" and not self.why


def public_series() -> Iterator[tuple[str, Series]]:
    """All series with pictures of the packages' files, by series UID within a folder."""
    folders: dict[Path, list[Instance]] = {}
    for _, path in files():
        try:
            instance = Instance.from_path(path, force=True)
        except DICOMError:
            continue
        folders.setdefault(path.parent, []).append(instance)
    for folder, instances in folders.items():
        for series in arrange(instances):
            if series.frames:
                yield f"{folder.name}/{series.instances[0].path.name}", series


def rows() -> list[SeriesRow]:
    """Compare all of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = [_public(name, series) for name, series in public_series()]
        for name, make in made_series().items():
            with tempfile.TemporaryDirectory() as folder:
                row = made_row(name, make, Path(folder))
                row.why = "; ".join(filter(None, [row.why, _beside(Path(folder))]))
                result.append(row)
    return result


def _grids(series: Series) -> list[Grid]:
    """Our volumes, as a NIfTI file has them."""
    if series.frames[0].color:
        parts = [ColorVolume(part.frames) for part in series._split.parts]
    else:
        for volume in series.volumes:
            volume.check_even()
        parts = [v.resample() if v.sheared else v for v in series.volumes]
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    return [(np.asarray(v).transpose(2, 1, 0), to_ras @ v.affine) for v in parts]


def _public(name: str, series: Series) -> SeriesRow:
    what = f"{len(series.frames)} frames"
    if series.frames[0].position is None or series.frames[0].spacing is None:
        return SeriesRow(name, what, "", "no volume", "no place in space")
    with tempfile.TemporaryDirectory() as folder:
        for at, instance in enumerate(series.instances):
            shutil.copy(instance.path, Path(folder) / f"{at:05}.dcm")
        others = {"dcm2niix": _theirs(Path(folder)), "SimpleITK": _itk(Path(folder))}
    others = {program: _scaled(series, grids) for program, grids in others.items() if grids}
    shapes = next((_shapes(grids) for grids in others.values()), "")
    try:
        ours = _grids(series)
    except DICOMError as error:
        return SeriesRow(name, what, shapes, "refused", error.problem)
    if not others:
        return SeriesRow(name, _shapes(ours), "", "no volume", "nobody else reads it")
    different = {program: _difference(ours, grids) for program, grids in others.items()}
    equal = [program for program, how in different.items() if not how]
    said = "; ".join(problem.why for problem in series.problems)
    verdict = "equal" if equal else "differs"
    why = f"to {' and '.join(equal)}" if equal else said
    return SeriesRow(name, _shapes(ours), shapes, verdict, why)


def _scaled(series: Series, grids: list[Grid]) -> list[Grid]:
    """Doses in Gy: others give the stored numbers (PS3.3 C.8.8.3)."""
    if series.modality != "RTDOSE":
        return grids
    return [(values * series.frames[0].slope, affine) for values, affine in grids]


def made_row(name: str, make: Callable[[Path], Made], folder: Path) -> SeriesRow:
    """Compare a series with what it was made from."""
    truth = make(folder)
    [series] = [entry for entry in read(folder).series if entry.frames]
    try:
        ours = _grids(series)
    except DICOMError as error:
        verdict = "equal" if truth.volumes is None else "refused"
        return SeriesRow(f"made: {name}", "refused", "", verdict, error.problem)
    if truth.volumes is None:
        return SeriesRow(f"made: {name}", _shapes(ours), "to be refused", "differs")
    different = ""
    if len(ours) != len(truth.volumes):
        different = "number of volumes"
    for (values, affine), other in zip(ours, truth.volumes, strict=False):
        if callable(other):  # a phantom: its value at points in mm, LPS
            index = np.indices(values.shape).reshape(3, -1)
            points = (affine @ np.vstack([index, np.ones(index.shape[1])]))[:3] * [[-1], [-1], [1]]
            inside = values.reshape(-1) > -1024
            wrong = np.abs(values.reshape(-1) - other(points.T))[inside].max()
            different = different or (f"phantom off by {wrong:.0f}" if wrong > 15 else "")
        elif not np.array_equal(values.T, other):
            different = different or "values"
    if truth.spacing and not np.allclose(series.volumes[0].spacing, truth.spacing, atol=1e-6):
        different = different or "spacing"
    verdict = "differs" if different else "equal"
    return SeriesRow(f"made: {name}", _shapes(ours), "what it was made from", verdict)


def _beside(folder: Path) -> str:
    """Say what dcm2niix makes of the same files."""
    [series] = [entry for entry in read(folder).series if entry.frames]
    theirs = _theirs(folder)
    try:
        different = _difference(_grids(series), theirs)
    except DICOMError:
        return f"dcm2niix: {_shapes(theirs)}"
    return f"dcm2niix: {different or 'equal'}"


def _shapes(grids: list[Grid]) -> str:
    if not grids:
        return "nothing"
    sizes = [" x ".join(map(str, values.shape[:3])) for values, _ in grids]
    return f"{len(sizes)} of {sizes[0]}" if len(set(sizes)) == 1 else ", ".join(sizes)


def _theirs(folder: Path) -> list[Grid]:
    """What dcm2niix makes of a folder, volume by volume; nothing where it fails."""
    with tempfile.TemporaryDirectory() as out:
        command = [DCM2NIIX, "-f", "%s_%e_%p", "-z", "n", "-b", "n", "-o", out, str(folder)]
        subprocess.run(command, capture_output=True, check=False, timeout=300)
        result: list[Grid] = []
        for path in sorted(Path(out).glob("*.nii")):
            if "_ROI" in path.stem:  # an overlay of its own making
                continue
            loaded = nibabel.load(path)
            values = np.asarray(loaded.dataobj)
            if values.dtype.names:
                values = values.view("u1").reshape(*values.shape, 3)
                result.append((values, loaded.affine))
                continue
            values = values.reshape(*values.shape[:3], -1)
            result += [(values[..., at], loaded.affine) for at in range(values.shape[3])]
    return result


def _itk(folder: Path) -> list[Grid]:
    """What SimpleITK makes of it, as one volume."""
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    try:
        image = SimpleITK.ReadImage(names if len(names) > 1 else names[0])
    except (RuntimeError, IndexError):
        return []
    if image.GetDimension() != 3:
        return []
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    values = SimpleITK.GetArrayFromImage(image)
    values = values.transpose(2, 1, 0, *range(3, values.ndim))
    return [(values, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)]


def _difference(ours: list[Grid], theirs: list[Grid]) -> str:
    """Say what differs between two lists of volumes, in any order; "" where nothing does."""
    if len(ours) != len(theirs):
        return f"{len(ours)} volumes, not {len(theirs)}"
    left = [_canonical(grid) for grid in theirs]
    for grid in map(_canonical, ours):
        at = next((at for at, other in enumerate(left) if _same(grid, other)), None)
        if at is None:
            return "values or geometry"
        del left[at]
    return ""


def _canonical(grid: Grid) -> Grid:
    """The same values with axes towards right, front and head, as far as flips can do it."""
    values, affine = grid
    if values.dtype.names:
        values = np.ascontiguousarray(values).view("u1").reshape(*values.shape, 3)
    turn = nibabel.orientations.io_orientation(affine)
    shape = values.shape[:3]
    return (
        nibabel.orientations.apply_orientation(values, turn),
        affine @ nibabel.orientations.inv_ornt_aff(turn, shape),
    )


def _same(one: Grid, other: Grid) -> bool:
    if one[0].shape != other[0].shape:
        return False
    corners = np.array([[0, 0, 0, 1], [*(n - 1 for n in one[0].shape[:3]), 1]], float).T
    if np.abs((one[1] - other[1]) @ corners).max() > 1e-2:  # mm
        return False
    a, b = one[0].astype(float), other[0].astype(float)
    return bool(np.allclose(a, b, rtol=1e-5, atol=1e-4 * max(1.0, float(np.abs(b).max()) * 1e-2)))
