"""Write NIfTI-1 files, and beside them what BIDS and FSL want: .json, .bval and .bvec."""

from __future__ import annotations

import gzip
import json
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..wording import safe_text
from .acquisition import private_numbers
from .attributes import AttributeReader, FunctionalGroups
from .frame import Frame
from .geometry import normal
from .mosaic import slice_times
from .windows import Array, Floats

RGB = [("R", "u1"), ("G", "u1"), ("B", "u1")]
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_TEXTS = {
    "Modality": "Modality",
    "Manufacturer": "Manufacturer",
    "ManufacturerModelName": "ManufacturersModelName",
    "SoftwareVersions": "SoftwareVersions",
    "ProtocolName": "ProtocolName",
    "SeriesDescription": "SeriesDescription",
    "ScanningSequence": "ScanningSequence",
    "SequenceVariant": "SequenceVariant",
    "MRAcquisitionType": "MRAcquisitionType",
    "PatientPosition": "PatientPosition",
    "Units": "Units",
    "DecayCorrection": "DecayCorrection",
}
#: DICOM keyword, BIDS name, and what turns the value into BIDS' unit (s, mm, tesla, degrees).
_NUMBERS = (
    ("MagneticFieldStrength", "MagneticFieldStrength", 1.0),
    ("SliceThickness", "SliceThickness", 1.0),
    ("SpacingBetweenSlices", "SpacingBetweenSlices", 1.0),
    ("EchoTrainLength", "EchoTrainLength", 1.0),
)
_AXIAL = 0.9  # cosine of the normal and the body's axis
_SAME_TIME = 0.01  # seconds
_AXES = {"COL": "j", "COLUMN": "j", "ROW": "i"}


class SliceSource(Protocol):
    """What :class:`~s4s_notebook.imaging.volume.Volume` offers to be written."""

    frames: tuple[Frame, ...]
    shape: tuple[int, int, int]
    affine: Floats
    sheared: bool

    def __len__(self) -> int: ...
    def fresh_slice(self, index: int) -> Array: ...  # noqa: D102


def extra(module: str) -> Any:
    """Import what the extra ``volume`` installs."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        error.msg += ": pip install 's4s-notebook[volume]'"
        raise


def write_nifti(
    target: Path,
    volumes: Sequence[SliceSource],
    dtype: np.dtype[Any],
    affine: Floats,
    *,
    sheared: bool = False,
    time_step: float | None = None,
    description: str = "",
) -> Path:
    """Write volumes on one grid as NIfTI-1, slice by slice; several make a 4-D file.

    Args:
        target: the file to write.
        volumes: one, or those of the fourth axis in their order.
        dtype: of the values in the file.
        affine: (column, row, slice, 1) → mm in LPS.
        sheared: whether the axes are not orthogonal, which a qform cannot say.
        time_step: seconds between volumes, None where they are no even time.
        description: for the header, at most 79 characters.
    """
    header = extra("nibabel").Nifti1Header()
    header.set_data_dtype(dtype)
    shape = volumes[0].shape[::-1]
    header.set_data_shape(shape if len(volumes) == 1 else (*shape, len(volumes)))
    header.set_sform(_TO_RAS @ affine, code="scanner")
    if sheared:
        header.set_qform(None, code="unknown")
    else:
        header.set_qform(_TO_RAS @ affine, code="scanner")
    header.set_xyzt_units("mm", "sec" if time_step else None)
    if len(volumes) > 1:
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        header.set_zooms((*(float(value) for value in spacing), time_step or 1.0))
    header["descrip"] = description.encode("ascii", "replace")[:79]
    opening: Any = gzip.open if target.suffix == ".gz" else open
    with opening(target, "wb") as file:
        header.write_to(file)
        file.write(b"\0" * (int(header.get_data_offset()) - file.tell()))
        for volume in volumes:
            for index in range(len(volume)):
                values = np.ascontiguousarray(volume.fresh_slice(index).astype(dtype, copy=False))
                file.write(values.tobytes())
    return target


def write_sidecars(
    target: Path, volumes: Sequence[SliceSource], times: Sequence[float] | None = None
) -> list[Path]:
    """Write what the headers say of the acquisition beside a NIfTI file; return the paths.

    Args:
        target: the NIfTI file.
        volumes: what is in it, in order.
        times: of the volumes in seconds, where the file has a time axis.

    Returns:
        A .json as BIDS has it; for diffusion a .bval and, where the directions are certain, a
        .bvec.
    """
    name = target.name.removesuffix(".gz").removesuffix(".nii")
    paths = [target.with_name(f"{name}.json")]
    values = described(volumes, times)
    paths[0].write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if len(volumes) > 1 and (b_values := _b_values(volumes)):
        paths.append(target.with_name(f"{name}.bval"))
        paths[-1].write_text(" ".join(f"{value:g}" for value in b_values) + "\n", "ascii")
        vectors = b_vectors(volumes, b_values)
        if vectors is not None:
            paths.append(target.with_name(f"{name}.bvec"))
            rows = [" ".join(f"{value:.6g}" for value in row) for row in vectors.T]
            paths[-1].write_text("\n".join(rows) + "\n", "ascii")
    return paths


def described(
    volumes: Sequence[SliceSource], times: Sequence[float] | None = None
) -> dict[str, Any]:
    """Return what BIDS wants to know of an acquisition, in its names and units; no names, dates."""
    frame = volumes[0].frames[0]
    reader = AttributeReader(frame.instance.header())
    groups = FunctionalGroups(reader)
    result: dict[str, Any] = {}
    for keyword, name in _TEXTS.items():
        if text := safe_text(reader.text(keyword), 64):
            result[name] = text
    if frame.acquisition.kind:
        result["ImageType"] = [safe_text(part, 32) for part in reader.get("ImageType") or ()]
    measures = groups.of("PixelMeasuresSequence", frame.index)
    for keyword, name, scale in _NUMBERS:
        value = reader.number(keyword, measures)
        value = reader.number(keyword) if value is None else value
        if value is not None:
            result[name] = value * scale
    timing = groups.of("MRTimingAndRelatedParametersSequence", frame.index)
    _put(result, "RepetitionTime", reader.number("RepetitionTime", timing), 1e-3)
    acquired = [volume.frames[0].acquisition for volume in volumes]
    _put_same(result, "EchoTime", [entry.echo_time for entry in acquired], 1e-3)
    _put_same(result, "InversionTime", [entry.inversion_time for entry in acquired], 1e-3)
    _put_same(result, "FlipAngle", [entry.flip_angle for entry in acquired], 1.0)
    encoding = reader.text("InPlanePhaseEncodingDirection").upper()
    if encoding in _AXES:
        result["PhaseEncodingAxis"] = _AXES[encoding]
    if slices := _slice_timing(reader, volumes):
        result["SliceTiming"] = slices
    if frame.instance.modality == "PT":
        _put_tracer(result, reader, volumes)
    if times is not None:
        result["FrameTimesStart"] = [float(time) for time in times]
    result["ConversionSoftware"] = "s4s-notebook"
    result["ConversionSoftwareVersion"] = version("s4s-notebook")
    return result


def _slice_timing(reader: AttributeReader, volumes: Sequence[SliceSource]) -> list[float] | None:
    """Return seconds from the first acquired slice to each; None where it is not certain.

    Mosaics state it. Others have a clock for each slice, which is taken where the slices of a
    volume lie within one repetition time and two volumes agree.
    """
    first = volumes[0].frames
    if first[0].tile:
        stated = slice_times(reader)
        return None if stated is None else [stated[entry.index] / 1000 for entry in first]
    repetition = reader.number("RepetitionTime")
    plain = reader.text("Modality") == "MR" and reader.text("MRAcquisitionType") != "3D"
    if not plain or not repetition or len(first) < 2:
        return None
    times = [_since_first(volume.frames) for volume in volumes[:2]]
    if any(entry is None or not 0 < max(entry) < repetition / 1000 for entry in times):
        return None
    apart = np.abs(np.subtract(times[0] or (), times[-1] or ()))
    return times[0] if apart.max() <= _SAME_TIME else None


def _since_first(frames: Sequence[Frame]) -> list[float] | None:
    clocks = [frame.acquisition.acquisition_clock for frame in frames]
    stated = [clock for clock in clocks if clock is not None]
    if len(stated) < len(clocks):
        return None
    return [round(clock - min(stated), 6) for clock in stated]


def _put(result: dict[str, Any], name: str, value: float | None, scale: float) -> None:
    if value is not None:
        result[name] = round(value * scale, 9)


def _put_same(
    result: dict[str, Any], name: str, values: Sequence[float | None], scale: float
) -> None:
    """Add a value that all volumes share, or the list where they differ."""
    present = [round(value * scale, 9) for value in values if value is not None]
    if len(present) == len(values):
        result[name] = present[0] if len(set(present)) == 1 else present


def _put_tracer(
    result: dict[str, Any], reader: AttributeReader, volumes: Sequence[SliceSource]
) -> None:
    durations = [
        AttributeReader(volume.frames[0].instance.header()).number("ActualFrameDuration")
        for volume in volumes
    ]
    if None not in durations:
        result["FrameDuration"] = [(value or 0.0) / 1000 for value in durations]
    result["ImageDecayCorrected"] = reader.text("DecayCorrection") in ("START", "ADMIN")
    for agent in reader.items("RadiopharmaceuticalInformationSequence")[:1]:
        dose = reader.number("RadionuclideTotalDose", agent)
        if dose is not None:
            result["InjectedRadioactivity"], result["InjectedRadioactivityUnits"] = dose, "Bq"
        for code in reader.items("RadionuclideCodeSequence", agent)[:1]:
            result["TracerRadionuclide"] = safe_text(reader.get("CodeMeaning", code) or "", 32)


def _b_values(volumes: Sequence[SliceSource]) -> list[float]:
    """Return the b-value of each volume; none where they do not differ or are not all stated."""
    values = [volume.frames[0].acquisition.b_value for volume in volumes]
    stated = [value for value in values if value is not None]
    return stated if len(stated) == len(values) and any(stated) else []


def b_vectors(volumes: Sequence[SliceSource], b_values: Sequence[float]) -> Floats | None:
    """Return the gradient directions as FSL has them, one a row; None where they are not certain.

    They are unit vectors along the axes of the image, with x reversed where the affine's
    determinant is positive; 0 0 0 where b is 0.
    """
    if why := _uncertain(volumes, b_values):
        warnings.warn(f"No .bvec was written: {why}.", stacklevel=4)
        return None
    affine = _TO_RAS @ volumes[0].affine
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    result = np.zeros((len(volumes), 3))
    for at, (volume, b_value) in enumerate(zip(volumes, b_values, strict=True)):
        direction = _direction(volume.frames[0])
        if b_value > 0 and direction is not None:
            unit = np.array(direction) / np.linalg.norm(direction)
            result[at] = axes.T @ (_TO_RAS[:3, :3] @ unit)
    if np.linalg.det(axes) > 0:
        result[:, 0] = -result[:, 0]
    return result + 0.0  # no -0


_GE_DIRECTION = tuple((0x0019, 0x1000 + element) for element in (0xBB, 0xBC, 0xBD))
_UIH_DIRECTION = (0x0065, 0x1037)


def _maker(reader: AttributeReader) -> str:
    """Return "GE" or "UIH" for the vendors that state directions along axes of their own."""
    maker = reader.text("Manufacturer").upper()
    if maker == "GE" or maker.startswith(("GE ", "GE_", "GEMS")):
        return "GE"
    return "UIH" if maker.startswith("UIH") else ""


def _is_proven(frame: Frame, reader: AttributeReader) -> bool:
    """Return whether GE's axes are known: axial, head first, supine, phase along the columns."""
    through = normal(frame.orientation or ())
    return (
        reader.text("InPlanePhaseEncodingDirection").upper() in ("COL", "COLUMN")
        and reader.text("PatientPosition") == "HFS"
        and float(through[2]) > _AXIAL
    )


def _direction(frame: Frame) -> tuple[float, ...] | None:
    """Return the gradient direction of a frame in patient coordinates (LPS), None without one.

    GE states it along frequency, phase and slice, UIH along row, column and slice of the picture.
    """
    reader = AttributeReader(frame.instance.header())
    maker = _maker(reader)
    if not maker or frame.orientation is None:
        return frame.acquisition.direction
    tags = _GE_DIRECTION if maker == "GE" else (_UIH_DIRECTION,)
    elements = [reader.dataset.get(tag) for tag in tags]
    parts = [
        private_numbers(None if element is None else element.value, 1 if maker == "GE" else 3)
        for element in elements
    ]
    along = [value for part in parts for value in part or ()]
    if len(along) != 3 or not any(along):
        return None
    row, column = np.array(frame.orientation[:3]), np.array(frame.orientation[3:])
    sign = -1.0 if maker == "GE" else 1.0
    result = sign * (along[0] * row + along[1] * column) + along[2] * normal(frame.orientation)
    return tuple(float(part) for part in result)


def _uncertain(volumes: Sequence[SliceSource], b_values: Sequence[float]) -> str:
    first = volumes[0].frames[0]
    if volumes[0].sheared:
        return "the slices are sheared"
    reader = AttributeReader(first.instance.header())
    if _maker(reader) == "GE" and not _is_proven(first, reader):
        return "this vendor states directions along axes of its own"
    directed = [_direction(volume.frames[0]) is not None for volume in volumes]
    if not all(known for known, b in zip(directed, b_values, strict=True) if b > 0):
        return "not every volume states its direction"
    return ""
